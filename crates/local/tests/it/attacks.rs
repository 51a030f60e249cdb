//! Tests of attacks that once succeeded, and of others like them. Each has its control: the same
//! program without isolation, or ordinary use that must continue to work.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use cellblock_exec::{
    Error, ExecutionRequest, ExecutionResult, Executor, Isolation, Language, Limit, Limits,
    Outcome, SessionSpec,
};
use cellblock_local::{LocalExecutor, Options};

use super::cells::{
    at, executor, is_contained, is_root, levels, open_directory, output, run, run_with, walls,
};

/// Functions for raw system calls by their numbers, which for new calls are the same on all
/// machines.
const RAW: &str = r#"
import ctypes, errno, os, struct
libc = ctypes.CDLL(None, use_errno=True)
def raw(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *arguments)
    return 'done' if result >= 0 else errno.errorcode[ctypes.get_errno()]
def attempt(act):
    try:
        act()
        return 'done'
    except OSError as error:
        return errno.errorcode[error.errno]
"#;

/// Makes a file outside of any cell that belongs to the user of programs.
fn file_of_the_user(directory: &Path) -> PathBuf {
    let path = directory.join("key");
    fs::write(&path, "secret").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    if is_root() {
        std::os::unix::fs::chown(&path, Some(65534), Some(65534)).unwrap();
    }
    path
}

fn limited(limit: Limit) -> Outcome {
    Outcome::LimitExceeded { limit }
}

/// Calls of Linux 6.13 and later change access lists and flags of files by a path.
#[tokio::test]
async fn new_calls_change_no_file_of_the_user() {
    let directory = open_directory();
    let key = file_of_the_user(directory.path());
    let code = format!(
        "{RAW}
path, here = {key:?}.encode(), ctypes.c_int(-100)
entries = [(1, 6, 0xffffffff), (4, 6, 0xffffffff), (32, 6, 0xffffffff)]
access = struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *entry) for entry in entries)
buffer = ctypes.create_string_buffer(access, len(access))
value = struct.pack('<QII', ctypes.addressof(buffer), len(access), 0)
value = ctypes.create_string_buffer(value, 16)
flags = ctypes.create_string_buffer(struct.pack('<Q', 0x40), 24)
none = ctypes.c_uint(0)
name = ctypes.c_char_p(b'system.posix_acl_access')
print(raw(463, here, ctypes.c_char_p(path), none, name, value, ctypes.c_size_t(16)))
print(raw(466, here, ctypes.c_char_p(path), none, name))
print(raw(469, here, ctypes.c_char_p(path), flags, ctypes.c_size_t(24), none))
"
    );
    for level in walls() {
        let seen = output(level, &code).await;
        let refused = ["ENOTSUP", "ENOENT", "ENOSYS"];
        assert!(seen.lines().all(|line| refused.contains(&line)), "{level}: {seen}");
        assert_eq!(fs::metadata(&key).unwrap().mode() & 0o7777, 0o600, "{level}");
    }
    let control = output(Isolation::None, &code).await;
    if control.starts_with("ENOSYS") {
        println!("skipped: the control needs Linux 6.13");
        return;
    }
    assert_eq!(control.lines().next(), Some("done"), "{control}");
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o7777, 0o666);
}

/// Programs get no events, attributes and leases of files that Landlock closes.
#[tokio::test]
async fn what_happens_to_files_elsewhere_is_not_told() {
    let directory = open_directory();
    let key = file_of_the_user(directory.path());
    let code = format!(
        "{RAW}
directory, path = {:?}.encode(), {key:?}
watch = libc.inotify_init()
print('events', libc.inotify_add_watch(watch, directory, 0x100) >= 0)
print('attributes', attempt(lambda: os.getxattr(path, 'user.x')),
      attempt(lambda: os.listxattr(path)))
with open('own.txt', 'w') as own:
    print('own', attempt(lambda: os.fsync(own.fileno())))
",
        directory.path()
    );
    let landlock = output(Isolation::Landlock, &code).await;
    let expected = "events False\nattributes ENOTSUP ENOTSUP\nown done\n";
    assert_eq!(landlock, expected);
    let control = output(Isolation::None, &code).await;
    assert!(control.starts_with("events True\nattributes ENODATA done\n"), "{control}");
}

