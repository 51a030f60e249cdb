//! Tests of the isolation between programs and the host. Each denial has its control: the same
//! program at the level `none`.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command},
};

use cellblock_exec::{
    ExecutionRequest, Executor, HostRule, Isolation, Limits, Network, Outcome, SessionSpec,
};
use cellblock_local::{LocalExecutor, Options};

use super::cells::{at, executor, is_root, open_directory, output, run, run_with, walls};

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_host_cannot_be_read() {
    let directory = open_directory();
    let secret = directory.path().join("secret");
    fs::write(&secret, "the host's").unwrap();
    let code = format!(
        "import os
for path in ({secret:?}, '/etc/passwd', '/etc/hostname', '/proc/cmdline'):
    try:
        print(path, len(open(path).read()) > 0)
    except OSError as error:
        print(path, False)
for path in ({:?}, '/home', '/root', '/var', '/run', '/etc'):
    try:
        print(path, os.listdir(path))
    except OSError:
        print(path, 'closed')
",
        directory.path()
    );
    for level in walls() {
        let seen = output(level, &code).await;
        assert!(seen.contains(&format!("{} False\n", secret.display())), "{level}: {seen}");
        assert!(
            seen.contains(&format!("{} closed\n", directory.path().display())),
            "{level}: {seen}"
        );
        assert!(
            seen.contains("/home closed\n")
                && seen.contains("/root closed\n")
                && seen.contains("/run closed\n")
        );
        assert!(!seen.contains("shadow"), "{level}: {seen}");
    }
    let control = output(Isolation::None, &code).await;
    assert!(control.contains(&format!("{} True\n", secret.display())), "{control}");
    assert!(control.contains("['secret']"), "{control}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_host_cannot_be_written() {
    let directory = open_directory();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let place = directory.path().join("written");
    let code = format!(
        "for path in ({place:?}, '/usr/x', '/etc/x', '/x', '/packages/x', '/dev/x',
             '/proc/sys/kernel/hostname', '/sys/fs/cgroup/memory/memory.limit_in_bytes',
             '/sys/fs/cgroup/memory.max'):
    try:
        print(path, open(path, 'w').write('1'))
    except OSError:
        pass
"
    );
    for level in walls() {
        assert_eq!(output(level, &code).await, "", "{level}");
        assert!(!place.exists());
    }
    assert_eq!(output(Isolation::None, &code).await, format!("{} 1\n", place.display()));
    assert!(place.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_rights_are_gone() {
    let code = "print(open('/proc/self/status').read())";
    let status = output(Isolation::Namespaces, code).await;
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(value(set), "0000000000000000", "{set}");
    }
    assert_eq!(value("NoNewPrivs"), "1");
    assert_eq!(value("Seccomp"), "2");
    assert_eq!(value("Uid"), "65534 65534 65534 65534");
    if is_root() {
        assert_eq!(value("Groups"), "");
    }
    let others = "import os
print(sorted(p for p in os.listdir('/proc') if p.isdigit()), os.listdir('/proc/1'))";
    let seen = output(Isolation::Namespaces, others).await;
    assert!(seen.starts_with("['1', '2") && seen.ends_with("] []\n"), "{seen}");
    assert_eq!(
        output(Isolation::Namespaces, "import socket; print(socket.gethostname())").await,
        "cell\n"
    );
}

/// Makes system calls by their numbers on x86-64, and prints the names of those that did not fail
/// with EPERM.
const CALLS: &str = "
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
calls = dict(
    ptrace=(101, 1, 0, 0, 0), mount=(165, 0, 0, 0, 0, 0), unshare=(272, 0), setns=(308, -1, 0),
    pivot_root=(155, 0, 0), chroot=(161, 0), bpf=(321, 99, 0, 0), userfaultfd=(323, 1),
    perf=(298, 0, 0, 0, 0, 0), keyctl=(250, 0, -3, 0), io_uring=(425, 1, 0),
    open_tree=(428, -1, 0, 0), fsopen=(430, 0, 0), process_vm_readv=(310, 1, 0, 0, 0, 0, 0),
    kcmp=(312, 1, 1, 0, 0, 0), pidfd_getfd=(438, -1, 0, 0), handle=(304, -1, 0, 0),
    clone_user=(56, 0x10000000 | 17, 0, 0, 0, 0), netlink=(41, 16, 3, 0), vsock=(41, 40, 1, 0),
    packet=(41, 17, 3, 0), pair=(53, 30, 1, 0), sti=(16, 0, 0x5412, 0), reboot=(169, 0, 0, 0),
    syslog=(103, 10, 0, 0), kexec=(246, 0, 0, 0, 0))
for name, call in calls.items():
    pid = os.getpid()
    ctypes.set_errno(0)
    result = libc.syscall(*[ctypes.c_long(n) for n in call])
    if name == 'clone_user' and result == 0: os._exit(0)
    if result != -1 or ctypes.get_errno() != 1: print(name, end=' ')
for name, number in (('clone3', 435), ('x32', 0x40000000 | 39)):
    ctypes.set_errno(0)
    if libc.syscall(ctypes.c_long(number), 0, 0) != -1 or ctypes.get_errno() != 38:
        print(name, end=' ')
";

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_arch = "x86_64")]
async fn dangerous_calls_are_denied() {
    for level in walls() {
        assert_eq!(output(level, CALLS).await, "", "{level}: these calls were let through");
    }
    let control = output(Isolation::None, CALLS).await;
    for name in [
        "ptrace",
        "unshare",
        "bpf",
        "keyctl",
        "open_tree",
        "process_vm_readv",
        "netlink",
        "pidfd_getfd",
        "clone3",
    ] {
        assert!(control.split(' ').any(|other| other == name), "{name}: {control}");
    }
}

