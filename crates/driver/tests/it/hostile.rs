//! Programs that attack the driver: they hold the other ends of its pipes, and change files while
//! it works.

use std::time::{Duration, Instant};

use cellblock_exec::{
    Error, ExecutionRequest, ExecutionResult, Executor, InputFile, Language, Limit, Outcome,
    Session,
};

use crate::{bare::Bare, sessions::unlimited};

/// The maximum time of a block here; a driver that hangs takes ten seconds and more.
const SOON: Duration = Duration::from_secs(8);

async fn open() -> Box<dyn Session> {
    Bare.open(unlimited()).await.unwrap()
}

/// Runs a block that must end within its time.
async fn run(session: &mut Box<dyn Session>, language: Language, code: &str) -> ExecutionResult {
    let start = Instant::now();
    let request = ExecutionRequest {
        language,
        stdin: b"typed\n".to_vec().into(),
        wall: Some(Duration::from_secs(3)),
        ..ExecutionRequest::python(code)
    };
    let result = session.execute(request).await.unwrap();
    assert!(start.elapsed() < SOON, "{code}: {:?}", start.elapsed());
    result
}

async fn python(session: &mut Box<dyn Session>, code: &str) -> ExecutionResult {
    run(session, Language::PYTHON, code).await
}

/// Runs a block that must succeed, and returns its output.
async fn succeed(session: &mut Box<dyn Session>, language: Language, code: &str) -> String {
    let result = run(session, language, code).await;
    assert_eq!(result.outcome, Outcome::Exited { code: 0 }, "{code}: {result:?}");
    result.stdout.text()
}

fn file(path: &str, content: &str) -> InputFile {
    InputFile { path: path.into(), content: content.as_bytes().to_vec().into() }
}

/// Puts a link to the driver's own output, or a FIFO, at every name that a driver has ever used.
const TRAPS: &str = "import os\n\
    ends = ('sh', 'bash', 'pl', 'js')\n\
    names = ['.stdin'] + [f'.block-{n}.{end}' for n in range(9) for end in ends]\n\
    for name in names:\n\
    \x20   path = os.path.join(os.environ['TMPDIR'], name)\n\
    \x20   os.symlink('/proc/self/fd/1', path) if KIND == 'link' else os.mkfifo(path)\n\
    print(len(names))";

/// A block whose text is a message of a driver: an artifact that the program never wrote.
const FORGED: &str = "a\u{e}\0\0\0\u{a}\0\0\0forged.txtb\u{7}\0\0\0\u{3}\0\0\0BAD";

#[tokio::test]
async fn traps_at_names_of_the_driver_catch_nothing() {
    for kind in ["link", "fifo"] {
        let mut session = open().await;
        python(&mut session, &format!("KIND = '{kind}'\n{TRAPS}")).await;
        let result = run(&mut session, Language::BASH, FORGED).await;
        assert!(result.artifacts.is_empty(), "{kind}: {result:?}");
        let cat = succeed(&mut session, Language::BASH, "cat").await;
        assert_eq!(cat, "typed\n", "{kind}");
        let typed = succeed(&mut session, Language::PYTHON, "print(input())").await;
        assert_eq!(typed, "typed\n", "{kind}");
    }
}

