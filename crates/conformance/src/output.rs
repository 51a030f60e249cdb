//! The streams of a program, its exit code, and its input.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::steps::{assert_outcome, open, run, run_fresh, run_request, succeed};
use cellblock_exec::{ExecutionRequest, Executor, Language, Outcome, Stream};

/// Standard output and standard error do not mix.
pub async fn streams_are_apart(executor: &dyn Executor) {
    let result =
        run_fresh(executor, "import sys\nprint('to out')\nprint('to err', file=sys.stderr)").await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(result.stdout.text(), "to out\n");
    assert_eq!(result.stderr.text(), "to err\n");
    assert_eq!((result.stdout.dropped, result.stderr.dropped), (0, 0));
    assert_eq!(result.isolation, executor.capabilities().isolation);
}

/// `sys.exit` sets the exit code; a text as its argument goes to standard error and means 1.
pub async fn exit_codes(executor: &dyn Executor) {
    let mut session = open(executor).await;
    for (code, expected) in [("", 0), ("0", 0), ("None", 0), ("3", 3), ("255", 255)] {
        let result = run(session.as_mut(), &format!("import sys\nsys.exit({code})")).await;
        assert_outcome(&result, &Outcome::Exited { code: expected });
    }
    let result = run(session.as_mut(), "import sys\nsys.exit('nothing to do')").await;
    assert_outcome(&result, &Outcome::Exited { code: 1 });
    assert!(result.stderr.text().contains("nothing to do"), "{:?}", result.stderr);
}

/// An uncaught exception means 1 and a traceback; earlier output is kept.
pub async fn exceptions_exit_with_1(executor: &dyn Executor) {
    let result = run_fresh(executor, "print('before')\nprint(1 / 0)\nprint('after')").await;
    assert_outcome(&result, &Outcome::Exited { code: 1 });
    assert_eq!(result.stdout.text(), "before\n");
    let traceback = result.stderr.text();
    assert!(traceback.contains("ZeroDivisionError") && traceback.contains("line 2"), "{traceback}");
}

/// Code that does not parse means 1, and none of it runs.
pub async fn syntax_errors_exit_with_1(executor: &dyn Executor) {
    let result = run_fresh(executor, "print('ran')\nif True print('x')\n").await;
    assert_outcome(&result, &Outcome::Exited { code: 1 });
    assert_eq!(result.stdout.text(), "");
    assert!(result.stderr.text().contains("SyntaxError"), "{}", result.stderr.text());
}

/// `os._exit` sets the exit code, and ends neither the session nor the executor.
pub async fn os_exit_ends_only_the_block(executor: &dyn Executor) {
    let mut session = open(executor).await;
    let result = run(session.as_mut(), "import os\nprint('before', flush=True)\nos._exit(7)").await;
    assert_outcome(&result, &Outcome::Exited { code: 7 });
    assert_eq!(result.stdout.text(), "before\n");
    assert_eq!(succeed(session.as_mut(), "print('next')").await, "next\n");
}

/// Text of any script arrives unchanged.
pub async fn unicode(executor: &dyn Executor) {
    let text = "héllo 世界 🦀 عربى";
    let result = run_fresh(executor, &format!("# {text}\nprint('{text}')")).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(result.stdout.text(), format!("{text}\n"));
}