/// The kernel of this machine may have newer calls than those that were reviewed. In a cell they do
/// not exist.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_nobody_reviewed_do_not_exist() {
    let code = format!(
        "import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
seen = set()
for number in range({first}, 1000):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), -1, -1, -1, -1, -1, -1)
    seen.add(errno.errorcode.get(ctypes.get_errno()) if result < 0 else result)
print(seen)",
        first = cellblock_driver::calls::NEWEST + 1
    );
    for level in walls() {
        assert_eq!(output(level, &code).await, "{'ENOSYS'}\n", "{level}");
    }
    // The unit tests of `inside::calls` show that it is the filter that denies them.
}

/// The calls of 32-bit programs have other numbers, which the list does not contain: a process that
/// makes one is killed.
#[tokio::test(flavor = "multi_thread")]
#[cfg(target_arch = "x86_64")]
async fn calls_of_another_architecture_kill() {
    // mov eax, 20 (getpid); int 0x80; ret
    let code = "import ctypes, mmap
m = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)
m.write(bytes([0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3]))
address = ctypes.addressof(ctypes.c_char.from_buffer(m))
print(ctypes.CFUNCTYPE(ctypes.c_int)(address)() > 0)";
    for level in walls() {
        let result = run(level, code).await;
        assert_eq!(result.outcome, Outcome::Signaled { signal: 31 }, "{level}");
    }
    let control = run(Isolation::None, code).await;
    // A kernel without these calls kills with a fault; otherwise the call succeeds.
    let expected =
        control.stdout.text() == "True\n" || control.outcome == Outcome::Signaled { signal: 11 };
    assert!(expected, "{:?} {}", control.outcome, control.stdout.text());
}

/// Starts a process of the user that programs run as.
fn victim() -> Child {
    let mut command = Command::new("sleep");
    command.arg("600");
    if is_root() {
        command.uid(65534).gid(65534);
    }
    command.spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_of_the_host_cannot_be_touched() {
    for (level, touched) in
        [(Isolation::Namespaces, false), (Isolation::Landlock, false), (Isolation::None, true)]
    {
        let mut victim = victim();
        let pid = victim.id();
        let code = format!(
            "import os, resource
def attempt(name, act):
    try:
        act()
        print(name)
    except OSError:
        pass
attempt('limit', lambda: resource.prlimit({pid}, resource.RLIMIT_NOFILE, (9, 9)))
attempt('priority', lambda: os.setpriority(os.PRIO_PROCESS, {pid}, 10))
attempt('all', lambda: os.setpriority(os.PRIO_USER, 0, 10) if {is_denied} else None)
attempt('affinity', lambda: os.sched_setaffinity({pid}, [0]))
attempt('signal', lambda: os.kill({pid}, 15))",
            is_denied = if level == Isolation::None { "False" } else { "True" }
        );
        let seen = output(level, &code).await;
        std::thread::sleep(std::time::Duration::from_millis(100));
        let ended = victim.try_wait().unwrap().is_some();
        let _ = victim.kill();
        victim.wait().unwrap();
        assert_eq!(ended, touched, "{level}");
        if touched {
            assert_eq!(seen, "limit\npriority\nall\naffinity\nsignal\n");
        } else {
            assert!(
                !["limit", "priority", "affinity", "signal"].iter().any(|name| seen.contains(name)),
                "{level}: {seen}"
            );
        }
    }
}

/// All places that programs can write to are one file system with one quota.
#[tokio::test(flavor = "multi_thread")]
async fn one_quota_covers_all_places() {
    let limits = Limits { disk: 3 << 20, ..Limits::default() };
    let spec = SessionSpec { limits, ..SessionSpec::default() };
    let code = "import errno
for path in ('/workspace/a', '/tmp/b', '/dev/shm/c'):
    with open(path, 'wb') as file: file.write(bytes(1 << 20)); file.flush(); print(path)
try:
    with open('/tmp/d', 'wb') as file: file.write(bytes(1 << 16))
except OSError as error: print(errno.errorcode[error.errno])";
    let result = run_with(at(Isolation::Namespaces), spec, code).await;
    let expected = "/workspace/a\n/tmp/b\n/dev/shm/c\nENOSPC\n";
    assert_eq!(result.stdout.text(), expected, "{}", result.stderr.text());
}

/// A virtual environment of the user can be used and not changed, wherever it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_environment_can_be_used() {
    let directory = open_directory();
    let venv = directory.path().join("venv");
    let python = LocalExecutor::start(Options::default()).await.unwrap().python().clone();
    let version = python.version_text();
    let modules = venv.join(format!("lib/python{version}/site-packages"));
    fs::create_dir_all(&modules).unwrap();
    fs::create_dir_all(venv.join("bin")).unwrap();
    fs::write(modules.join("only_there.py"), "VALUE = 42\n").unwrap();
    std::os::unix::fs::symlink(&python.program, venv.join("bin/python3")).unwrap();
    let home = python.program.parent().map(Path::to_owned).unwrap_or_else(PathBuf::new);
    fs::write(venv.join("pyvenv.cfg"), format!("home = {}\n", home.display())).unwrap();
    let code = format!(
        "import only_there
print(only_there.VALUE)
try:
    open({:?}, 'w')
except OSError:
    print('kept')",
        modules.join("new")
    );
    for level in walls() {
        let with = Options { venv: Some(venv.clone()), ..at(level) };
        let result = run_with(with, SessionSpec::default(), &code).await;
        assert_eq!(result.stdout.text(), "42\nkept\n", "{level}: {}", result.stderr.text());
        let without = run(level, &code).await;
        let error = without.stderr.text();
        assert!(error.contains("ModuleNotFoundError"), "{level}: {error}");
    }
}

