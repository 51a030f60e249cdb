//! What stands between a program and the host. Each denial has its control: the same program at the level `none`.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command},
};

use cellblock_exec::{
    ExecutionRequest, ExecutionResult, Executor, Isolation, Limits, Outcome, SessionSpec,
};
use cellblock_local::{LocalExecutor, Options};

/// The levels with walls; in a container without rights, only the one that can be had there.
pub fn walls() -> Vec<Isolation> {
    levels().into_iter().filter(|level| *level != Isolation::None).collect()
}

/// The levels that can be had where these tests run.
pub fn levels() -> Vec<Isolation> {
    let all = [Isolation::Namespaces, Isolation::Landlock, Isolation::None];
    let contained = is_contained();
    all.into_iter().filter(|level| !contained || *level != Isolation::Namespaces).collect()
}

/// Tells whether these tests run in a container without rights.
pub fn is_contained() -> bool {
    std::env::var_os("CELLBLOCK_TEST_CONTAINED").is_some()
}

pub async fn run(isolation: Isolation, code: &str) -> ExecutionResult {
    run_with(
        Options { isolation: Some(isolation), ..Options::default() },
        SessionSpec::default(),
        code,
    )
    .await
}

pub async fn run_with(options: Options, spec: SessionSpec, code: &str) -> ExecutionResult {
    let executor = LocalExecutor::start(options).await.unwrap();
    let mut session = executor.open(spec).await.unwrap();
    let result = session.execute(ExecutionRequest::python(code)).await.unwrap();
    session.close().await.unwrap();
    result
}

/// The output of a program that must succeed.
pub async fn output(isolation: Isolation, code: &str) -> String {
    let result = run(isolation, code).await;
    assert!(
        result.outcome.is_success(),
        "{isolation}: {:?} {}",
        result.outcome,
        result.stderr.text()
    );
    result.stdout.text()
}

pub fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// A directory that every user may read.
pub fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_host_cannot_be_read() {
    let directory = open_directory();
    let secret = directory.path().join("secret");
    fs::write(&secret, "the host's").unwrap();
    let code = format!(
        "for path in ({secret:?}, '/etc/passwd', '/etc/hostname', '/proc/cmdline'):\n    try:\n        \
         print(path, len(open(path).read()) > 0)\n    except OSError as error:\n        print(path, False)\n\
         import os\nfor path in ({:?}, '/home', '/root', '/var', '/run', '/etc'):\n    try:\n        print(path, os.listdir(path))\n    \
         except OSError:\n        print(path, 'closed')",
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
        "import os\nfor path in ({place:?}, '/usr/x', '/etc/x', '/x', '/packages/x', '/dev/x', '/proc/sys/kernel/hostname',\n    \
         '/sys/fs/cgroup/memory/memory.limit_in_bytes', '/sys/fs/cgroup/memory.max'):\n    try:\n        \
         print(path, open(path, 'w').write('1'))\n    except OSError:\n        pass"
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
    let others = "import os\nprint(sorted(p for p in os.listdir('/proc') if p.isdigit()), os.listdir('/proc/1'))";
    let seen = output(Isolation::Namespaces, others).await;
    assert!(seen.starts_with("['1', '2") && seen.ends_with("] []\n"), "{seen}");
    assert_eq!(
        output(Isolation::Namespaces, "import socket; print(socket.gethostname())").await,
        "cell\n"
    );
}

/// Makes system calls by their numbers on x86-64 and prints the names of those that were not answered with EPERM.
const CALLS: &str = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n\
    calls = dict(ptrace=(101, 1, 0, 0, 0), mount=(165, 0, 0, 0, 0, 0), unshare=(272, 0), setns=(308, -1, 0), pivot_root=(155, 0, 0), chroot=(161, 0),\n    \
    bpf=(321, 99, 0, 0), userfaultfd=(323, 1), perf=(298, 0, 0, 0, 0, 0), keyctl=(250, 0, -3, 0), io_uring=(425, 1, 0), open_tree=(428, -1, 0, 0),\n    \
    fsopen=(430, 0, 0), process_vm_readv=(310, 1, 0, 0, 0, 0, 0), kcmp=(312, 1, 1, 0, 0, 0), pidfd_getfd=(438, -1, 0, 0), handle=(304, -1, 0, 0),\n    \
    clone_user=(56, 0x10000000 | 17, 0, 0, 0, 0), netlink=(41, 16, 3, 0), vsock=(41, 40, 1, 0), packet=(41, 17, 3, 0), pair=(53, 30, 1, 0),\n    \
    sti=(16, 0, 0x5412, 0), reboot=(169, 0, 0, 0), syslog=(103, 10, 0, 0), kexec=(246, 0, 0, 0, 0))\n\
    for name, call in calls.items():\n    pid = os.getpid()\n    ctypes.set_errno(0)\n    result = libc.syscall(*[ctypes.c_long(n) for n in call])\n    \
    if name == 'clone_user' and result == 0: os._exit(0)\n    \
    if result != -1 or ctypes.get_errno() != 1: print(name, end=' ')\n\
    for name, number in (('clone3', 435), ('x32', 0x40000000 | 39)):\n    ctypes.set_errno(0)\n    \
    if libc.syscall(ctypes.c_long(number), 0, 0) != -1 or ctypes.get_errno() != 38: print(name, end=' ')\n";

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

/// The kernel of this machine may know more calls than the newest that was reviewed: in a cell they
/// do not exist, whatever the kernel says.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_nobody_reviewed_do_not_exist() {
    let code = format!(
        "import ctypes, errno, os\nlibc = ctypes.CDLL(None, use_errno=True)\nseen = set()\n\
         for number in range({first}, 1000):\n    ctypes.set_errno(0)\n    \
         result = libc.syscall(ctypes.c_long(number), -1, -1, -1, -1, -1, -1)\n    \
         seen.add(errno.errorcode.get(ctypes.get_errno()) if result < 0 else result)\nprint(seen)",
        first = cellblock_driver::calls::NEWEST + 1
    );
    for level in walls() {
        assert_eq!(output(level, &code).await, "{'ENOSYS'}\n", "{level}");
    }
    // The table of `inside::calls` shows that it is the filter that says so.
}

