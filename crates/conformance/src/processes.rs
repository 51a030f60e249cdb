//! Programs that start programs: children are under the same limits and end with their session.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::steps::{
    assert_limited, assert_outcome, assert_sound, enforces, limits, open, open_with, run,
    run_request,
};
use crate::traces::{eventually, marker, processes_with};
use cellblock_exec::{ExecutionRequest, Executor, Isolation, Limit, Limits, Outcome};

/// Python that starts a process which has left its parent and its session, ignores signals and
/// holds the output. It prints `started` if it could.
fn daemon(marker: &str) -> String {
    format!(
        r#"
import os, sys
code = "import signal, time\n"
code += "for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\n"
code += "print('up', flush=True); time.sleep(600)"
try:
    import subprocess
    script = "import os, subprocess, sys\nif os.fork() == 0:\n    os.setsid()\n"
    script += "    if os.fork() == 0:\n"
    script += "        os.execv(sys.executable, [sys.executable, '-c', sys.argv[1], '{marker}'])\n"
    script += "    os._exit(0)\n"
    first = subprocess.Popen([sys.executable, '-c', script, code], stdout=subprocess.PIPE)
    first.stdout.readline()
    print('started', flush=True)
except (ImportError, OSError, AttributeError) as error:
    print('not started', flush=True)
"#
    )
}

/// No process outlives a timeout, a cancellation, the end of its session, or its drop. The control:
/// the process was seen on the host before.
pub async fn nothing_survives(executor: &dyn Executor) {
    for ending in ["timeout", "cancel", "drop", "close"] {
        let marker = marker();
        let mut session = open(executor).await;
        let started = run(session.as_mut(), &daemon(&marker)).await;
        assert_outcome(&started, &Outcome::Exited { code: 0 });
        let is_started =
            started.stdout.text().contains("started\n") && !started.stdout.text().contains("not");
        assert_eq!(processes_with(&marker) > 0, is_started, "the control: {started:?}");
        match ending {
            "timeout" => {
                let wall = Some(Duration::from_millis(300));
                let request =
                    ExecutionRequest { wall, ..ExecutionRequest::python("while True: pass") };
                assert_limited(&run_request(session.as_mut(), request).await, Limit::Wall);
                eventually("the processes of the block are gone", || processes_with(&marker) == 0)
                    .await;
            }
            "cancel" => {
                let cancel = CancellationToken::new();
                let request = ExecutionRequest {
                    cancel: cancel.clone(),
                    ..ExecutionRequest::python("while True: pass")
                };
                let canceller = async {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    cancel.cancel();
                };
                let (result, ()) = tokio::join!(run_request(session.as_mut(), request), canceller);
                assert_outcome(&result, &Outcome::Cancelled);
                eventually("the processes of the block are gone", || processes_with(&marker) == 0)
                    .await;
            }
            "drop" => drop(session),
            _ => {
                if let Err(error) = session.close().await {
                    panic!("cannot close: {error:?}");
                }
                assert_eq!(processes_with(&marker), 0, "closing waits until nothing is left");
            }
        }
        eventually("the processes of the session are gone", || processes_with(&marker) == 0).await;
    }
}