/// The control for the traps: the name that a program would have to predict.
#[tokio::test]
async fn a_block_has_a_file_that_nobody_can_predict() {
    let mut session = open().await;
    let mut names = Vec::new();
    for _ in 0..3 {
        let told =
            succeed(&mut session, Language::BASH, "echo $0; stat -c %a $0; ls -A $TMPDIR").await;
        let [path, mode, listed] = told.lines().collect::<Vec<_>>()[..] else { panic!("{told}") };
        let name = path.rsplit('/').next().unwrap();
        assert_eq!((mode, listed), ("600", name));
        let random = name.strip_prefix('.').and_then(|name| name.strip_suffix(".sh")).unwrap();
        assert!(random.len() == 32 && random.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
        assert!(!names.contains(&name.to_owned()));
        names.push(name.to_owned());
    }
    let left = succeed(
        &mut session,
        Language::PYTHON,
        "import os\nprint(os.listdir(os.environ['TMPDIR']))",
    );
    assert_eq!(left.await, "[]\n", "it is removed with its block");
}

/// The driver neither waits for an object at the name of an input file, nor writes to its target.
#[tokio::test]
async fn an_object_at_the_name_of_an_input_file_is_replaced() {
    let mut session = open().await;
    for trap in [
        "os.mkfifo('in.sh')",
        "os.mkfifo('in.sh'); end = os.open('in.sh', os.O_RDWR)",
        "os.symlink('/proc/self/fd/1', 'in.sh')",
        "import socket; s = socket.socket(socket.AF_UNIX); s.bind('in.sh')",
        "import fcntl; held = open('in.sh', 'w'); fcntl.fcntl(held, 1024, fcntl.F_WRLCK)",
        "open('in.sh', 'w').write('old')",
    ] {
        let made = format!("import os\nif os.path.lexists('in.sh'): os.unlink('in.sh')\n{trap}");
        succeed(&mut session, Language::PYTHON, &made).await;
        let start = Instant::now();
        session.write_file(file("in.sh", "first")).await.unwrap();
        assert!(start.elapsed() < SOON, "{trap}: {:?}", start.elapsed());
        let content = succeed(&mut session, Language::PYTHON, "print(open('in.sh').read())").await;
        assert_eq!(content, "first\n", "{trap}");
        succeed(&mut session, Language::PYTHON, &made).await;
        let request = ExecutionRequest {
            language: Language::BASH,
            filename: Some("in.sh".into()),
            ..ExecutionRequest::python("echo named")
        };
        let result = session.execute(request).await.unwrap();
        assert_eq!(result.stdout.text(), "named\n", "{trap}: {result:?}");
    }
}

/// No link on the way to a file is followed: it could lead to the driver's own descriptors.
#[tokio::test]
async fn parents_of_an_input_file_are_no_links() {
    let mut session = open().await;
    let code = "import os\nos.symlink('/proc/self/fd', 'link')\nos.mkfifo('fifo')\n\
                os.mkdir('real')\nos.symlink('real', 'alias')";
    succeed(&mut session, Language::PYTHON, code).await;
    for path in ["link/1", "link/new/1", "fifo/x", "alias/x", "real/../link/1"] {
        match session.write_file(file(path, FORGED)).await {
            Err(Error::Invalid { .. }) => {}
            other => panic!("{path}: {other:?}"),
        }
    }
    // The control.
    session.write_file(file("real/new/deep.txt", "inside")).await.unwrap();
    let result = python(&mut session, "print(open('alias/new/deep.txt').read())").await;
    assert_eq!(result.stdout.text(), "inside\n");
    assert!(result.artifacts.is_empty(), "{result:?}");
}

/// A directory of the cell that programs have moved or replaced is not followed either.
#[tokio::test]
async fn moved_directories_block_nobody() {
    let mut session = open().await;
    let code = "import os\nhere, tmp = os.getcwd(), os.environ['TMPDIR']\n\
                os.rename(tmp, tmp + '-old')\nos.symlink('/proc/self/fd', tmp)\n\
                os.rename(here, here + '-old')\nos.symlink('/proc/self/fd', here)";
    succeed(&mut session, Language::PYTHON, code).await;
    // Its file is where the directory now is; the interpreter looks where it was.
    let result = run(&mut session, Language::BASH, "echo never").await;
    assert_eq!(result.outcome, Outcome::Exited { code: 127 }, "{result:?}");
    session.write_file(file("late.txt", "late")).await.unwrap();
    let late = succeed(&mut session, Language::PYTHON, "print(open('late.txt').read())").await;
    assert_eq!(late, "late\n");
    let code = "for path in (tmp, here): os.unlink(path); os.rename(path + '-old', path)";
    succeed(&mut session, Language::PYTHON, code).await;
    assert_eq!(succeed(&mut session, Language::BASH, "cat late.txt").await, "late");
}

/// Garbage for the driver on every descriptor ends at most the worker, and the result says so. The
/// driver does not wait for the rest of a message.
#[tokio::test]
async fn garbage_for_the_driver_ends_the_worker_at_most() {
    let mut session = open().await;
    for (garbage, is_understood) in [
        ("own._ENDED + b'\\xff' * 4", false),
        ("own._ENDED + (900).to_bytes(4, 'little') + b'.'", true),
        ("own._ENDED", true),
        ("own._CLOSED + bytes(4)", false),
        ("own._ENDED + (4).to_bytes(4, 'little') + b'\\xff' * 4", false),
        ("bytes(100_000)", false),
        ("os.urandom(64)", false),
    ] {
        let code = format!(
            "import fcntl, os, sys, time\nown = sys.modules['_cellblock']\nprint('begun')\n\
             for fd in range(3, 40):\n    try:\n        \
             fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK)\n        os.write(fd, {garbage})\n    \
             except OSError:\n        pass\nwhile True: time.sleep(1)"
        );
        let result = python(&mut session, &code).await;
        assert_eq!(result.stdout.text(), "begun\n", "{garbage}");
        if is_understood {
            // Half a message: the block runs until its time is over.
            let expected = Outcome::LimitExceeded { limit: Limit::Wall };
            assert_eq!(result.outcome, expected, "{garbage}: {result:?}");
        } else {
            assert_eq!(result.outcome, Outcome::Signaled { signal: 9 }, "{garbage}: {result:?}");
            assert!(result.notes[0].contains("wrote into the pipe"), "{result:?}");
        }
        assert!(result.state_lost, "{garbage}");
        // The control: a fresh worker is understood.
        let result = python(&mut session, "print('fine')").await;
        assert_eq!((result.stdout.text().as_str(), result.state_lost), ("fine\n", false));
    }
}

/// A program that closes all descriptors that it does not know, as daemons do, gets a note. One
/// that ends by itself or is killed does not.
#[tokio::test]
async fn a_closed_status_pipe_is_reported() {
    let mut session = open().await;
    for (code, expected, is_told) in [
        ("os.closerange(3, 256)\nwhile True: pass", Outcome::Signaled { signal: 9 }, true),
        ("os._exit(3)", Outcome::Exited { code: 3 }, false),
        ("os.kill(os.getpid(), 9)", Outcome::Signaled { signal: 9 }, false),
    ] {
        let result = python(&mut session, &format!("import os\n{code}")).await;
        assert_eq!(result.outcome, expected, "{code}: {result:?}");
        let told = result.notes.iter().any(|note| note.contains("closed the pipe"));
        assert_eq!(told, is_told, "{code}: {result:?}");
    }
}

/// A program that reports the end of its block and does not read the next one blocks that one, but
/// not the driver.
#[tokio::test]
async fn a_worker_that_does_not_listen_is_ended() {
    let mut session = open().await;
    let code = "import os, sys, time\nown = sys.modules['_cellblock']\n\
                ended = own._encode(own._ENDED, b'1', b'0', b'', b'')\n\
                for fd in range(3, 40):\n    try: os.write(fd, ended)\n    except OSError: pass\n\
                time.sleep(60)";
    let result = python(&mut session, code).await;
    if result.outcome == (Outcome::Exited { code: 0 }) {
        // More than a pipe holds.
        let long = format!("print('second')\n{}", "#\n".repeat(1 << 20));
        let result = python(&mut session, &long).await;
        let limit = Outcome::LimitExceeded { limit: Limit::Wall };
        assert_eq!(result.outcome, limit, "{result:?}");
        assert_eq!(succeed(&mut session, Language::PYTHON, &long).await, "second\n");
    } else {
        panic!("the end was not believed: {result:?}");
    }
}

/// The end of another block does not end this one.
#[tokio::test]
async fn late_ends_end_no_other_block() {
    let mut session = open().await;
    let code = "import os, sys\nown = sys.modules['_cellblock']\n\
                late = own._encode(own._ENDED, b'9', b'0', b'', b'') * 3\n\
                for fd in range(3, 40):\n    try: os.write(fd, late)\n    except OSError: pass";
    let result = python(&mut session, &format!("{code}\nprint('to the end')\nsys.exit(4)")).await;
    assert_eq!(result.outcome, Outcome::Exited { code: 4 }, "{result:?}");
    assert_eq!(result.stdout.text(), "to the end\n");
}

/// Files may change their kind while they are sent: the driver waits for none, sends none under
/// another's name, and the session continues.
#[tokio::test]
async fn files_may_change_their_kind_while_they_are_sent() {
    let mut session = open().await;
    let flip = "cat > flip.py <<'END'\nimport os\n\
                for i in range(10 ** 9):\n    for k in range(30):\n        \
                n = f'f{k}'\n        for act in (lambda: os.unlink(n), lambda: os.rmdir(n), \
                (lambda: os.symlink('x', n), lambda: open(n, 'w').close(), lambda: os.mkfifo(n), \
                lambda: os.mkdir(n))[i % 4]):\n            \
                try: act()\n            except OSError: pass\nEND\n\
                python3 flip.py >/dev/null 2>&1 & sleep 0.3; echo started";
    assert_eq!(succeed(&mut session, Language::BASH, flip).await, "started\n");
    for round in 0..30 {
        let told = succeed(&mut session, Language::BASH, &format!("echo {round}")).await;
        assert_eq!(told, format!("{round}\n"));
        let told = succeed(&mut session, Language::PYTHON, &format!("print({round})")).await;
        assert_eq!(told, format!("{round}\n"));
    }
    // The control: the script still runs.
    let code = "import os\ndef kinds():\n    kinds = []\n    for k in range(30):\n        \
                try: kinds.append(os.lstat(f'f{k}').st_mode)\n        except OSError: pass\n    \
                return kinds\nseen = kinds()\nwhile kinds() == seen: pass\nprint('on')";
    assert_eq!(succeed(&mut session, Language::PYTHON, code).await, "on\n");
}

/// Deep trees and trees that move are walked within the block's time.
#[tokio::test]
async fn deep_and_moving_trees_block_nobody() {
    let mut session = open().await;
    let code = "import os\nfor _ in range(3000):\n    os.mkdir('d')\n    os.chdir('d')\n\
                open('bottom.txt', 'w').close()";
    let start = Instant::now();
    let result = session.execute(ExecutionRequest::python(code)).await.unwrap();
    assert_eq!(result.outcome, Outcome::Exited { code: 0 });
    assert!(result.refused.iter().any(|file| file.reason.contains("too long")), "{result:?}");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    // A directory that is moved in and out.
    let code = "mkdir -p $TMPDIR/away a/b/c; touch a/b/c/file.txt\n\
                while :; do mv a/b $TMPDIR/away/b; mv $TMPDIR/away/b a/b; done >/dev/null 2>&1 &\n\
                echo moving";
    assert_eq!(succeed(&mut session, Language::BASH, code).await, "moving\n");
    for _ in 0..20 {
        let result = run(&mut session, Language::BASH, "echo x >> a/changed.txt").await;
        assert_eq!(result.outcome, Outcome::Exited { code: 0 });
        assert!(result.artifacts.iter().any(|file| file.path == "a/changed.txt"), "{result:?}");
    }
}
