//! Languages other than Python: each claimed one runs, in the same workspace and under the same
//! limits.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::steps::{artifact, assert_limited, assert_outcome, open, run_request, succeed};
use cellblock_exec::{
    ExecutionRequest, ExecutionResult, Executor, Language, Limit, Outcome, Session,
};

/// A program in each language: it reads a line, writes to both streams and to a file, and exits
/// with 3.
const PROGRAMS: &[(&str, &str)] = &[
    ("bash", "read -r line; echo \"got $line\"; echo oops >&2; printf made > made.txt; exit 3"),
    ("sh", "read -r line; echo \"got $line\"; echo oops >&2; printf made > made.txt; exit 3"),
    (
        "javascript",
        "const fs = require('fs'); const line = fs.readFileSync(0, 'utf8').trim(); \
            console.log(`got ${line}`); \
         console.error('oops'); fs.writeFileSync('made.txt', 'made'); process.exit(3)",
    ),
    (
        "ruby",
        "puts \"got #{STDIN.gets.chomp}\"; warn 'oops'; File.write('made.txt', 'made'); exit 3",
    ),
    (
        "perl",
        "my $line = <STDIN>; print \"got $line\"; print STDERR \"oops\\n\"; open(my $f, '>', \
            'made.txt'); \
         print $f 'made'; close $f; exit 3",
    ),
    (
        "php",
        "<?php echo 'got ' . fgets(STDIN); fwrite(STDERR, \"oops\\n\"); \
            file_put_contents('made.txt', 'made'); exit(3);",
    ),
    (
        "lua",
        "print('got ' .. io.read()); io.stderr:write('oops\\n'); local f = io.open('made.txt', \
            'w'); f:write('made'); \
         f:close(); os.exit(3)",
    ),
    (
        "r",
        "line <- readLines(file('stdin'), 1); cat('got ', line, '\\n', sep = ''); message('oops'); \
         cat('made', file = 'made.txt'); quit(status = 3)",
    ),
];

async fn run_in(session: &mut dyn Session, language: &str, code: &str) -> ExecutionResult {
    let language = Language::new(language);
    let stdin = Arc::new(b"a line\n".to_vec());
    run_request(session, ExecutionRequest { language, stdin, ..ExecutionRequest::python(code) })
        .await
}

/// True if the executor claims the language.
fn claims(executor: &dyn Executor, language: &str) -> bool {
    executor.capabilities().languages.iter().any(|claimed| claimed.as_str() == language)
}

/// A claimed language runs; another is refused by name.
pub async fn claimed_languages_run(executor: &dyn Executor) {
    for claimed in &executor.capabilities().languages {
        let tested = *claimed == Language::PYTHON
            || PROGRAMS.iter().any(|(name, _)| *name == claimed.as_str());
        assert!(tested, "the suite has no program in {claimed}");
    }
    for (language, code) in PROGRAMS {
        let mut session = open(executor).await;
        let result = run_in(session.as_mut(), language, code).await;
        if !claims(executor, language) {
            let Outcome::Unsupported { what } = &result.outcome else {
                panic!("{language} is not claimed: {result:?}")
            };
            assert!(what.contains(language), "{what}");
            continue;
        }
        assert_outcome(&result, &Outcome::Exited { code: 3 });
        assert_eq!(
            (result.stdout.text(), result.stderr.text()),
            ("got a line\n".into(), "oops\n".into()),
            "{language}"
        );
        assert_eq!(*artifact(&result, "made.txt").content, b"made", "{language}");
        assert!(!result.state_lost, "{language}");
    }
}

/// Blocks of all languages share one workspace, and Python's variables outlive a shell's block.
pub async fn languages_share_the_workspace(executor: &dyn Executor) {
    if !claims(executor, "bash") {
        return;
    }
    let mut session = open(executor).await;
    succeed(
        session.as_mut(),
        "x = 1\nwith open('numbers.txt', 'w') as f: n = f.write('3\\n1\\n2\\n')",
    )
    .await;
    let result =
        run_in(session.as_mut(), "bash", "sort numbers.txt > sorted.txt && wc -l < sorted.txt")
            .await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(result.stdout.text().trim(), "3");
    assert_eq!(
        succeed(session.as_mut(), "print(x, open('sorted.txt').read().split())").await,
        "1 ['1', '2', '3']\n"
    );
}

/// A shell block keeps its name, which is a file of the workspace, and runs from it.
pub async fn shell_blocks_keep_their_names(executor: &dyn Executor) {
    if !claims(executor, "bash") {
        return;
    }
    let mut session = open(executor).await;
    let request = ExecutionRequest {
        language: Language::BASH,
        filename: Some("tools/build.sh".into()),
        ..ExecutionRequest::python("echo \"I am $0\"")
    };
    let result = run_request(session.as_mut(), request).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(result.stdout.text(), "I am tools/build.sh\n");
}

/// Nothing that a program leaves in the temporary directory hinders later blocks: the names of
/// their files cannot be predicted, neither to catch their text nor to delay them.
pub async fn traps_for_later_blocks_catch_nothing(executor: &dyn Executor) {
    if !claims(executor, "bash") {
        return;
    }
    for trap in ["os.symlink('/proc/self/fd/1', path)", "os.mkfifo(path)"] {
        let mut session = open(executor).await;
        let code = format!(
            "import os, tempfile\nnames = ['.stdin'] + [f'.block-{{n}}.sh' for n in range(9)]\n\
             for name in names:\n    \
             path = os.path.join(tempfile.gettempdir(), name)\n    {trap}\n\
             print(len(os.listdir(tempfile.gettempdir())))"
        );
        succeed(session.as_mut(), &code).await;
        let start = Instant::now();
        // Where messages of programs become file names, this would be a file.
        let forged = "a\u{e}\0\0\0\u{a}\0\0\0forged.txtb\u{7}\0\0\0\u{3}\0\0\0BAD";
        let result = run_in(session.as_mut(), "bash", forged).await;
        assert!(result.artifacts.is_empty(), "{trap}: {:?}", result.artifacts);
        let result = run_in(session.as_mut(), "bash", "cat; basename $0").await;
        assert_outcome(&result, &Outcome::Exited { code: 0 });
        // The control: the file that it runs from has another name.
        let told = result.stdout.text();
        let name = told.strip_prefix("a line\n").unwrap_or_default().trim();
        let is_random = name.len() > 32 && !name.contains("block");
        assert!(is_random, "{trap}: {told}");
        assert!(start.elapsed() < Duration::from_secs(10), "{trap}: {:?}", start.elapsed());
    }
}

/// The deadline stops a shell block with its children, and its output is kept.
pub async fn shells_are_limited(executor: &dyn Executor) {
    if !claims(executor, "bash") {
        return;
    }
    let mut session = open(executor).await;
    for endless in
        ["while :; do :; done", "sleep 3600", "trap '' TERM INT; sleep 3600 & wait; sleep 3600"]
    {
        let start = Instant::now();
        let request = ExecutionRequest {
            language: Language::BASH,
            wall: Some(Duration::from_secs(1)),
            ..ExecutionRequest::python(format!("echo before; {endless}"))
        };
        let result = run_request(session.as_mut(), request).await;
        assert_limited(&result, Limit::Wall);
        assert_eq!(result.stdout.text(), "before\n");
        assert!(start.elapsed() < Duration::from_secs(10), "{endless}: {:?}", start.elapsed());
    }
    let result = run_in(session.as_mut(), "bash", "cat").await;
    assert_eq!(result.stdout.text(), "a line\n");
}
