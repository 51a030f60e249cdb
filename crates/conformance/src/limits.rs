//! Each limit, with the same program under a larger limit as its control; and values that are
//! refused before anything runs.

use std::time::{Duration, Instant};

use crate::steps::{
    artifact, assert_limited, assert_outcome, assert_sound, enforces, limits, open, open_with, run,
    run_request, succeed, unclaimed,
};
use cellblock_exec::{Error, ExecutionRequest, Executor, Limit, Limits, Outcome, SessionSpec};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The maximum duration of a stop on a busy machine, including the deadline.
const PROMPT: Duration = Duration::from_secs(10);

/// Wall time stops a loop, and its output is kept.
pub async fn wall_stops_a_busy_loop(executor: &dyn Executor) {
    wall_stops(executor, "while n > 0: n += 1").await;
}

/// Wall time stops a program that sleeps past the deadline.
pub async fn wall_stops_a_sleep(executor: &dyn Executor) {
    wall_stops(executor, "time.sleep(3600)").await;
}

/// Wall time stops a program that catches every exception.
pub async fn wall_cannot_be_caught(executor: &dyn Executor) {
    let code = "while True:\n    try:\n        while True: n += 1\n    except \
        BaseException:\n        pass";
    wall_stops(executor, code).await;
}

/// Runs an endless program under a short deadline and, as the control, a bounded one under the
/// same.
async fn wall_stops(executor: &dyn Executor, endless: &str) {
    let limits = Limits { wall: Duration::from_secs(2), ..limits(executor) };
    if !enforces(executor, Limit::Wall, &limits).await {
        return;
    }
    let mut session = open_with(executor, limits).await;
    let head = "import time\nn = 1\nprint('before', flush=True)\n";
    let start = Instant::now();
    let result = run(session.as_mut(), &format!("{head}{endless}")).await;
    assert_limited(&result, Limit::Wall);
    assert!(start.elapsed() < PROMPT, "stopped only after {:?}", start.elapsed());
    assert!(result.usage.wall >= Duration::from_secs(1), "{:?}", result.usage);
    assert_eq!(result.stdout.text(), "before\n");
    let control =
        run(session.as_mut(), &format!("{head}while n < 1000: n += 1\ntime.sleep(0.05)")).await;
    assert_outcome(&control, &Outcome::Exited { code: 0 });
}

/// A request can shorten the session's deadline, but not lengthen it.
pub async fn a_request_shortens_the_deadline(executor: &dyn Executor) {
    if !enforces(executor, Limit::Wall, &Limits::default()).await {
        return;
    }
    let sleep = |wall| ExecutionRequest {
        wall: Some(wall),
        ..ExecutionRequest::python("import time\ntime.sleep(3600)")
    };
    let start = Instant::now();
    let mut session = open(executor).await;
    assert_limited(
        &run_request(session.as_mut(), sleep(Duration::from_millis(500))).await,
        Limit::Wall,
    );
    let mut short =
        open_with(executor, Limits { wall: Duration::from_millis(500), ..limits(executor) }).await;
    assert_limited(
        &run_request(short.as_mut(), sleep(Duration::from_secs(3600))).await,
        Limit::Wall,
    );
    assert!(start.elapsed() < PROMPT, "stopped only after {:?}", start.elapsed());
}

/// After a timeout the session continues with its files; `state_lost` says if its variables are
/// lost.
pub async fn a_session_survives_a_timeout(executor: &dyn Executor) {
    if !enforces(executor, Limit::Wall, &Limits::default()).await {
        return;
    }
    let mut session = open(executor).await;
    succeed(
        session.as_mut(),
        "kept = 1\nwith open('early.txt', 'w') as f:\n    n = f.write('early')",
    )
    .await;
    let code = "with open('late.txt', 'w') as f:\n    n = f.write('late')\nwhile True: pass";
    let wall = Some(Duration::from_secs(1));
    let result =
        run_request(session.as_mut(), ExecutionRequest { wall, ..ExecutionRequest::python(code) })
            .await;
    assert_limited(&result, Limit::Wall);
    assert_eq!(*artifact(&result, "late.txt").content, b"late");
    let code = "print(open('early.txt').read(), open('late.txt').read(), 'kept' in globals())";
    let kept = if executor.capabilities().state && !result.state_lost { "True" } else { "False" };
    assert_eq!(succeed(session.as_mut(), code).await, format!("early late {kept}\n"));
}