/// Bytes that are not UTF-8 arrive unchanged.
pub async fn invalid_utf8(executor: &dyn Executor) {
    let code =
        r"import sys; n = sys.stdout.buffer.write(b'\xff\xfe\x00\xc3(ok)'); sys.stdout.flush()";
    let result = run_fresh(executor, code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(result.stdout.bytes, b"\xff\xfe\x00\xc3(ok)");
}

/// Terminal escapes arrive unchanged; the code that shows them must make them harmless.
pub async fn ansi_escapes(executor: &dyn Executor) {
    let result = run_fresh(executor, r"print('\x1b[31mred\x1b[0m\x07\x1b]0;title\x1b\\')").await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(result.stdout.bytes, b"\x1b[31mred\x1b[0m\x07\x1b]0;title\x1b\\\n");
}

/// Empty code is a program that succeeds.
pub async fn empty_code(executor: &dyn Executor) {
    let mut session = open(executor).await;
    for code in ["", "\n\n", "# only a comment", "   \n\t\n"] {
        let result = run(session.as_mut(), code).await;
        assert_outcome(&result, &Outcome::Exited { code: 0 });
        assert!(
            result.stdout.bytes.is_empty() && result.stderr.bytes.is_empty(),
            "{code:?}: {result:?}"
        );
    }
}

/// A line of a megabyte is code like any other.
pub async fn very_long_line(executor: &dyn Executor) {
    let code = format!("text = '{}'; print(len(text))", "a".repeat(1 << 20));
    assert_eq!(succeed(open(executor).await.as_mut(), &code).await, "1048576\n");
}

/// A program reads the standard input of its own request to its end; the next program gets nothing
/// of it.
pub async fn standard_input(executor: &dyn Executor) {
    let mut session = open(executor).await;
    let stdin = Arc::new("first\nsecond\nthird\n".as_bytes().to_vec());
    let code = "import sys\nprint(input())\nprint(sys.stdin.read().splitlines())";
    let request = ExecutionRequest { stdin: stdin.clone(), ..ExecutionRequest::python(code) };
    let result = run_request(session.as_mut(), request).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(result.stdout.text(), "first\n['second', 'third']\n");

    let request = ExecutionRequest { stdin, ..ExecutionRequest::python("print(input())") };
    assert_eq!(run_request(session.as_mut(), request).await.stdout.text(), "first\n");
    let result = run(session.as_mut(), "input()").await;
    assert_outcome(&result, &Outcome::Exited { code: 1 });
    assert!(result.stderr.text().contains("EOFError"), "{}", result.stderr.text());
}

/// The sink gets output while the program still runs, and all output of the result.
pub async fn output_arrives_while_it_runs(executor: &dyn Executor) {
    type Heard = Vec<(Stream, Vec<u8>, Instant)>;
    let seen: Arc<Mutex<Heard>> = Arc::default();
    let sink = {
        let seen = seen.clone();
        Arc::new(move |stream, bytes: &[u8]| {
            if let Ok(mut seen) = seen.lock() {
                seen.push((stream, bytes.to_vec(), Instant::now()));
            }
        })
    };
    let code = "import sys, time\nprint('early', flush=True)\nprint('oops', file=sys.stderr, \
        flush=True)\n\
                time.sleep(1)\nprint('late')";
    let mut session = open(executor).await;
    let result = run_request(
        session.as_mut(),
        ExecutionRequest { sink: Some(sink), ..ExecutionRequest::python(code) },
    )
    .await;
    let end = Instant::now();
    assert_outcome(&result, &Outcome::Exited { code: 0 });

    let seen = seen.lock().map(|seen| seen.clone()).unwrap_or_default();
    let of = |wanted| {
        seen.iter()
            .filter(move |(stream, ..)| *stream == wanted)
            .flat_map(|(_, bytes, _)| bytes.clone())
    };
    assert_eq!(of(Stream::Stdout).collect::<Vec<_>>(), result.stdout.bytes);
    assert_eq!(of(Stream::Stderr).collect::<Vec<_>>(), result.stderr.bytes);
    let (_, first, at) = &seen[0];
    assert!(first.starts_with(b"early"), "{seen:?}");
    assert!(
        end - *at > Duration::from_millis(500),
        "the first output came only {:?} before the end",
        end - *at
    );
}

/// A language that the executor does not run is an outcome that names it; nothing runs.
pub async fn unsupported_language(executor: &dyn Executor) {
    let mut session = open(executor).await;
    let code = "open('ran.txt', 'w').close()";
    let request = ExecutionRequest::new(Language::new("cobol"), code);
    let result = run_request(session.as_mut(), request).await;
    let Outcome::Unsupported { what } = &result.outcome else { panic!("it ran: {result:?}") };
    assert!(what.contains("cobol"), "{what}");
    assert!(result.artifacts.is_empty());
    assert_eq!(
        succeed(session.as_mut(), "import os; print(os.path.exists('ran.txt'))").await,
        "False\n"
    );
}