/// A process that stays alive and holds the output delays neither its block nor the next one.
pub async fn nobody_waits_for_a_process_that_holds_the_output(executor: &dyn Executor) {
    let mut session = open(executor).await;
    let code = "try:\n    import subprocess, sys\n    \
                child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n\
                except (ImportError, OSError, AttributeError): pass\nprint('done')";
    let start = std::time::Instant::now();
    assert_eq!(run(session.as_mut(), code).await.stdout.text(), "done\n");
    assert_eq!(run(session.as_mut(), "print('next')").await.stdout.text(), "next\n");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

/// A program that starts too many processes fails, and the result says why.
pub async fn processes_are_limited(executor: &dyn Executor) {
    let small = Limits { processes: 8, ..limits(executor) };
    if !enforces(executor, Limit::Processes, &small).await {
        return;
    }
    let code = "import subprocess, sys\n\
                children = [subprocess.Popen([sys.executable, '-c', 'import time; \
                time.sleep(60)']) for _ in range(24)]\n\
                print(len(children))\nfor child in children: child.kill()";
    let mut session = open_with(executor, small).await;
    let result = run(session.as_mut(), code).await;
    if executor.capabilities().isolation == Isolation::Wasm {
        // It cannot start any there.
        assert_outcome(&result, &Outcome::Exited { code: 1 });
        return;
    }
    assert_limited(&result, Limit::Processes);
    let next = run(session.as_mut(), "print('next')").await;
    assert_eq!(next.stdout.text(), "next\n", "{next:?}");
    let control = run(open(executor).await.as_mut(), code).await;
    assert_outcome(&control, &Outcome::Exited { code: 0 });
    assert_eq!(control.stdout.text(), "24\n");
}

/// If an interpreter ends while its children hold all allowed processes, the session loses only its
/// variables: later blocks end in time and report the limit.
pub async fn a_full_cell_keeps_its_session(executor: &dyn Executor) {
    let small = Limits { processes: 8, ..limits(executor) };
    if !enforces(executor, Limit::Processes, &small).await {
        return;
    }
    let mut session = open_with(executor, small).await;
    let code = "import os, time\ndef grow():\n    while True:\n        try:\n            \
                if os.fork() == 0: time.sleep(600)\n        \
                except (OSError, AttributeError): return\n\
                try:\n    child = os.fork()\nexcept AttributeError:\n    child = 1\n\
                if child == 0:\n    while True:\n        grow()\n        time.sleep(0.001)\n\
                time.sleep(0.5)\nos._exit(5)";
    let result = run(session.as_mut(), code).await;
    let exited = Outcome::Exited { code: 5 };
    let limited = Outcome::LimitExceeded { limit: Limit::Processes };
    assert!(result.outcome == exited || result.outcome == limited, "{:?}", result.outcome);
    let start = Instant::now();
    let result = run(session.as_mut(), "print('fits')").await;
    assert!(
        result.outcome == limited || result.stdout.text() == "fits\n",
        "{:?}: {:?}",
        result.outcome,
        result.notes
    );
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    drop(session);
    assert_sound(executor).await;
}

/// A program sees only processes of its cell, and none of the host.
pub async fn other_processes_are_invisible(executor: &dyn Executor) {
    let marker = marker();
    let mut sleeper =
        match std::process::Command::new("sh").args(["-c", "sleep 60; :", &marker]).spawn() {
            Ok(sleeper) => sleeper,
            Err(error) => panic!("cannot start a process to look for: {error}"),
        };
    let code = "import os, glob\nfor path in glob.glob('/proc/*/cmdline'):\n    \
                try: print(open(path).read().replace('\\0', ' '))\n    except OSError: \
                pass\nprint('looked')";
    let shown = run(open(executor).await.as_mut(), code).await.stdout.text();
    assert!(shown.ends_with("looked\n"), "{shown}");
    let seen_here = processes_with(&marker);
    // The process is no longer needed.
    let _ = sleeper.kill().and_then(|()| sleeper.wait().map(drop));
    assert!(seen_here > 0, "the control sees nothing");
    if executor.capabilities().isolation != Isolation::None {
        assert!(!shown.contains(&marker), "a process of the host is seen:\n{shown}");
    }
}

/// Attempts to gain rights, each of which must fail; a harmless call by the same route is the
/// control.
const RIGHTS: &str = r"
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, act):
    try:
        value = act()
    except BaseException:
        return
    if value != -1:
        print(name)