/// The calls of 32-bit programs have other numbers, which the list does not have: whoever makes one is killed.
#[tokio::test(flavor = "multi_thread")]
#[cfg(target_arch = "x86_64")]
async fn calls_of_another_architecture_kill() {
    // mov eax, 20 (getpid); int 0x80; ret
    let code = "import ctypes, mmap\nm = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)\nm.write(bytes([0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3]))\n\
                address = ctypes.addressof(ctypes.c_char.from_buffer(m))\nprint(ctypes.CFUNCTYPE(ctypes.c_int)(address)() > 0)";
    for level in walls() {
        let result = run(level, code).await;
        assert_eq!(result.outcome, Outcome::Signaled { signal: 31 }, "{level}");
    }
    let control = run(Isolation::None, code).await;
    // A kernel without them kills by a fault instead; otherwise the call succeeds.
    let expected =
        control.stdout.text() == "True\n" || control.outcome == Outcome::Signaled { signal: 11 };
    assert!(expected, "{:?} {}", control.outcome, control.stdout.text());
}

/// A process of the user that programs run as.
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
            "import os, resource\ndef attempt(name, act):\n    try:\n        act()\n        print(name)\n    except OSError:\n        pass\n\
             attempt('limit', lambda: resource.prlimit({pid}, resource.RLIMIT_NOFILE, (9, 9)))\n\
             attempt('priority', lambda: os.setpriority(os.PRIO_PROCESS, {pid}, 10))\n\
             attempt('all', lambda: os.setpriority(os.PRIO_USER, 0, 10) if {level:?} != 'None' else None)\n\
             attempt('affinity', lambda: os.sched_setaffinity({pid}, [0]))\n\
             attempt('signal', lambda: os.kill({pid}, 15))",
            level = format!("{level:?}")
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

/// All that can be written to is one file system with one quota.
#[tokio::test(flavor = "multi_thread")]
async fn one_quota_covers_all_places() {
    let limits = Limits { disk: 3 << 20, ..Limits::default() };
    let spec = SessionSpec { limits, ..SessionSpec::default() };
    let options = Options { isolation: Some(Isolation::Namespaces), ..Options::default() };
    let code = "for path in ('/workspace/a', '/tmp/b', '/dev/shm/c'):\n    \
                with open(path, 'wb') as file: file.write(bytes(1 << 20)); file.flush(); print(path)\n\
                try:\n    with open('/tmp/d', 'wb') as file: file.write(bytes(1 << 16))\n\
                except OSError as error: print(error.errno)";
    let result = run_with(options, spec, code).await;
    assert_eq!(
        result.stdout.text(),
        "/workspace/a\n/tmp/b\n/dev/shm/c\n28\n",
        "{}",
        result.stderr.text()
    );
}

