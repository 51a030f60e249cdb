//! Input files, artifacts, and the isolation from all other files of the host.

use crate::steps::{
    artifact, artifact_paths, assert_outcome, assert_sound, enforces, file, limits, open,
    open_files, open_spec, run, run_request, succeed,
};
use crate::traces::marker;
use cellblock_exec::{
    Error, ExecutionRequest, Executor, Isolation, Language, Limit, Limits, MAX_ARTIFACT_BYTES,
    Outcome, SessionSpec,
};

/// Input files are in the workspace. A changed one is an artifact; one that is only read, or
/// removed, is not.
pub async fn input_files(executor: &dyn Executor) {
    let binary: Vec<u8> = (0..=255).collect();
    let files = vec![
        file("data.csv", "a,b\n1,2\n"),
        file("in/deep/raw.bin", &binary),
        file("changed.txt", "old"),
        file("removed.txt", "x"),
        file("in/ünï code.txt", "ü"),
    ];
    let mut session = open_files(executor, files).await;
    let code = "import os\nprint(open('data.csv').read(), end='')\n\
                print(open('in/deep/raw.bin', 'rb').read() == bytes(range(256)))\n\
                print(open('in/ünï code.txt', encoding='utf-8').read())\n\
                with open('changed.txt', 'w') as f: n = f.write('new')\n\
                os.remove('removed.txt')";
    let result = run(session.as_mut(), code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(result.stdout.text(), "a,b\n1,2\nTrue\nü\n");
    assert_eq!(artifact_paths(&result), ["changed.txt"]);
    assert_eq!(*artifact(&result, "changed.txt").content, b"new");
    let result = run(session.as_mut(), "print(open('changed.txt').read())").await;
    assert_eq!(artifact_paths(&result), [""; 0], "the second block changed nothing");
}

/// A file can be written into a live session, with its directories, and can replace another.
pub async fn files_can_be_added_later(executor: &dyn Executor) {
    let mut session = open(executor).await;
    for content in ["first", "second, longer", "3"] {
        if let Err(error) = session.write_file(file("late/data.txt", content)).await {
            panic!("cannot write the file: {error:?}");
        }
        let result = run(session.as_mut(), "print(open('late/data.txt').read())").await;
        assert_outcome(&result, &Outcome::Exited { code: 0 });
        assert_eq!(result.stdout.text(), format!("{content}\n"));
        assert_eq!(artifact_paths(&result), [""; 0], "an input file is no artifact");
    }
}

/// No input file can be written outside the workspace, neither when a session opens nor later.
pub async fn input_files_stay_inside(executor: &dyn Executor) {
    let host = host_directory();
    let target = host.path().join("planted.txt");
    let mut session = open(executor).await;
    let absolute = target.display().to_string();
    let climbing = format!("{}{absolute}", "../".repeat(30).trim_end_matches('/'));
    for path in [
        absolute.as_str(),
        climbing.as_str(),
        "../planted.txt",
        "a/../../planted.txt",
        "",
        ".",
        "nul\0byte",
    ] {
        match session.write_file(file(path, "planted")).await {
            Err(Error::Invalid { .. }) => {}
            other => panic!("writing {path:?} gave {other:?}"),
        }
        let spec = SessionSpec {
            limits: limits(executor),
            files: vec![file(path, "x")],
            ..SessionSpec::default()
        };
        assert!(executor.open(spec).await.is_err(), "a session with the file {path:?} was opened");
    }
    assert!(!target.exists());
    assert_eq!(succeed(session.as_mut(), "import os; print(os.listdir('.'))").await, "[]\n");
}

/// New files are artifacts: exact bytes, paths with their directories, media types by name.
pub async fn artifacts(executor: &dyn Executor) {
    let code = "import os\nos.makedirs('charts/2024')\nos.makedirs('empty/dir')\n\
                for name in ['charts/2024/a.png', 'table.csv', 'data.json', 'page.html', \
                'notes.txt', 'thing.unknownext', 'ünï.txt']:\n    \
                with open(name, 'wb') as f: n = f.write(bytes(range(256)) + name.encode())\n\
                open('nothing.txt', 'w').close()";
    let mut session = open(executor).await;
    let result = run(session.as_mut(), code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    for (path, media_type) in [
        ("charts/2024/a.png", "image/png"),
        ("table.csv", "text/csv"),
        ("data.json", "application/json"),
        ("page.html", "text/html"),
        ("notes.txt", "text/plain"),
        ("thing.unknownext", "application/octet-stream"),
        ("ünï.txt", "text/plain"),
    ] {
        let artifact = artifact(&result, path);
        assert_eq!(artifact.media_type, media_type, "{path}");
        let expected: Vec<u8> = (0..=255).chain(path.bytes()).collect();
        assert_eq!(*artifact.content, expected, "{path}");
    }
    assert_eq!(artifact(&result, "nothing.txt").bytes, 0);
    assert_eq!(result.artifacts.len(), 8, "{:?}", artifact_paths(&result));

    let code = "with open('notes.txt', 'a') as f: n = f.write('more')\nprint(open('table.csv', \
        'rb').read(1))";
    let result = run(session.as_mut(), code).await;
    assert_eq!(artifact_paths(&result), ["notes.txt"], "only what the second block changed");
}

/// A failing program's files are artifacts, too.
pub async fn artifacts_of_a_failure(executor: &dyn Executor) {
    let code = "with open('partial.txt', 'w') as f: n = f.write('so far')\nraise SystemExit(4)";
    let result = run(open(executor).await.as_mut(), code).await;
    assert_outcome(&result, &Outcome::Exited { code: 4 });
    assert_eq!(*artifact(&result, "partial.txt").content, b"so far");
}

/// Makes a directory of the host for a file that a program could look for.
fn host_directory() -> tempfile::TempDir {
    match tempfile::tempdir() {
        Ok(directory) => directory,
        Err(error) => panic!("cannot make a directory: {error}"),
    }
}

/// Makes a file of the host that no program may see.
fn host_secret(directory: &tempfile::TempDir, content: &str) -> String {
    let path = directory.path().join("secret.txt");
    if let Err(error) = std::fs::write(&path, content) {
        panic!("cannot make {}: {error}", path.display());
    }
    path.display().to_string()
}

/// Python that reads a file by every way to write its path, then tries to overwrite it and to
/// create a file beside it.
const ESCAPE: &str = r"
import os
def attempt(act):
    try:
        print(act())
    except Exception as error:
        print(type(error).__name__)
def overwrite(path):
    with open(path, 'w') as f: return f.write('overwritten')
climb = '../' * 30 + target.lstrip('/')
ways = [target, climb, './' + climb, 'x/../' + climb, '//' + target]
ways += ['/proc/self/root' + target, '/proc/1/root' + target]
for number, way in enumerate(ways):
    attempt(lambda: open(way).read())
    attempt(lambda: os.listdir(os.path.dirname(way)))
    attempt(lambda: os.symlink(way, f'link-{number}'))
    attempt(lambda: open(f'link-{number}').read())
    attempt(lambda: os.link(way, f'hard-{number}'))
    attempt(lambda: open(f'hard-{number}').read())
    attempt(lambda: os.rename(way, f'moved-{number}'))
    attempt(lambda: open(f'moved-{number}').read())
    attempt(lambda: overwrite(way))
    attempt(lambda: overwrite(os.path.join(os.path.dirname(way), 'planted.txt')))
attempt(lambda: os.symlink(os.path.dirname(target), 'directory'))
attempt(lambda: os.listdir('directory'))
attempt(lambda: open('directory/secret.txt').read())
for number in range(3, 64):
    attempt(lambda: os.listdir(number))
    beside = lambda name, flags: os.open(name, flags, dir_fd=number)
    attempt(lambda: open(os.path.basename(target), opener=beside).read())
";

/// No way to write a path leads to a file of the host: its content is neither read nor changed, and
/// nothing appears beside it. The control is the same program on a file of the workspace.
pub async fn host_files_are_out_of_reach(executor: &dyn Executor) {
    let secret = marker();
    let host = host_directory();
    let path = host_secret(&host, &secret);
    let result = run(open(executor).await.as_mut(), &format!("target = {path:?}\n{ESCAPE}")).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    let shown = result.stdout.text() + &result.stderr.text();
    let taken = result
        .artifacts
        .iter()
        .any(|artifact| String::from_utf8_lossy(&artifact.content).contains(&secret));
    if executor.capabilities().isolation == Isolation::None {
        assert!(shown.contains(&secret), "an ordinary process reads what its user reads");
    } else {
        assert!(
            !shown.contains(&secret) && !taken,
            "the program has read the host's file:\n{shown}"
        );
        assert_eq!(
            std::fs::read_to_string(&path).unwrap_or_default(),
            secret,
            "the host's file has changed"
        );
        assert!(
            !host.path().join("planted.txt").exists(),
            "the program wrote beside the host's file"
        );
    }

    let mut control = open_files(executor, vec![file("secret.txt", &secret)]).await;
    let shown = succeed(
        control.as_mut(),
        &format!("import os\ntarget = os.path.abspath('secret.txt')\n{ESCAPE}"),
    )
    .await;
    assert!(shown.contains(&secret), "the control cannot read its own file:\n{shown}");
}

/// A symbolic link is not followed when artifacts are collected: it is refused by name. A plain
/// file beside it is an artifact.
pub async fn symlinks_are_no_artifacts(executor: &dyn Executor) {
    let secret = marker();
    let host = host_directory();
    let path = host_secret(&host, &secret);
    let code = format!(
        "import os\nwith open('plain.txt', 'w') as f: n = f.write('plain')\n\
         for name, target in [('leak.txt', {path:?}), ('up', '../../../etc'), ('etc', \
         '/etc')]:\n    \
         try: os.symlink(target, name)\n    except (OSError, AttributeError): pass\n    else: \
         print(name)"
    );
    let result = run(open(executor).await.as_mut(), &code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(artifact_paths(&result), ["plain.txt"]);
    for made in result.stdout.text().lines() {
        let refused = result.refused.iter().find(|refused| refused.path == made);
        assert!(
            refused.is_some_and(|refused| !refused.reason.is_empty()),
            "{made}: {:?}",
            result.refused
        );
    }
}

/// A FIFO or a device is refused by name and delays nobody.
pub async fn special_files_are_no_artifacts(executor: &dyn Executor) {
    let code = "import os, stat\nwith open('plain.txt', 'w') as f: n = f.write('plain')\n\
                for name, make in [('pipe', lambda: os.mkfifo('pipe')), ('device', lambda: \
                os.mknod('device', stat.S_IFCHR | 0o600, os.makedev(1, 5)))]:\n    \
                try: make()\n    except (OSError, AttributeError): pass\n    else: print(name)";
    let result = run(open(executor).await.as_mut(), code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(artifact_paths(&result), ["plain.txt"]);
    for made in result.stdout.text().lines() {
        assert!(
            result.refused.iter().any(|refused| refused.path == made),
            "{made}: {:?}",
            result.refused
        );
    }
}

/// Files and directories without any permission are artifacts or are refused by name; nothing hangs
/// or breaks.
pub async fn unreadable_files(executor: &dyn Executor) {
    let code = "import os\nfor name in ['shut.txt', 'plain.txt']:\n    with open(name, 'w') as f: \
        n = f.write(name)\n\
                os.mkdir('shut')\nwith open('shut/inner.txt', 'w') as f: n = f.write('x')\n\
                for name in ['shut.txt', 'shut']:\n    try: os.chmod(name, 0)\n    except \
                (OSError, AttributeError): pass";
    let mut session = open(executor).await;
    let result = run(session.as_mut(), code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(*artifact(&result, "plain.txt").content, b"plain.txt");
    let told = |path: &str| {
        result.artifacts.iter().any(|artifact| artifact.path.starts_with(path))
            || result
                .refused
                .iter()
                .any(|refused| refused.path.starts_with(path) && !refused.reason.is_empty())
    };
    assert!(told("shut.txt") && told("shut"), "{result:?}");
    assert_eq!(succeed(session.as_mut(), "print(open('plain.txt').read())").await, "plain.txt\n");
}

/// A name decides only if its file is an artifact, never the outcome of the block: names that no
/// host should get are refused with a reason, and the block succeeds. The controls are unusual
/// names that are valid.
pub async fn odd_names_are_refused(executor: &dyn Executor) {
    let mut session = open(executor).await;
    match session.write_file(file("in:put.csv", "1,2")).await {
        Ok(()) => {}
        Err(error) => panic!("a colon is no drive: {error:?}"),
    }
    let code = r"
import os
odd = [rb'a\b', rb'C:\x', b'C:/x', b'tab\t.txt', b'two\nlines.txt', b'\x1b[31m.txt', b'not\xffutf8',
       'turned\u202egnp.exe'.encode(), 'line\u2028.txt'.encode(), b'd\x07/inner.txt']
for name in odd:
    try:
        if os.path.dirname(name): os.makedirs(os.path.dirname(name))
        with open(name, 'w') as f: n = f.write('x')
    except (OSError, ValueError): continue
    print(os.fsdecode(name).encode('utf-8', 'replace').hex())
for name in ['a:b.csv', 'C:x', '-rf', 'ünï code.txt', '~', '$(id)', 'plain.txt']:
    with open(name, 'w') as f: n = f.write(open('in:put.csv').read())
";
    let result = run(session.as_mut(), code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    let expected = ["$(id)", "-rf", "C:x", "a:b.csv", "plain.txt", "~", "ünï code.txt"];
    assert_eq!(artifact_paths(&result), expected);
    assert_eq!(*artifact(&result, "a:b.csv").content, b"1,2");
    let made = result.stdout.text().lines().count();
    assert!(made >= 8, "only {made} odd names could be made:\n{}", result.stdout.text());
    assert_eq!(result.refused.len(), made, "{:?}", result.refused);
    for part in ["a\\b", "C:\\x", "C:/x", "tab\t", "two\nlines", "turned", "line", "inner"] {
        let refused = result.refused.iter().find(|refused| refused.path.contains(part));
        assert!(
            refused.is_some_and(|refused| refused.reason.contains("rename")),
            "{part:?}: {:?}",
            result.refused
        );
    }
    assert_eq!(succeed(session.as_mut(), "print(open('plain.txt').read())").await, "1,2\n");
}

/// Files that tools of a host obey just because they exist (version control, bare repositories) are
/// no artifacts, in no spelling. They are reported once, when they change. The controls are files
/// with similar names.
pub async fn version_control_is_no_artifact(executor: &dyn Executor) {
    let mut session = open(executor).await;
    let code = r"
import os
def write(path):
    if os.path.dirname(path): os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as f: n = f.write('x')
for path in ['.git/config', '.git/objects/x', 'a/.GIT/config', 'b/git~1/config', '.hg/hgrc',
             '.g\u200cit/config', '.git. /config', '.git::$INDEX_ALLOCATION/config', 'bare/HEAD',
             'bare/config', 'bare/objects/x', '.gitignore', 'git/config', 'HEAD.txt']: write(path)
";
    let result = run(session.as_mut(), code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    let expected = [".gitignore", "HEAD.txt", "bare/config", "bare/objects/x", "git/config"];
    assert_eq!(artifact_paths(&result), expected);
    let mut refused: Vec<_> = result.refused.iter().map(|refused| refused.path.as_str()).collect();
    refused.sort_unstable();
    let mut expected = [
        ".git",
        ".git. ",
        ".git::$INDEX_ALLOCATION",
        ".g\u{200c}it",
        ".hg",
        "a/.GIT",
        "b/git~1",
        "bare/HEAD",
    ];
    expected.sort_unstable();
    assert_eq!(refused, expected);
    // They stay in the session, where its programs can use them.
    let result = run(session.as_mut(), "print(open('.git/config').read())").await;
    assert_eq!(result.stdout.text(), "x\n");
    assert!(result.refused.is_empty(), "nothing changed: {:?}", result.refused);
}

/// A renamed file, by itself or with its directory, is an artifact under the new name.
pub async fn renamed_files_are_new(executor: &dyn Executor) {
    let files = vec![file("old.txt", "one"), file("before/inner.txt", "two")];
    let mut session = open_files(executor, files).await;
    let code = "import os\nos.rename('old.txt', 'new.txt')\nos.rename('before', 'after')";
    let result = run(session.as_mut(), code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(artifact_paths(&result), ["after/inner.txt", "new.txt"]);
    assert_eq!(artifact_paths(&run(session.as_mut(), "print('nothing')").await), [""; 0]);
}

/// Files that a program removes, links and makes again while others are collected do not harm the
/// session.
pub async fn files_may_change_while_they_are_handed_out(executor: &dyn Executor) {
    if !executor.capabilities().languages.contains(&Language::BASH) {
        return;
    }
    let mut session = open(executor).await;
    let flip = "import os\n\
                for i in range(10 ** 9):\n    for k in range(30):\n        n = f'f{k}'\n        \
                for act in (lambda: os.unlink(n), lambda: os.rmdir(n), \
                (lambda: os.symlink('x', n), lambda: open(n, 'w').close(), lambda: os.mkfifo(n), \
                lambda: os.mkdir(n))[i % 4]):\n            \
                try: act()\n            except OSError: pass\n";
    let flipper = format!("with open('flip.py', 'w') as f: n = f.write({flip:?})");
    succeed(session.as_mut(), &flipper).await;
    let bash = |code: String| ExecutionRequest {
        language: Language::BASH,
        ..ExecutionRequest::python(code)
    };
    let start = "python3 flip.py >/dev/null 2>&1 & sleep 0.2; echo started".to_owned();
    let result = run_request(session.as_mut(), bash(start)).await;
    assert_eq!(result.stdout.text(), "started\n");
    for round in 0..10 {
        let result = run_request(session.as_mut(), bash(format!("echo {round}"))).await;
        assert_outcome(&result, &Outcome::Exited { code: 0 });
        assert_eq!(result.stdout.text(), format!("{round}\n"));
        assert_eq!(succeed(session.as_mut(), "print('too')").await, "too\n");
    }
    // The control: the files really change meanwhile.
    let code = "import os\ndef kinds():\n    kinds = []\n    for k in range(30):\n        \
                try: kinds.append(os.lstat(f'f{k}').st_mode)\n        except OSError: pass\n    \
                return kinds\nseen = kinds()\nwhile kinds() == seen: pass\nprint('changed')";
    assert_eq!(succeed(session.as_mut(), code).await, "changed\n");
}

/// A file over the maximum size is refused by name; a smaller one is an artifact.
pub async fn oversized_artifacts(executor: &dyn Executor) {
    let code = format!(
        "for name, size in [('large.bin', {MAX_ARTIFACT_BYTES} + 1), ('small.bin', 1 << 20)]:\n    \
         with open(name, 'wb') as f:\n        while size > 0: size -= f.write(b'x' * min(size, 1 \
         << 20))"
    );
    let mut limits = limits(executor);
    limits.disk = limits.disk.max(4 * MAX_ARTIFACT_BYTES);
    let mut session = open_spec(executor, SessionSpec { limits, ..SessionSpec::default() }).await;
    let result = run(session.as_mut(), &code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(artifact_paths(&result), ["small.bin"]);
    let refused: Vec<_> = result.refused.iter().map(|refused| refused.path.as_str()).collect();
    assert_eq!(refused, ["large.bin"]);
}

/// A block with a name outside the workspace does not run, and is written nowhere.
pub async fn file_names_stay_inside(executor: &dyn Executor) {
    let host = host_directory();
    let target = host.path().join("planted.py");
    let absolute = target.display().to_string();
    let mut session = open(executor).await;
    for name in [absolute.as_str(), "../planted.py", "a/../../planted.py"] {
        let request = ExecutionRequest {
            filename: Some(name.into()),
            ..ExecutionRequest::python("print('ran')")
        };
        match session.execute(request).await {
            Err(Error::Invalid { .. }) => {}
            Ok(result) => {
                assert!(
                    matches!(result.outcome, Outcome::Denied { .. }),
                    "{name}: {:?}",
                    result.outcome
                );
                assert!(result.stdout.bytes.is_empty());
            }
            Err(error) => panic!("{name}: {error:?}"),
        }
    }
    assert!(!target.exists());
    let request = ExecutionRequest {
        filename: Some("inside.py".into()),
        ..ExecutionRequest::python("print('ran')")
    };
    assert_eq!(run_request(session.as_mut(), request).await.stdout.text(), "ran\n");
}

/// Input files count against the quota of the disk.
pub async fn input_files_count_against_the_quota(executor: &dyn Executor) {
    let small = Limits { disk: 64 * 1024, ..limits(executor) };
    if !enforces(executor, Limit::Disk, &small).await {
        return;
    }
    let spec = |bytes| SessionSpec {
        limits: small.clone(),
        files: vec![file("input.bin", vec![0; bytes])],
        ..SessionSpec::default()
    };
    assert!(
        executor.open(spec(256 * 1024)).await.is_err(),
        "a file larger than the quota was taken"
    );
    let mut session = open_spec(executor, spec(16 * 1024)).await;
    assert_eq!(
        succeed(session.as_mut(), "print(len(open('input.bin', 'rb').read()))").await,
        "16384\n"
    );
    match session.write_file(file("more.bin", vec![0; 256 * 1024])).await {
        Err(Error::Invalid { .. }) => {}
        other => panic!("a file over the quota gave {other:?}"),
    }
    assert_sound(executor).await;
}
