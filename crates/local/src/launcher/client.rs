//! The host's side of the launcher.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cellblock_exec::{Cause, Error, Result};
use nix::sys::{
    memfd::{MFdFlags, memfd_create},
    socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair},
};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::{
    failure::Failure,
    protocol::{CellSpec, CellStart, DriverProcess, FileLimits, HostFacts, Reply, Request},
    sys::{self, entry},
};

/// The maximum time for a reply. The launcher replies within milliseconds, except on a machine
/// under load.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// The maximum time for removing files above the limits, which on a slow file system is enough for
/// a hundred thousand: the next block must not find them.
const TRIM_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum time for other work that a thread waits for, which takes the launcher a moment.
const WORK_TIMEOUT: Duration = Duration::from_millis(500);

/// A launcher and the connection to it. When this is dropped, the launcher ends, and all of its
/// cells with it.
#[derive(Debug)]
pub struct Launcher {
    socket: Arc<OwnedFd>,
    replies: Arc<Replies>,
    next_cell: AtomicU64,
    facts: HostFacts,
}

/// The replies that are awaited, shared with the thread that receives them.
#[derive(Debug, Default)]
struct Replies {
    awaited: Mutex<Awaited>,
    /// Notified when `died`, `working` or `closed` changes, for threads that wait.
    changed: Condvar,
}

/// The replies that are awaited, by the number of the cell.
#[derive(Debug, Default)]
struct Awaited {
    /// True once the launcher has ended.
    closed: bool,
    facts: Option<oneshot::Sender<HostFacts>>,
    started: HashMap<u64, oneshot::Sender<Result<DriverProcess, Failure>>>,
    /// Cells whose first process has ended; true if the cell ran out of memory.
    died: HashMap<u64, bool>,
    /// Cells in which programs are being stopped or files removed.
    working: HashSet<u64>,
    ended: HashMap<u64, oneshot::Sender<Option<Failure>>>,
}

impl Launcher {
    /// Starts a launcher, which removes the remains of earlier launchers in `temporary`.
    ///
    /// # Errors
    /// [`Error::Start`] if the program cannot be started again, or does not become a launcher.
    pub async fn start(temporary: &Path) -> Result<Self> {
        entry::keep_constructor();
        let (socket, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .map_err(|error| failed(error.into()))?;
        let child = spawn(theirs, temporary).map_err(|error| failed(error.into()))?;
        let socket = Arc::new(socket);
        let (sender, facts) = oneshot::channel();
        let replies = Arc::new(Replies::default());
        replies.awaited.lock().facts = Some(sender);
        let receiver = (socket.clone(), replies.clone());
        // A thread and not a task: sessions of one executor may live in several runtimes.
        std::thread::Builder::new()
            .name("cellblock-launcher".to_owned())
            .spawn(move || receive(&receiver.0, &receiver.1, child))
            .map_err(|error| failed(error.into()))?;
        let mut launcher =
            Self { socket, replies, next_cell: AtomicU64::new(1), facts: HostFacts::default() };
        launcher.try_send(&Request::Describe, &[])?;
        launcher.facts = match tokio::time::timeout(REPLY_TIMEOUT, facts).await {
            Ok(Ok(facts)) => facts,
            _ => {
                let why = "it does not reply; this library must be linked into the executable \
                           itself, and the process must be allowed to run its executable again";
                return Err(failed(why.into()));
            }
        };
        Ok(launcher)
    }

    /// Returns the facts that the launcher found on this machine.
    pub fn facts(&self) -> &HostFacts {
        &self.facts
    }

    /// Returns a number for a new cell.
    pub fn next_cell(&self) -> u64 {
        self.next_cell.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the name of a directory for this cell: the launcher's keeper (which `remains.rs`
    /// reads), the cell's number, and 128 random bits, so that nobody else can make it first.
    ///
    /// # Errors
    /// [`Error::Start`] when the system returns no random bits.
    pub fn cell_name(&self, cell: u64) -> Result<String> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| Error::Start {
            what: "a cell".to_owned(),
            source: io::Error::other(error.to_string()).into(),
        })?;
        let owner = self.facts.name.strip_prefix("cellblock-").unwrap_or(&self.facts.name);
        Ok(format!("cellblock-cell-{owner}-{cell}-{:032x}", u128::from_ne_bytes(random)))
    }

    /// True once the launcher has ended.
    pub fn is_closed(&self) -> bool {
        self.replies.awaited.lock().closed
    }

    /// Starts a cell whose first process gets this stream, and this pipe as its standard error.
    pub async fn start_cell(
        &self,
        start: CellStart,
        spec: &CellSpec,
        stream: OwnedFd,
        stderr: OwnedFd,
    ) -> Result<DriverProcess, Failure> {
        let broken = |reason: String| Failure::new("ask the launcher", reason);
        let text = serde_json::to_vec(spec).map_err(|error| broken(error.to_string()))?;
        let memory = memfd_create(c"cellblock-session", MFdFlags::MFD_CLOEXEC)
            .map_err(|error| broken(error.to_string()))?;
        let mut memory = File::from(memory);
        memory.write_all(&text).map_err(|error| broken(error.to_string()))?;
        let (sender, started) = oneshot::channel();
        {
            let mut awaited = self.replies.awaited.lock();
            awaited.started.insert(start.cell, sender);
            awaited.died.remove(&start.cell);
        }
        let descriptors = [memory.as_fd(), stream.as_fd(), stderr.as_fd()];
        self.try_send(&Request::Start(start), &descriptors)
            .map_err(|error| broken(error.to_string()))?;
        match tokio::time::timeout(REPLY_TIMEOUT, started).await {
            Ok(Ok(process)) => process,
            Ok(Err(_)) => Err(broken("it has ended".to_owned())),
            Err(_) => Err(broken("it does not reply".to_owned())),
        }
    }