/// Processor time stops a loop; sleeping does not use it up.
pub async fn cpu_stops_a_busy_loop(executor: &dyn Executor) {
    let limits = Limits { cpu: Some(Duration::from_millis(500)), ..limits(executor) };
    if !enforces(executor, Limit::Cpu, &limits).await {
        return;
    }
    let mut session = open_with(executor, limits).await;
    let result = run(session.as_mut(), "print('before', flush=True)\nwhile True: pass").await;
    assert_limited(&result, Limit::Cpu);
    assert_eq!(result.stdout.text(), "before\n");
    succeed(session.as_mut(), "import time\ntime.sleep(1)").await;
}

/// Bytes that a program writes to descriptors it did not open, such as the beginning of an endless
/// message, do not stop the count of its processor time.
pub async fn cpu_holds_after_writing_to_all_descriptors(executor: &dyn Executor) {
    let small = Limits { cpu: Some(Duration::from_secs(1)), ..limits(executor) };
    if !enforces(executor, Limit::Cpu, &small).await {
        return;
    }
    let mut session = open_with(executor, small).await;
    for garbage in [
        "b'd' + (100).to_bytes(4, 'little')",
        "b'd' + b'\\xff\\xff\\xff\\x7f'",
        "b'd'",
        "b'abcd' + b'\\xff' * 4",
    ] {
        let start = Instant::now();
        let code = format!(
            "import os\n\
             for fd in range(3, 40):\n    try:\n        n = os.write(fd, {garbage})\n    \
             except OSError:\n        pass\nwhile True: pass"
        );
        let result = run(session.as_mut(), &code).await;
        // Invalid messages may end the program earlier.
        let ended = Outcome::Signaled { signal: 9 };
        let expected = Outcome::LimitExceeded { limit: Limit::Cpu };
        assert!(
            result.outcome == expected || result.outcome == ended,
            "{garbage}: {:?} {}",
            result.outcome,
            result.stderr.text()
        );
        assert!(start.elapsed() < Duration::from_secs(10), "{garbage}: {:?}", start.elapsed());
        assert_eq!(succeed(session.as_mut(), "print('still here')").await, "still here\n");
    }
    // The control: the same limit without garbage.
    assert_limited(&run(session.as_mut(), "while True: pass").await, Limit::Cpu);
}

/// Memory stops a hog, and the session continues.
pub async fn memory_stops_a_hog(executor: &dyn Executor) {
    let small = Limits { memory: 384 * MIB, ..limits(executor) };
    if !enforces(executor, Limit::Memory, &small).await {
        return;
    }
    let code = "chunks = [b'x' * (1 << 20) for _ in range(450)]\nprint(len(chunks))\ndel chunks";
    let mut session = open_with(executor, small).await;
    assert_limited(&run(session.as_mut(), code).await, Limit::Memory);
    assert_eq!(succeed(session.as_mut(), "print(6 * 7)").await, "42\n");

    let large = Limits { memory: 1024 * MIB, ..limits(executor) };
    assert_eq!(succeed(open_with(executor, large).await.as_mut(), code).await, "450\n");
}

/// One allocation of far more memory than there is fails, and harms nothing.
pub async fn an_absurd_allocation_fails(executor: &dyn Executor) {
    if !enforces(executor, Limit::Memory, &Limits::default()).await {
        return;
    }
    let mut session = open(executor).await;
    for code in ["b'x' * (1 << 45)", "x = bytearray(1 << 40)", "[0] * (1 << 40)"] {
        let result = run(session.as_mut(), code).await;
        assert!(!result.outcome.is_success(), "{code}: {:?}", result.outcome);
    }
    assert_eq!(succeed(session.as_mut(), "print('still here')").await, "still here\n");
}