/// The names and addresses of granted hosts lead to the driver, also on ports that are root's
/// elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn granted_names_are_known() {
    let rule = |host: &str, port| HostRule { host: host.to_owned(), port: Some(port) };
    let rules = vec![rule("one.example", 80), rule("two.example", 443), rule("198.51.100.7", 22)];
    let spec = SessionSpec { network: Network::Allow(rules), ..SessionSpec::default() };
    let code = "import socket
for name in ('localhost', 'one.example', 'two.example', 'three.example'):
    try: print(socket.gethostbyname(name))
    except OSError: print('unknown')
for address in (('127.77.0.1', 80), ('127.77.0.2', 443), ('198.51.100.7', 22),
                ('127.77.0.1', 81), ('198.51.100.8', 22)):
    try: socket.create_connection(address, timeout=2).close(); print('open')
    except OSError: print('closed')";
    let result = run_with(at(Isolation::Namespaces), spec, code).await;
    let expected = "127.0.0.1\n127.77.0.1\n127.77.0.2\nunknown\nopen\nopen\nopen\nclosed\nclosed\n";
    assert_eq!(result.stdout.text(), expected, "{}", result.stderr.text());
}

/// At the level `landlock`, a program cannot change the mode, the times or the length of a file
/// that belongs to its own user and lies elsewhere (these tests run as root and as an ordinary
/// user). The control: it can change its own files.
#[tokio::test]
async fn files_elsewhere_keep_their_mode_times_and_length() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let path = directory.path().join("theirs.txt");
    fs::write(&path, "content").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let before = fs::metadata(&path).unwrap();
    let code = format!(
        "import os
path = {path:?}
def attempt(act):
    try: act()
    except OSError: return 'refused'
    return 'done'
print([attempt(act) for act in (
    lambda: os.chmod(path, 0), lambda: os.utime(path, (1, 1)), lambda: os.truncate(path, 0),
    lambda: os.setxattr(path, 'user.x', b'x'))])
with open('own.txt', 'w') as f:
    n = f.write('x')
    os.fchmod(f.fileno(), 0o600)
    os.utime(f.fileno(), (1, 1))
    os.ftruncate(f.fileno(), 0)
print(oct(os.stat('own.txt').st_mode), int(os.stat('own.txt').st_mtime))"
    );
    let executor = executor(Isolation::Landlock).await;
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    let result = session.execute(ExecutionRequest::python(code)).await.unwrap();
    assert!(result.outcome.is_success(), "{result:?}");
    let shown = result.stdout.text();
    let refused = "['refused', 'refused', 'refused', 'refused']";
    assert_eq!(shown.lines().next(), Some(refused), "{shown}");
    assert!(shown.lines().nth(1).is_some_and(|line| line.starts_with("0o100600 ")), "{shown}");
    let after = fs::metadata(&path).unwrap();
    assert_eq!(
        (before.mode(), before.mtime(), before.len()),
        (after.mode(), after.mtime(), after.len())
    );
}