/// A virtual environment of the user's is used and not changed, wherever it is.
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
        "import only_there\nprint(only_there.VALUE)\ntry:\n    open({:?}, 'w')\nexcept OSError:\n    print('kept')",
        modules.join("new")
    );
    for level in walls() {
        let with =
            Options { isolation: Some(level), venv: Some(venv.clone()), ..Options::default() };
        let result = run_with(with, SessionSpec::default(), &code).await;
        assert_eq!(result.stdout.text(), "42\nkept\n", "{level}: {}", result.stderr.text());
        let without = run(level, &code).await;
        assert!(
            without.stderr.text().contains("ModuleNotFoundError"),
            "{level}: {}",
            without.stderr.text()
        );
    }
}

/// The names and addresses of granted hosts lead to the driver, on ports that are otherwise root's too.
#[tokio::test(flavor = "multi_thread")]
async fn granted_names_are_known() {
    let rule =
        |host: &str, port| cellblock_exec::HostRule { host: host.to_owned(), port: Some(port) };
    let rules = vec![rule("one.example", 80), rule("two.example", 443), rule("198.51.100.7", 22)];
    let spec =
        SessionSpec { network: cellblock_exec::Network::Allow(rules), ..SessionSpec::default() };
    let code = "import socket\nfor name in ('localhost', 'one.example', 'two.example', 'three.example'):\n    \
                try: print(socket.gethostbyname(name))\n    except OSError: print('unknown')\n\
                for address in (('127.77.0.1', 80), ('127.77.0.2', 443), ('198.51.100.7', 22), ('127.77.0.1', 81), ('198.51.100.8', 22)):\n    \
                try: socket.create_connection(address, timeout=2).close(); print('open')\n    except OSError: print('closed')";
    let options = Options { isolation: Some(Isolation::Namespaces), ..Options::default() };
    let result = run_with(options, spec, code).await;
    let expected = "127.0.0.1\n127.77.0.1\n127.77.0.2\nunknown\nopen\nopen\nopen\nclosed\nclosed\n";
    assert_eq!(result.stdout.text(), expected, "{}", result.stderr.text());
}

/// At the level without a root of its own, a program changes neither the mode nor the times nor the length of a file of its
/// own user's that lies elsewhere (the suite runs as root and as an ordinary user). What it has open itself it may change: that is the control.
#[tokio::test]
async fn files_elsewhere_keep_their_mode_times_and_length() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let path = directory.path().join("theirs.txt");
    std::fs::write(&path, "content").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let before = std::fs::metadata(&path).unwrap();
    let code = format!(
        "import os\npath = {path:?}\ndef attempt(act):\n    try: act()\n    except OSError: return 'refused'\n    return 'done'\n\
         print([attempt(act) for act in (lambda: os.chmod(path, 0), lambda: os.utime(path, (1, 1)), lambda: os.truncate(path, 0), \
         lambda: os.setxattr(path, 'user.x', b'x'))])\n\
         with open('own.txt', 'w') as f: n = f.write('x'); os.fchmod(f.fileno(), 0o600); os.utime(f.fileno(), (1, 1)); os.ftruncate(f.fileno(), 0)\n\
         print(oct(os.stat('own.txt').st_mode), int(os.stat('own.txt').st_mtime))"
    );
    let options = cellblock_local::Options {
        isolation: Some(cellblock_exec::Isolation::Landlock),
        ..cellblock_local::Options::default()
    };
    let executor = cellblock_local::LocalExecutor::start(options).await.unwrap();
    let mut session = cellblock_exec::Executor::open(&executor, Default::default()).await.unwrap();
    let result = session.execute(cellblock_exec::ExecutionRequest::python(code)).await.unwrap();
    assert!(result.outcome.is_success(), "{result:?}");
    let shown = result.stdout.text();
    assert_eq!(
        shown.lines().next(),
        Some("['refused', 'refused', 'refused', 'refused']"),
        "{shown}"
    );
    assert!(shown.lines().nth(1).is_some_and(|line| line.starts_with("0o100600 ")), "{shown}");
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!(
        (before.mode(), before.mtime(), before.len()),
        (after.mode(), after.mtime(), after.len())
    );
}