/// A program that writes more than the limit succeeds; head and tail are kept, and the rest is
/// counted.
pub async fn long_output_is_shortened(executor: &dyn Executor) {
    let small = Limits { output: 64 * KIB, ..limits(executor) };
    if !enforces(executor, Limit::Output, &small).await {
        return;
    }
    let code = "import sys\nfor stream in (sys.stdout, sys.stderr):\n    \
                print('HEAD' + 'x' * 400_000 + 'TAIL', file=stream, end='')";
    let total = 400_008;
    let result = run(open_with(executor, small).await.as_mut(), code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    for captured in [&result.stdout, &result.stderr] {
        assert!(captured.bytes.starts_with(b"HEADxxx"));
        assert!(captured.bytes.ends_with(b"xxxTAIL"));
        // The line in the gap is added to the kept bytes.
        assert!(
            captured.bytes.len() as u64 <= 64 * KIB + 256,
            "{} bytes kept",
            captured.bytes.len()
        );
        let kept = captured.bytes.iter().filter(|byte| b"HEADxTIL".contains(byte)).count() as u64;
        assert!(
            captured.dropped <= total - 32 * KIB,
            "{} of {total} bytes dropped",
            captured.dropped
        );
        assert!(
            captured.dropped + kept >= total,
            "{kept} kept and {} dropped of {total}",
            captured.dropped
        );
    }
    let control = run(open(executor).await.as_mut(), code).await;
    assert_outcome(&control, &Outcome::Exited { code: 0 });
    assert_eq!((control.stdout.bytes.len() as u64, control.stdout.dropped), (total, 0));
}

/// A program that writes without end, and without a line end, is stopped long before the deadline.
pub async fn an_output_flood_is_stopped(executor: &dyn Executor) {
    let small = Limits { output: 16 * KIB, ..limits(executor) };
    if !enforces(executor, Limit::Output, &small).await {
        return;
    }
    let mut session = open_with(executor, small).await;
    for stream in ["stdout", "stderr"] {
        let code = format!(
            "import sys\nsys.{stream}.write('HEAD')\nwhile True: sys.{stream}.write('x' * 1024)"
        );
        let result = run(session.as_mut(), &code).await;
        assert_limited(&result, Limit::Output);
        let captured = if stream == "stdout" { &result.stdout } else { &result.stderr };
        assert!(captured.bytes.starts_with(b"HEADxxx"));
        assert!(
            captured.bytes.len() as u64 <= 16 * KIB + 256,
            "{} bytes kept",
            captured.bytes.len()
        );
        assert!(captured.dropped > 16 * KIB, "{} bytes dropped", captured.dropped);
    }
    assert_eq!(succeed(session.as_mut(), "print('x' * 1024)").await.len(), 1025);
}

/// A gigabyte of output is stopped under the default limits, and costs neither a gigabyte of memory
/// nor the minute until the deadline.
pub async fn a_gigabyte_of_output_is_stopped(executor: &dyn Executor) {
    if !enforces(executor, Limit::Output, &Limits::default()).await {
        return;
    }
    let mut session = open(executor).await;
    let start = Instant::now();
    let code = "import sys\nfor _ in range(1024): n = sys.stdout.write('x' * (1 << 20))";
    let result = run(session.as_mut(), code).await;
    assert_limited(&result, Limit::Output);
    assert!(result.stdout.bytes.len() as u64 <= Limits::default().output + 256);
    assert!(start.elapsed() < Duration::from_secs(30), "it took {:?}", start.elapsed());
    assert_eq!(succeed(session.as_mut(), "print('next')").await, "next\n");
}

/// The disk quota stops one large file, and many files that are large together; removed bytes can
/// be used again.
pub async fn disk_is_limited(executor: &dyn Executor) {
    let small = Limits { disk: 2 * MIB, ..limits(executor) };
    if !enforces(executor, Limit::Disk, &small).await {
        return;
    }
    let one =
        "with open('big.bin', 'wb') as f:\n    for _ in range(64): n = f.write(b'x' * (128 << 10))";
    let many = "for i in range(64):\n    with open(f'{i}.bin', 'wb') as f: n = f.write(b'x' * \
        (128 << 10))";
    for code in [one, many] {
        let mut session = open_with(executor, small.clone()).await;
        let result = run(session.as_mut(), code).await;
        assert_limited(&result, Limit::Disk);
        let bytes: u64 = result.artifacts.iter().map(|artifact| artifact.bytes).sum();
        assert!(bytes <= 2 * MIB, "{bytes} bytes were written");
        let again = "import glob, os\nfor name in glob.glob('*.bin'): os.remove(name)\n\
                     with open('new.bin', 'wb') as f: n = f.write(b'y' * (1 << 20))";
        let result = run(session.as_mut(), again).await;
        assert_outcome(&result, &Outcome::Exited { code: 0 });
        assert_eq!(artifact(&result, "new.bin").bytes, MIB);

        let control = run(open(executor).await.as_mut(), code).await;
        assert_outcome(&control, &Outcome::Exited { code: 0 });
        assert_eq!(control.artifacts.iter().map(|artifact| artifact.bytes).sum::<u64>(), 8 * MIB);
    }
}

/// Temporary files count, too: a program cannot fill the host through them.
pub async fn temporary_files_are_limited(executor: &dyn Executor) {
    let small = Limits { disk: 2 * MIB, ..limits(executor) };
    if !enforces(executor, Limit::Disk, &small).await {
        return;
    }
    let code = "import os, tempfile\npath = os.path.join(tempfile.gettempdir(), 'big.bin')\n\
                with open(path, 'wb') as f:\n    for _ in range(64): n = f.write(b'x' * (128 << \
                10))\nprint(os.path.getsize(path))";
    let result = run(open_with(executor, small).await.as_mut(), code).await;
    assert_limited(&result, Limit::Disk);
    assert_eq!(succeed(open(executor).await.as_mut(), code).await, format!("{}\n", 8 * MIB));
}

/// A sparse file counts by the bytes that the host must store or return: it neither fills the host
/// nor passes the quota.
pub async fn sparse_files_are_limited(executor: &dyn Executor) {
    let small = Limits { disk: 4 * MIB, ..limits(executor) };
    if !enforces(executor, Limit::Disk, &small).await {
        return;
    }
    for code in [
        "with open('hole.bin', 'wb') as f:\n    n = f.truncate(1 << 40)",
        "with open('hole.bin', 'wb') as f:\n    n = f.seek(1 << 40)\n    n = f.write(b'x')",
    ] {
        let result = run(open_with(executor, small.clone()).await.as_mut(), code).await;
        assert!(!result.outcome.is_success(), "{code}: {:?}", result.outcome);
        assert!(
            result.artifacts.iter().all(|artifact| artifact.bytes <= 4 * MIB),
            "{:?}",
            result.artifacts
        );
        let control =
            run(open_with(executor, small.clone()).await.as_mut(), &code.replace("40", "20")).await;
        assert_outcome(&control, &Outcome::Exited { code: 0 });
        let content = &artifact(&control, "hole.bin").content;
        assert!(
            content.len() as u64 >= MIB && content[..MIB as usize].iter().all(|byte| *byte == 0)
        );
    }
    assert_sound(executor).await;
}

/// The number of files is limited, including directories.
pub async fn files_are_limited(executor: &dyn Executor) {
    let small = Limits { files: 32, ..limits(executor) };
    if !enforces(executor, Limit::Files, &small).await {
        return;
    }
    for code in [
        "for i in range(200): open(f'{i}.txt', 'w').close()\nprint('all made')",
        "import os\nfor i in range(200): os.mkdir(f'{i}')\nprint('all made')",
    ] {
        let mut session = open_with(executor, small.clone()).await;
        let result = run(session.as_mut(), code).await;
        assert_limited(&result, Limit::Files);
        assert!(result.artifacts.len() <= 32, "{} files", result.artifacts.len());
        assert_eq!(succeed(session.as_mut(), "print('still here')").await, "still here\n");
        assert_eq!(succeed(open(executor).await.as_mut(), code).await, "all made\n");
    }
}

/// A hundred thousand files are stopped at the default limit, soon, and the session continues.
pub async fn a_hundred_thousand_files(executor: &dyn Executor) {
    let default = limits(executor);
    if !enforces(executor, Limit::Files, &Limits { files: 4096, ..default.clone() }).await {
        return;
    }
    let mut session = open_with(executor, default).await;
    let start = Instant::now();
    let code = "for i in range(100_000): open(f'{i}.txt', 'w').close()";
    let result = run(session.as_mut(), code).await;
    assert_limited(&result, Limit::Files);
    assert!(
        result.artifacts.len() <= cellblock_exec::MAX_ARTIFACTS,
        "{} files",
        result.artifacts.len()
    );
    assert!(!result.refused.is_empty(), "files were left out without a word");
    assert!(start.elapsed() < Duration::from_secs(20), "it took {:?}", start.elapsed());
    assert_eq!(
        succeed(
            session.as_mut(),
            "import os\nfor name in os.listdir('.'): os.remove(name)\nprint('ok')"
        )
        .await,
        "ok\n"
    );
}

/// A limit that the executor does not claim is refused when a session opens; all claimed limits
/// together are accepted.
pub async fn a_limit_is_enforced_or_refused(executor: &dyn Executor) {
    let base = limits(executor);
    drop(open_with(executor, base.clone()).await);
    let given = Limits { cpu: Some(Duration::from_secs(1)), ..Limits::default() };
    for limit in unclaimed(executor.capabilities()) {
        let mut limits = base.clone();
        match limit {
            Limit::Wall => limits.wall = given.wall,
            Limit::Cpu => limits.cpu = given.cpu,
            Limit::Memory => limits.memory = given.memory,
            Limit::Output => limits.output = given.output,
            Limit::Disk => limits.disk = given.disk,
            Limit::Files => limits.files = given.files,
            Limit::Processes => limits.processes = given.processes,
        }
        assert!(!enforces(executor, limit, &limits).await);
    }
}

/// A deadline of zero is invalid.
pub async fn a_zero_deadline_is_invalid(executor: &dyn Executor) {
    let spec = SessionSpec {
        limits: Limits { wall: Duration::ZERO, ..limits(executor) },
        ..SessionSpec::default()
    };
    match executor.open(spec).await {
        Err(Error::Invalid { .. }) => {}
        other => panic!("a deadline of zero gave {other:?}"),
    }
    assert_sound(executor).await;
}

/// Too little memory for an interpreter is refused before anything runs.
pub async fn tiny_memory_is_refused(executor: &dyn Executor) {
    let tiny = Limits { memory: KIB, ..limits(executor) };
    if !enforces(executor, Limit::Memory, &tiny).await {
        return;
    }
    match executor.open(SessionSpec { limits: tiny, ..SessionSpec::default() }).await {
        Err(Error::Invalid { .. } | Error::Unsupported(_) | Error::Start { .. }) => {}
        other => panic!("a session in a kibibyte of memory gave {other:?}"),
    }
    assert_sound(executor).await;
}

/// An image that does not exist is refused, and the message names it.
pub async fn an_unknown_image_is_refused(executor: &dyn Executor) {
    let image = Some("no-such-image-here".to_string());
    match executor
        .open(SessionSpec { limits: limits(executor), image, ..SessionSpec::default() })
        .await
    {
        Err(error) => {
            let failure = cellblock_exec::with_causes(&error);
            assert!(failure.contains("no-such-image-here"), "{failure}");
        }
        Ok(_) => panic!("an image that does not exist was opened"),
    }
    assert_sound(executor).await;
}

/// The result reports the resources that a program used.
pub async fn usage_is_told(executor: &dyn Executor) {
    let result = run(open(executor).await.as_mut(), "import time\ntime.sleep(0.3)").await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert!(result.usage.wall >= Duration::from_millis(250), "{:?}", result.usage);
    assert!(
        result.usage.cpu <= result.usage.wall + Duration::from_millis(50),
        "{:?}",
        result.usage
    );
    assert!(result.usage.memory > MIB, "{:?}", result.usage);
}
