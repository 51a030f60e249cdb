//! Programs that try to harm the host or the next execution.

use std::time::{Duration, Instant};

use crate::steps::{
    assert_outcome, assert_sound, enforces, limits, open, open_with, run, run_request, succeed,
};
use crate::traces::{eventually, marker, processes_with};
use cellblock_exec::{ExecutionRequest, Executor, Limit, Limits, Outcome};

/// Endless recursion is an exception or a crash of the program; the session continues either way.
pub async fn deep_recursion(executor: &dyn Executor) {
    let mut session = open(executor).await;
    let result = run(session.as_mut(), "def f(n): return f(n + 1)\nf(0)").await;
    assert_outcome(&result, &Outcome::Exited { code: 1 });
    assert!(result.stderr.text().contains("RecursionError"), "{}", result.stderr.text());
    for code in [
        "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(n): return f(n + 1)\nf(0)",
        "import sys\nsys.setrecursionlimit(10 ** 9)\nclass A:\n    def __repr__(self): return \
            repr(self)\nrepr(A())",
        "x = []\nfor _ in range(1_000_000): x = [x]\nrepr(x)",
        "eval('(' * 5000 + ')' * 5000)",
    ] {
        let request = ExecutionRequest {
            wall: Some(Duration::from_secs(20)),
            ..ExecutionRequest::python(code)
        };
        let result = run_request(session.as_mut(), request).await;
        let expected = match result.outcome {
            Outcome::Exited { code } => code == 1,
            Outcome::Signaled { .. } => true,
            // An interpreter without a stack limit of its own fills the memory first.
            Outcome::LimitExceeded { limit } => limit == Limit::Memory || limit == Limit::Wall,
            _ => false,
        };
        assert!(expected, "{code}: {:?}", result.outcome);
        assert_eq!(succeed(session.as_mut(), "print('still here')").await, "still here\n");
    }
    assert_sound(executor).await;
}

/// Memory unsafety inside the guest is at most a crash of the guest.
pub async fn a_crash_ends_only_the_block(executor: &dyn Executor) {
    let mut session = open(executor).await;
    for code in [
        "import ctypes\nctypes.string_at(1 << 30)",
        "import ctypes\nctypes.memset(0, 1, 1 << 20)",
        "import faulthandler\nfaulthandler._sigsegv()",
        "import os\nos.abort()",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    ] {
        let result = run(session.as_mut(), code).await;
        let ended = matches!(result.outcome, Outcome::Exited { .. } | Outcome::Signaled { .. });
        assert!(ended, "{code}: {:?}", result.outcome);
        assert_eq!(succeed(session.as_mut(), "print(6 * 7)").await, "42\n", "after {code}");
    }
    assert_sound(executor).await;
}

/// A fork bomb ends within its limits and leaves no process behind.
pub async fn a_fork_bomb_is_contained(executor: &dyn Executor) {
    let small = Limits { processes: 8, wall: Duration::from_secs(10), ..limits(executor) };
    if !enforces(executor, Limit::Processes, &small).await {
        return;
    }
    let marker = marker();
    let code = format!(
        "import os, sys\ntry:\n    import subprocess\nexcept ImportError:\n    subprocess = None\n\
         started, errors = [], set()\n\
         for _ in range(64):\n    try:\n        \
         started.append(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', \
         '{marker}']))\n    \
         except BaseException as error:\n        errors.add(type(error).__name__)\n\
         print(len(started))\n\
         def bomb():\n    while True:\n        try: os.fork()\n        except (OSError, \
         AttributeError): return\n\
         bomb()\n"
    );
    let start = Instant::now();
    let mut session = open_with(executor, small).await;
    let result = run(session.as_mut(), &code).await;
    let first = result.stdout.text().lines().next().and_then(|line| line.parse::<usize>().ok());
    assert!(
        first.is_none_or(|started| started <= 8),
        "{first:?} processes were started under a limit of 8"
    );
    assert!(start.elapsed() < Duration::from_secs(20), "it took {:?}", start.elapsed());
    drop(session);
    eventually("the processes of the bomb are gone", || processes_with(&marker) == 0).await;
    assert_sound(executor).await;
}