    /// True if a cell whose first process has ended ran out of memory.
    ///
    /// The end and the launcher's report of it arrive on different ways, so this may wait a moment
    /// for the report.
    pub fn ran_out_of_memory(&self, cell: u64) -> bool {
        let mut awaited = self.replies.awaited.lock();
        let unknown = |awaited: &mut Awaited| !awaited.closed && !awaited.died.contains_key(&cell);
        self.replies.changed.wait_while_for(&mut awaited, unknown, WORK_TIMEOUT);
        awaited.died.get(&cell).copied().unwrap_or(false)
    }

    /// Kills the programs of a cell, but not its driver, and waits a moment for that: the driver
    /// must not start others before. With limits, also removes the files above them.
    pub fn stop(&self, cell: u64, limits: Option<FileLimits>) {
        let timeout = if limits.is_some() { TRIM_TIMEOUT } else { WORK_TIMEOUT };
        self.work(cell, &Request::Stop(cell, limits), timeout);
    }

    /// Removes the files of a cell above the limits, and waits a moment for that: the next block
    /// must not find them, and must not see them disappear either.
    pub fn trim(&self, cell: u64, limits: FileLimits) {
        self.work(cell, &Request::Trim(cell, limits), TRIM_TIMEOUT);
    }

    fn work(&self, cell: u64, request: &Request, timeout: Duration) {
        self.replies.awaited.lock().working.insert(cell);
        self.send(request);
        let mut awaited = self.replies.awaited.lock();
        let busy = |awaited: &mut Awaited| !awaited.closed && awaited.working.contains(&cell);
        self.replies.changed.wait_while_for(&mut awaited, busy, timeout);
    }

    /// Ends a cell. The receiver returns once nothing of the cell remains.
    pub fn end_cell(&self, cell: u64) -> oneshot::Receiver<Option<Failure>> {
        let (sender, ended) = oneshot::channel();
        let mut awaited = self.replies.awaited.lock();
        awaited.died.remove(&cell);
        if !awaited.closed {
            awaited.ended.insert(cell, sender);
        }
        drop(awaited);
        self.send(&Request::End(cell));
        ended
    }

    /// Sends a request without waiting for a reply. If the launcher has ended, its cells have, too.
    pub fn send(&self, request: &Request) {
        let _ = self.try_send(request, &[]);
    }

    fn try_send(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        let lost = |source| Error::Lost {
            what: "the launcher of local cells has ended".to_owned(),
            source,
        };
        let text = serde_json::to_vec(request).map_err(|error| lost(error.into()))?;
        sys::send(self.socket.as_fd(), &text, descriptors).map_err(|error| lost(error.into()))
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        // The receiving thread has the socket, too; closing ours would not end the connection.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
    }
}

/// Starts this program again, as the launcher.
fn spawn(socket: OwnedFd, temporary: &Path) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    // The host's environment contains secrets, so none of it is inherited, except the variable that
    // the program may need to be loaded at all.
    command.env_clear();
    if let Some(path) = std::env::var_os("LD_LIBRARY_PATH") {
        command.env("LD_LIBRARY_PATH", path);
    }
    command
        .arg0(entry::LAUNCHER.to_string_lossy().as_ref())
        .arg(temporary)
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// Passes replies to the callers that wait for them, until the launcher ends; then waits for the
/// process, so that it does not stay as a zombie.
fn receive(socket: &OwnedFd, replies: &Replies, mut child: Child) {
    while let Ok(Some((bytes, _))) = sys::receive(socket.as_fd()) {
        let Ok(reply) = serde_json::from_slice(&bytes) else { continue };
        let mut awaited = replies.awaited.lock();
        // A caller that has stopped waiting needs no reply.
        match reply {
            Reply::Facts(facts) => drop(awaited.facts.take().map(|sender| sender.send(facts))),
            Reply::Started { cell, process } => {
                drop(awaited.started.remove(&cell).map(|sender| sender.send(process)));
            }
            Reply::Died { cell, out_of_memory } => {
                awaited.died.insert(cell, out_of_memory);
                replies.changed.notify_all();
            }
            Reply::Done(cell) => {
                awaited.working.remove(&cell);
                replies.changed.notify_all();
            }
            Reply::Ended { cell, remaining } => {
                awaited.died.remove(&cell);
                awaited.working.remove(&cell);
                drop(awaited.ended.remove(&cell).map(|sender| sender.send(remaining)));
            }
        }
    }
    // Dropping the senders ends the wait of all callers.
    *replies.awaited.lock() = Awaited { closed: true, ..Awaited::default() };
    replies.changed.notify_all();
    let _ = child.wait();
}

fn failed(source: Cause) -> Error {
    Error::Start { what: "the launcher of local cells".to_owned(), source }
}