attempt('control', lambda: libc.getpid())
attempt('mount', lambda: libc.mount(b'none', b'/tmp', b'tmpfs', 0, b''))
attempt('umount', lambda: libc.umount2(b'/proc', 2))
attempt('unshare user', lambda: libc.unshare(0x10000000))
attempt('unshare mount', lambda: libc.unshare(0x00020000))
attempt('setns', lambda: libc.setns(os.open('/proc/self/ns/mnt', os.O_RDONLY), 0))
attempt('chroot', lambda: os.chroot('/tmp'))
attempt('setuid', lambda: os.setuid(0))
attempt('setgid', lambda: os.setgid(0) if os.getgid() else -1)
attempt('setgroups', lambda: os.setgroups([0]))
attempt('hostname', lambda: socket.sethostname('changed'))
attempt('ptrace', lambda: libc.ptrace(16, os.getppid(), 0, 0))
attempt('memory of another', lambda: len(open(f'/proc/{os.getppid()}/mem', 'rb').read(0)))
attempt('device', lambda: os.mknod('sda', 0o060600, os.makedev(8, 0)))
attempt('raw socket', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).fileno())
attempt('packet socket', lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).fileno())
attempt('priority', lambda: os.nice(-5))
attempt('limit', lambda: __import__('resource').setrlimit(7, (1 << 20, 1 << 20)))
attempt('clock', lambda: libc.settimeofday(ctypes.create_string_buffer(16), None))
attempt('reboot', lambda: libc.reboot(0))
attempt('module', lambda: libc.syscall(175, 0, 0, b''))
attempt('keyring', lambda: libc.syscall(248, b'user', b'name', b'x', 1, -3))
attempt('bpf', lambda: libc.syscall(321, 0, 0, 0))
attempt('write /etc', lambda: open('/etc/passwd', 'a').write('x'))
attempt('write /usr', lambda: open('/usr/bin/planted', 'w').write('x'))
attempt('write /proc/sys', lambda: open('/proc/sys/kernel/hostname', 'w').write('x'))
attempt('kcore', lambda: len(open('/proc/kcore', 'rb').read(1)))
";

/// No attempt to gain rights works.
pub async fn no_rights_are_gained(executor: &dyn Executor) {
    if executor.capabilities().isolation == Isolation::Wasm {
        // There are no system calls there: importing `ctypes` fails already.
        let result = run(open(executor).await.as_mut(), RIGHTS).await;
        assert!(!result.stdout.text().contains("mount"), "{result:?}");
        return;
    }
    let result = run(open(executor).await.as_mut(), RIGHTS).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    let shown = result.stdout.text();
    assert!(shown.starts_with("control\n"), "{shown}");
    if executor.capabilities().isolation != Isolation::None {
        assert_eq!(shown, "control\n", "a program has gained rights");
    }
}

/// Unix sockets of the host's programs cannot be reached, by path or by abstract name. The control
/// is a connection from this process.
pub async fn unix_sockets_are_out_of_reach(executor: &dyn Executor) {
    use std::os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    };
    let directory = match tempfile::tempdir() {
        Ok(directory) => directory,
        Err(error) => panic!("cannot make a directory: {error}"),
    };
    let path = directory.path().join("socket");
    let name = marker();
    let listen = || -> std::io::Result<_> {
        // Permissions allow everybody: only the executor can deny the program.
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(directory.path(), all)?;
        let by_path = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        let by_name = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        by_path.set_nonblocking(true)?;
        by_name.set_nonblocking(true)?;
        Ok((by_path, by_name))
    };
    let (by_path, by_name) = match listen() {
        Ok(listeners) => listeners,
        Err(error) => panic!("cannot listen on this machine: {error}"),
    };
    let code = format!(
        "for address in ({:?}, '\\0{name}'):\n    try:\n        import socket\n        \
         socket.socket(socket.AF_UNIX).connect(address)\n    except (ImportError, OSError, \
         AttributeError): pass",
        path.display().to_string()
    );
    let result = run(open(executor).await.as_mut(), &code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    let reached = (by_path.accept().is_ok(), by_name.accept().is_ok());
    let expected = executor.capabilities().isolation == Isolation::None;
    assert_eq!(reached, (expected, expected), "the program reached (a path, an abstract name)");
    assert!(
        UnixStream::connect(&path).is_ok() && by_path.accept().is_ok(),
        "the listener does not work"
    );
}

/// The output of many programs at once is not mixed up.
pub async fn parallel_children_are_collected(executor: &dyn Executor) {
    let code = "try:\n    import subprocess, sys\nexcept ImportError:\n    print(36)\nelse:\n    \
                try:\n        children = [subprocess.Popen([sys.executable, '-c', f'print({n})'], \
                stdout=subprocess.PIPE) for n in range(9)]\n        \
                print(sum(int(child.communicate()[0]) for child in children))\n    \
                except OSError:\n        print(36)";
    let cancel = CancellationToken::new();
    let request =
        ExecutionRequest { cancel, stdin: Arc::default(), ..ExecutionRequest::python(code) };
    let result = run_request(open(executor).await.as_mut(), request).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(result.stdout.text(), "36\n");
}
