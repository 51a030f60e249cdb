//! Tests of attacks on limits that are watched: room on the disk and memory that neither a walk
//! through the workspace nor the size of processes shows. Each has its control.

use cellblock_exec::{
    Error, ExecutionResult, Executor, Isolation, Limit, Limits, Outcome, SessionSpec,
};

use super::cells::{RAW, at, executor, is_contained, is_root, levels, run, run_with, walls};

fn limited(limit: Limit) -> Outcome {
    Outcome::LimitExceeded { limit }
}

/// Runs a block at the level `landlock`, with 16 MiB of disk.
async fn with_small_disk(code: &str) -> ExecutionResult {
    let limits = Limits { disk: 16 << 20, ..Limits::default() };
    let spec = SessionSpec { limits, ..SessionSpec::default() };
    run_with(at(Isolation::Landlock), spec, code).await
}

#[tokio::test]
async fn nothing_can_be_made_beside_the_workspace() {
    let beside = format!("{RAW}\nprint(attempt(lambda: os.makedirs('../hidden')))");
    assert_eq!(with_small_disk(&beside).await.stdout.text(), "EACCES\n");
    let inside = beside.replace("../hidden", "shown");
    assert_eq!(with_small_disk(&inside).await.stdout.text(), "done\n", "the control");
}

/// Files can be made in a directory that cannot be listed.
#[tokio::test]
async fn files_in_closed_directories_count() {
    let blind = "import os, time
os.mkdir('blind', MODE)
for number in range(COUNT):
    with open(f'blind/{number}', 'wb') as file: file.write(bytes(1 << 20))
time.sleep(SLEEP)";
    let blind = blind.replace("SLEEP", "20").replace("COUNT", "40");
    let result = with_small_disk(&blind.replace("MODE", "0o300")).await;
    assert_eq!(result.outcome, limited(Limit::Disk));
    let few = blind.replace("(20)", "(0.3)").replace("(40)", "(4)").replace("MODE", "0o700");
    assert!(with_small_disk(&few).await.outcome.is_success(), "the control");

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
        assert_eq!(with_small_disk(&closed).await.outcome, limited(Limit::Disk), "{mode}");
    }
}

/// A program that writes 40 MiB to removed files, which stay open.
const HELD: &str = "import os, time
for number in range(40):
    file = os.open('f', os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.unlink('f')
    os.write(file, bytes(1 << 20))
time.sleep(20)";

#[tokio::test]
async fn removed_files_that_are_open_count() {
    assert_eq!(with_small_disk(HELD).await.outcome, limited(Limit::Disk));
    let few = HELD.replace("range(40)", "range(4)").replace("sleep(20)", "sleep(0.5)");
    assert!(with_small_disk(&few).await.outcome.is_success(), "the control");
}

/// The kernel reports no names of such a length. The overlay of a container may not allow them.
#[tokio::test]
async fn removed_files_with_long_names_count() {
    let long = "import os
os.makedirs('/'.join(['d' * 250] * 15))
os.chdir('/'.join(['d' * 250] * 15))\n";
    let long = format!("{long}{}", HELD.replace("'f'", "'f' * 250"));
    let result = with_small_disk(&long).await;
    if !result.stderr.text().contains("File name too long") {
        assert_eq!(result.outcome, limited(Limit::Disk), "{result:?}");
        let few = long.replace("range(40)", "range(4)").replace("sleep(20)", "sleep(0.5)");
        assert!(with_small_disk(&few).await.outcome.is_success(), "the control");
    }
}

#[tokio::test]
async fn removed_files_that_are_mapped_count() {
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
    assert_eq!(with_small_disk(mapped).await.outcome, limited(Limit::Disk));
    let few = mapped.replace("range(40)", "range(4)").replace("sleep(20)", "sleep(0.5)");
    let few = few.replace("    os.close(file)\n", "");
    assert!(with_small_disk(&few).await.outcome.is_success(), "the control");
}

/// A removed file could be in transit between two sockets.
#[tokio::test]
async fn files_cannot_travel_through_sockets() {
    let in_flight = format!(
        "{RAW}
import socket
one, other = socket.socketpair()
file = os.open('f', os.O_RDWR | os.O_CREAT)
print(attempt(lambda: socket.send_fds(one, [b'x'], [file])), one.send(b'plain'))"
    );
    assert_eq!(with_small_disk(&in_flight).await.stdout.text(), "EPERM 5\n");
}

/// Nobody can look into a process whose program can be run but not read.
#[tokio::test]
async fn removed_files_of_hidden_processes_count() {
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
    let unreadable = with_small_disk(&hidden.replace("MODE", "0o111")).await;
    if is_root() && !is_contained() {
        // Root can look into every process, but not in a container.
        assert_eq!(unreadable.stdout.text(), "ran\n", "{}", unreadable.stderr.text());
    } else {
        // Its sockets cannot be seen either, and they count as memory where that is watched.
        let executor = executor(Isolation::Landlock).await;
        let watched = executor.capabilities().watched.contains(&Limit::Memory);
        let limit = if watched { Limit::Memory } else { Limit::Disk };
        assert_eq!(unreadable.outcome, limited(limit), "{}", unreadable.stderr.text());
    }
    let readable = with_small_disk(&hidden.replace("MODE", "0o555")).await;
    assert_eq!(readable.stdout.text(), "ran\n", "{}", readable.stderr.text());
}

/// Runs a block with 256 MiB of memory.
async fn with_small_memory(level: Isolation, code: &str) -> ExecutionResult {
    let limits = Limits { memory: 256 << 20, ..Limits::default() };
    let spec = SessionSpec { limits, ..SessionSpec::default() };
    run_with(at(level), spec, code).await
}

/// True if memory is watched at this level, and not counted by a control group.
async fn is_memory_watched(level: Isolation) -> bool {
    executor(level).await.capabilities().watched.contains(&Limit::Memory)
}

#[tokio::test]
async fn shared_memory_without_a_file_is_denied_or_counts() {
    for level in walls() {
        let shared = format!(
            "{RAW}
import mmap, time
def returned():
    size, step = 3 << 30, 16 << 20
    memory = mmap.mmap(-1, size)
    for at in range(0, size, step):
        memory[at:at + step] = bytes(step)
        memory.madvise(mmap.MADV_DONTNEED, at, step)
print(attempt(returned))
def zeroes():
    file = os.open('/dev/zero', os.O_RDWR)
print(attempt(zeroes), len(open('/dev/zero', 'rb').read(10)))"
        );
        let result = with_small_memory(level, &shared).await;
        if is_memory_watched(level).await {
            let seen = result.stdout.text();
            assert_eq!(seen, "EPERM\nEACCES 10\n", "{level}: {}", result.stderr.text());
        } else {
            assert_eq!(result.outcome, limited(Limit::Memory), "{level}");
        }
    }
}

#[tokio::test]
async fn data_in_sockets_counts() {
    for level in walls() {
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
        let result = with_small_memory(level, &many).await;
        assert_eq!(result.outcome, limited(Limit::Memory), "{level}: {:?}", result.stderr.text());
        let few = sockets.replace("COUNT", "2").replace("SLEEP", "0.3");
        let result = with_small_memory(level, &few).await;
        assert_eq!(result.stdout.text(), "made\n", "{level}: {result:?}");
    }
}

/// Pages that wait in pipes belong to no process. Programs fall back to copies.
#[tokio::test]
async fn pages_cannot_be_lent_to_pipes() {
    for level in walls() {
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
        let watched = is_memory_watched(level).await;
        let result = with_small_memory(level, &pipes).await;
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