/// A program that opens files without closing them reaches a limit, and the host keeps its own
/// descriptors.
pub async fn descriptors_are_bounded(executor: &dyn Executor) {
    let code = "kept = []\nopen('one.txt', 'w').close()\ntry:\n    for _ in range(200_000): \
        kept.append(open('one.txt'))\n\
                except OSError as error:\n    print(type(error).__name__)\ndel kept";
    let mut session = open(executor).await;
    let result = run(session.as_mut(), code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(result.stdout.text(), "OSError\n", "200,000 descriptors were open at once");
    assert_eq!(succeed(session.as_mut(), "print(open('one.txt').read())").await, "\n");
    let host = tempfile::tempfile();
    assert!(host.is_ok(), "the host has no descriptor left: {host:?}");
}

/// Paths that are absurd in length, depth or number of links fail in the program only.
pub async fn absurd_paths_fail(executor: &dyn Executor) {
    let code = r"
import os
def attempt(act):
    try:
        act()
    except (OSError, ValueError, AttributeError, NotImplementedError, RecursionError):
        pass
attempt(lambda: open('x' * 100_000, 'w'))
attempt(lambda: open('x/' * 100_000 + 'y', 'w'))
attempt(lambda: os.makedirs('/'.join(['d'] * 3000)))
attempt(lambda: open('nul\0byte', 'w'))
attempt(lambda: os.symlink('loop', 'loop'))
attempt(lambda: open('loop').read())
attempt(lambda: open('', 'w'))
attempt(lambda: open('.', 'w'))
attempt(lambda: open('..', 'w'))
attempt(lambda: os.rename('.', 'x'))
attempt(lambda: os.rmdir('/'))
attempt(lambda: os.remove('/'))
attempt(lambda: open('odd\n\x1b[31mname.txt', 'w').close())
print('done')
";
    let mut session = open(executor).await;
    let result = run(session.as_mut(), code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(result.stdout.text(), "done\n");
    assert_eq!(
        succeed(session.as_mut(), "with open('ok.txt', 'w') as f: n = f.write('ok')\nprint(n)")
            .await,
        "2\n"
    );
}

/// Damage to the interpreter's streams or built-ins ends with the session.
pub async fn sabotage_ends_with_the_session(executor: &dyn Executor) {
    for code in [
        "import builtins\nbuiltins.print = None",
        "import sys\nsys.stdout = sys.stderr = None",
        "import os\nos.close(1); os.close(2); os.close(0)",
        "import sys\nsys.modules.clear()",
        "import os, sys\nos.chdir('/')\nsys.path.clear()",
        "import signal, sys\nsys.settrace(lambda *a: 1 / 0)",
        "import atexit\natexit.register(lambda: 1 / 0)",
    ] {
        let mut session = open(executor).await;
        run(session.as_mut(), code).await;
        drop(session);
        assert_sound(executor).await;
    }
}

/// A large random request, a long poll and other calls that make the host work are bounded by the
/// deadline.
pub async fn expensive_calls_are_bounded(executor: &dyn Executor) {
    let small = Limits { wall: Duration::from_secs(3), ..limits(executor) };
    let mut session = open_with(executor, small).await;
    for code in [
        "import os\nwhile True: os.urandom(1 << 24)",
        "import os\nopen('f', 'w').close()\nwhile True: os.stat('f')",
        "import time\nwhile True: time.sleep(0)",
        "import select, time\nwhile True:\n    try: select.select([], [], [], 1000)\n    except \
            OSError: time.sleep(1000)",
        "x = 10 ** 10_000_000\nwhile True: x * x",
        "import re\nre.match('(a+)+$', 'a' * 60 + 'b')",
    ] {
        let start = Instant::now();
        let result = run(session.as_mut(), code).await;
        let stopped =
            matches!(result.outcome, Outcome::LimitExceeded { limit: Limit::Wall | Limit::Memory });
        assert!(stopped, "{code}: {:?} {}", result.outcome, result.stderr.text());
        assert!(start.elapsed() < Duration::from_secs(15), "{code}: it took {:?}", start.elapsed());
    }
    assert_sound(executor).await;
}