/// Even with read access only, a program could change a file that belongs to its user.
#[tokio::test]
async fn a_virtual_environment_keeps_its_modes_and_times() {
    let directory = open_directory();
    let venv = directory.path().join("venv");
    let python = LocalExecutor::start(Options::default()).await.unwrap().python().clone();
    let modules = venv.join(format!("lib/python{}/site-packages", python.version_text()));
    fs::create_dir_all(&modules).unwrap();
    fs::create_dir_all(venv.join("bin")).unwrap();
    std::os::unix::fs::symlink(&python.program, venv.join("bin/python3")).unwrap();
    let home = python.program.parent().unwrap();
    fs::write(venv.join("pyvenv.cfg"), format!("home = {}\n", home.display())).unwrap();
    let module = modules.join("mine.py");
    fs::write(&module, "VALUE = 42\n").unwrap();
    let code = format!(
        "{RAW}
import fcntl, mine
print(mine.VALUE)
path = {module:?}
for where in (path, os.path.dirname(path)):
    file = os.open(where, os.O_RDONLY)
    for act in (lambda: os.fchmod(file, 0), lambda: os.utime(file, (1, 1)), lambda: os.utime(file),
                lambda: os.setxattr(file, 'user.x', b'1'), lambda: os.fchown(file, -1, os.getgid()),
                lambda: os.chmod(where, 0), lambda: os.utime(where, (1, 1)),
                lambda: fcntl.ioctl(file, 0x40086602, struct.pack('<q', 0x80)),
                lambda: fcntl.fcntl(file, 1024, fcntl.F_RDLCK)):
        print(attempt(act))
"
    );
    let marks = |path: &Path| {
        let found = fs::metadata(path).unwrap();
        (found.mode(), found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec())
    };
    let before = (marks(&module), marks(&modules));
    for level in walls() {
        let options = Options { venv: Some(venv.clone()), ..at(level) };
        let result = run_with(options, SessionSpec::default(), &code).await;
        let seen = result.stdout.text();
        assert!(seen.starts_with("42\n"), "{level}: {} {seen}", result.stderr.text());
        let done = seen.lines().filter(|line| *line == "done").count();
        // If we are root, programs are `nobody`, who can do none of it: only the owner of a file
        // can take a lease.
        assert_eq!(done, 0, "{level}: {seen}");
        assert_eq!((marks(&module), marks(&modules)), before, "{level}");
    }
    if !is_root() {
        let options = Options { venv: Some(venv.clone()), ..at(Isolation::None) };
        let control = run_with(options, SessionSpec::default(), &code).await.stdout.text();
        assert!(control.contains("done"), "{control}");
        assert_ne!(marks(&modules), before.1);
        // Otherwise the directory could not be removed.
        fs::set_permissions(&modules, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Changes that a session makes to its packages do not affect later sessions. Changes to the cache
/// by other means are repaired.
#[tokio::test]
async fn packages_are_not_poisoned() {
    let cache = tempfile::tempdir().unwrap();
    let attack = format!(
        "{RAW}
import humanize
for path in (humanize.__file__, os.path.dirname(humanize.__file__)):
    file = os.open(path, os.O_RDONLY)
    attempt(lambda: os.fchmod(file, 0))
    attempt(lambda: os.utime(file, (1, 1)))
print('attacked')
"
    );
    let use_it = "import humanize; print(humanize.intcomma(1234567))";
    let work = async |level: Isolation, environment: Option<&str>, code: &str| {
        let options = Options {
            cache: Some(cache.path().to_owned()),
            environment: environment.map(str::to_owned),
            ..at(level)
        };
        let executor = LocalExecutor::start(options).await.unwrap();
        let mut session = executor.open(SessionSpec::default()).await.unwrap();
        session.install(&["humanize".parse().unwrap()]).await.unwrap();
        let result = session.execute(ExecutionRequest::python(code)).await.unwrap();
        session.close().await.unwrap();
        (result.stdout.text(), result.stderr.text())
    };
    for level in walls() {
        assert_eq!(work(level, None, &attack).await.0, "attacked\n", "{level}");
        for later in walls() {
            let (seen, error) = work(later, None, use_it).await;
            assert_eq!(seen, "1,234,567\n", "{later} after {level}: {error}");
        }
    }
    // Other means: a program at the level `none`, or a person.
    let objects = fs::read_dir(cache.path().join("objects")).unwrap().flatten();
    let module = objects.map(|object| object.path().join("humanize/__init__.py"));
    let module = module.into_iter().find(|path| path.exists()).unwrap();
    fs::set_permissions(&module, fs::Permissions::from_mode(0o0)).unwrap();
    let (seen, error) = work(Isolation::Landlock, None, use_it).await;
    assert_eq!(seen, "1,234,567\n", "{error}");
    assert_eq!(fs::metadata(&module).unwrap().mode() & 0o7777, 0o444);
    assert_eq!(work(Isolation::Landlock, Some("kept"), &attack).await.0, "attacked\n");
    assert_eq!(work(Isolation::Namespaces, Some("kept"), use_it).await.0, "1,234,567\n");
}

/// Programs cannot use disk space that a walk through the workspace does not find.
#[tokio::test]
async fn the_limit_on_disk_cannot_be_evaded() {
    let limits = Limits { disk: 16 << 20, ..Limits::default() };
    let spec = || SessionSpec { limits: limits.clone(), ..SessionSpec::default() };
    let at_landlock = async |code: &str| run_with(at(Isolation::Landlock), spec(), code).await;

    let beside = format!("{RAW}\nprint(attempt(lambda: os.makedirs('../hidden')))");
    assert_eq!(at_landlock(&beside).await.stdout.text(), "EACCES\n");

    // A directory in which files can be made, but not listed.
    let blind = "import os, time
os.mkdir('blind', MODE)
for number in range(COUNT):
    with open(f'blind/{number}', 'wb') as file: file.write(bytes(1 << 20))
time.sleep(SLEEP)";
    let blind = blind.replace("SLEEP", "20").replace("COUNT", "40");
    let result = at_landlock(&blind.replace("MODE", "0o300")).await;
    assert_eq!(result.outcome, limited(Limit::Disk));
    let few = blind.replace("(20)", "(0.3)").replace("(40)", "(4)").replace("MODE", "0o700");
    assert!(at_landlock(&few).await.outcome.is_success(), "the control");

    // Removed files that are in transit over a pair of sockets.
    let in_flight = format!(
        "{RAW}
import socket
one, other = socket.socketpair()
file = os.open('f', os.O_RDWR | os.O_CREAT)
print(attempt(lambda: socket.send_fds(one, [b'x'], [file])), one.send(b'plain'))"
    );
    assert_eq!(at_landlock(&in_flight).await.stdout.text(), "EPERM 5\n");

    // Removed files that are open: the walk through descriptors finds them.
    let held = "import os, time
for number in range(40):
    file = os.open('f', os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.unlink('f')
    os.write(file, bytes(1 << 20))
time.sleep(20)";
    assert_eq!(at_landlock(held).await.outcome, limited(Limit::Disk));
    let few = held.replace("range(40)", "range(4)").replace("sleep(20)", "sleep(0.5)");
    assert!(at_landlock(&few).await.outcome.is_success(), "the control");

    // Removed files with names that are longer than the kernel reports. The overlay of a container
    // may not allow such names.
    let long = "import os
os.makedirs('/'.join(['d' * 250] * 15))
os.chdir('/'.join(['d' * 250] * 15))\n";
    let long = format!("{long}{}", held.replace("'f'", "'f' * 250"));
    let result = at_landlock(&long).await;
    if !result.stderr.text().contains("File name too long") {
        assert_eq!(result.outcome, limited(Limit::Disk), "{result:?}");
        let few = long.replace("range(40)", "range(4)").replace("sleep(20)", "sleep(0.5)");
        assert!(at_landlock(&few).await.outcome.is_success(), "the control");
    }

    // Removed files that are closed, but mapped.
    let mapped = "import ctypes, os, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
for number in range(40):
    file = os.open('f', os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.write(file, bytes(1 << 20))
    libc.mmap(None, ctypes.c_size_t(4096), 1, 1, file, ctypes.c_long(0))
    os.unlink('f')
    os.close(file)
time.sleep(20)";
    assert_eq!(at_landlock(mapped).await.outcome, limited(Limit::Disk));
    let few = mapped.replace("range(40)", "range(4)").replace("sleep(20)", "sleep(0.5)");
    let few = few.replace("    os.close(file)\n", "");
    assert!(at_landlock(&few).await.outcome.is_success(), "the control");

    // Directories that were closed after files in them had been opened.
    for mode in ["0o000", "0o100", "0o200", "0o300", "0o400"] {
        let closed = format!(
            "import os, time
os.mkdir('closed')
directory = os.open('closed', os.O_RDONLY)
files = [os.open(f'closed/{{number}}', os.O_WRONLY | os.O_CREAT) for number in range(40)]
os.fchmod(directory, {mode})
for file in files: os.write(file, bytes(1 << 20))
time.sleep(20)"
        );
        assert_eq!(at_landlock(&closed).await.outcome, limited(Limit::Disk), "{mode}");
    }

    // Removed files of a process that nobody can look into: its program can be run but not read.
    let hidden = "import os, subprocess, time
program = open('/bin/sleep', 'rb').read()
tool = os.open('tool', os.O_WRONLY | os.O_CREAT, MODE)
os.write(tool, program)
os.close(tool)
files = []
for number in range(4):
    file = os.open('f', os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.unlink('f')
    os.write(file, bytes(1 << 20))
    files.append(file)
subprocess.run(['./tool', '1'], pass_fds=files, check=True)
print('ran')";
    let unreadable = at_landlock(&hidden.replace("MODE", "0o111")).await;
    if is_root() && !is_contained() {
        // Root can look into every process, but not in a container.
        assert_eq!(unreadable.stdout.text(), "ran\n", "{}", unreadable.stderr.text());
    } else {
        // Its sockets cannot be seen either, and they count as memory where that is watched.
        let executor = LocalExecutor::start(at(Isolation::Landlock)).await.unwrap();
        let watched = executor.capabilities().watched.contains(&Limit::Memory);
        let limit = if watched { Limit::Memory } else { Limit::Disk };
        assert_eq!(unreadable.outcome, limited(limit), "{}", unreadable.stderr.text());
    }
    let readable = at_landlock(&hidden.replace("MODE", "0o555")).await;
    assert_eq!(readable.stdout.text(), "ran\n", "{}", readable.stderr.text());
}

/// Memory that is in no process: where it is watched it cannot be had, or is counted.
#[tokio::test]
async fn memory_that_no_process_has_counts() {
    let limits = Limits { memory: 256 << 20, ..Limits::default() };
    for level in walls() {
        let executor = executor(level).await;
        let watched = executor.capabilities().watched.contains(&Limit::Memory);
        drop(executor);
        let spec = || SessionSpec { limits: limits.clone(), ..SessionSpec::default() };
        let shared = format!(
            "{RAW}
import mmap, time
def given_back():
    size, step = 3 << 30, 16 << 20
    memory = mmap.mmap(-1, size)
    for at in range(0, size, step):
        memory[at:at + step] = bytes(step)
        memory.madvise(mmap.MADV_DONTNEED, at, step)
print(attempt(given_back))
def zeroes():
    file = os.open('/dev/zero', os.O_RDWR)
print(attempt(zeroes), len(open('/dev/zero', 'rb').read(10)))"
        );
        let result = run_with(at(level), spec(), &shared).await;
        if watched {
            let seen = result.stdout.text();
            assert_eq!(seen, "EPERM\nEACCES 10\n", "{level}: {}", result.stderr.text());
        } else {
            assert_eq!(result.outcome, limited(Limit::Memory), "{level}");
        }
        let sockets = "import socket
pairs = []
for number in range(COUNT):
    for end in socket.socketpair():
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        end.setblocking(False)
        try:
            while True: end.send(bytes(65536))
        except BlockingIOError: pass
        pairs.append(end)
import time; time.sleep(SLEEP)
print('made')";
        let many = sockets.replace("COUNT", "1800").replace("SLEEP", "20");
        let result = run_with(at(level), spec(), &many).await;
        assert_eq!(result.outcome, limited(Limit::Memory), "{level}: {:?}", result.stderr.text());
        let few = sockets.replace("COUNT", "2").replace("SLEEP", "0.3");
        let result = run_with(at(level), spec(), &few).await;
        assert_eq!(result.stdout.text(), "made\n", "{level}: {result:?}");

        // Pages that wait in pipes, and the copies that programs fall back to.
        let pipes = format!(
            "{RAW}
import shutil
one, other = os.pipe()
open('file', 'wb').write(bytes(100))
source = os.open('file', os.O_RDONLY)
print(attempt(lambda: os.sendfile(other, source, 0, 10)),
      attempt(lambda: os.splice(source, other, 10)) if hasattr(os, 'splice') else 'no such call')
shutil.copyfile('file', 'copy')
print(os.path.getsize('copy'))"
        );
        let result = run_with(at(level), spec(), &pipes).await;
        let seen = result.stdout.text();
        assert!(seen.ends_with("\n100\n"), "{level}: {}", result.stderr.text());
        assert_eq!(seen.contains("ENOSYS"), watched, "{level}: {seen}");
        assert_eq!(seen.contains("done"), !watched, "{level}: {seen}");
    }
}

/// A caller can demand limits that are enforced, and every result tells which were only watched.
#[tokio::test]
async fn limits_that_are_only_watched_are_told_and_can_be_refused() {
    for level in levels() {
        let executor = executor(level).await;
        let watched = executor.capabilities().watched.clone();
        let files = watched.contains(&Limit::Disk) && watched.contains(&Limit::Files);
        assert_eq!(files, level != Isolation::Namespaces, "{level}: {watched:?}");
        assert!(!watched.contains(&Limit::Wall) && !watched.contains(&Limit::Output));
        let strict = SessionSpec { strict_limits: true, ..SessionSpec::default() };
        match executor.open(strict).await {
            Ok(session) => {
                assert!(watched.is_empty(), "{level}: {watched:?}");
                session.close().await.unwrap();
            }
            Err(Error::Unsupported(why)) => assert!(!watched.is_empty(), "{level}: {why}"),
            Err(error) => panic!("{level}: {error:?}"),
        }
        // A limit that is not set need not be enforced.
        let limits = Limits {
            memory: u64::MAX,
            disk: u64::MAX,
            files: u32::MAX,
            processes: u32::MAX,
            ..Limits::default()
        };
        let unlimited = SessionSpec { limits, strict_limits: true, ..SessionSpec::default() };
        executor.open(unlimited).await.unwrap().close().await.unwrap();
        let result: ExecutionResult = run(level, "print(1)").await;
        // Processor time is not limited by default.
        let told = watched.iter().filter(|limit| **limit != Limit::Cpu);
        let same = told.clone().all(|limit| result.watched.contains(limit));
        assert!(same && result.watched.len() == told.count(), "{level}: {result:?}");
    }
}

/// `multiprocessing` keeps its semaphores and shared memory in `/dev/shm`; a level that closes that
/// directory provides another.
#[tokio::test(flavor = "multi_thread")]
async fn multiprocessing_works_at_every_level() {
    let code = "import multiprocessing as mp
from multiprocessing import shared_memory
def square(x): return x * x
def add(lock, value, queue):
    for _ in range(100):
        with lock: value.value += 1
    queue.put('added')
def main():
    with mp.Pool(2) as pool: print(sum(pool.map(square, range(10))))
    lock, value, queue = mp.Lock(), mp.Value('i', 0), mp.Queue()
    children = [mp.Process(target=add, args=(lock, value, queue)) for _ in range(3)]
    for child in children: child.start()
    print([queue.get() for _ in children])
    for child in children: child.join()
    print(value.value)
    one = shared_memory.SharedMemory(create=True, size=1 << 16)
    other = shared_memory.SharedMemory(name=one.name)
    one.buf[3] = 7
    print(other.buf[3])
    other.close(); one.close(); one.unlink()
    event, semaphore = mp.Event(), mp.BoundedSemaphore(1)
    mp.Process(target=event.set).start()
    print(event.wait(20), semaphore.acquire(), semaphore.acquire(timeout=0.1))
if __name__ == '__main__': main()
";
    let expected = "285\n['added', 'added', 'added']\n300\n7\nTrue True False\n";
    for level in levels() {
        let executor = executor(level).await;
        let mut session = executor.open(SessionSpec::default()).await.unwrap();
        let request = ExecutionRequest {
            filename: Some("many.py".to_owned()),
            ..ExecutionRequest::python(code)
        };
        let result = session.execute(request).await.unwrap();
        assert_eq!(result.stdout.text(), expected, "{level}: {}", result.stderr.text());
        // The most common block of a shell: a script, run with `python`.
        let shell = ExecutionRequest::new(
            Language::BASH,
            "python many.py && python -c 'import sys; print(sys.version_info.major)'",
        );
        let result = session.execute(shell).await.unwrap();
        let seen = result.stdout.text();
        assert_eq!(seen, format!("{expected}3\n"), "{level}: {}", result.stderr.text());
        session.close().await.unwrap();
    }
}

/// If a worker closes the pipe on which it reports its end, the block ends before the limit on
/// time.
#[tokio::test]
async fn a_closed_status_pipe_is_told_at_every_level() {
    for level in levels() {
        let result = run(level, "import os\nos.closerange(3, 256)\nwhile True: pass").await;
        assert_eq!(result.outcome, Outcome::Signaled { signal: 9 }, "{level}");
        let told = result.notes.iter().any(|note| note.contains("closed the pipe"));
        assert!(told, "{level}: {result:?}");
        let control = run(level, "import os\nos._exit(3)").await;
        assert_eq!(control.outcome, Outcome::Exited { code: 3 }, "{level}");
        assert!(!control.notes.iter().any(|note| note.contains("closed the pipe")), "{level}");
    }
}
