//! The host's side of the launcher.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cellblock_exec::{Cause, Error, Result};
use nix::sys::{
    memfd::{MFdFlags, memfd_create},
    socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair},
};
use tokio::sync::oneshot;

use super::wire::{Facts, Failure, Process, Reply, Request, Room, Spec, Start};
use crate::sys;

/// How long a launcher may take to answer. It answers within milliseconds; what is waited for is a machine under load.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long is waited for files that are too many to be removed, which on a slow file system are a
/// hundred thousand: the next block must not find them.
const TRIMMING: Duration = Duration::from_secs(10);

/// How long something may hold a thread for which the launcher needs no more than a moment.
const MOMENT: Duration = Duration::from_millis(500);

/// A launcher and the connection to it. It ends when this is dropped, and all of its cells with it.
#[derive(Debug)]
pub(crate) struct Launcher {
    socket: Arc<OwnedFd>,
    waiting: Arc<Shared>,
    next: AtomicU64,
    facts: Facts,
}

/// Who waits, and what wakes those who cannot wait otherwise.
#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    news: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who waits for which answer.
#[derive(Debug, Default)]
struct Waiting {
    closed: bool,
    facts: Option<oneshot::Sender<Facts>>,
    started: HashMap<u64, oneshot::Sender<Result<Process, Failure>>>,
    /// Cells whose first process has ended; whether memory had something to do with it.
    died: HashMap<u64, bool>,
    /// Cells in which programs are being stopped or files removed.
    working: HashSet<u64>,
    ended: HashMap<u64, oneshot::Sender<Option<Failure>>>,
}

impl Launcher {
    /// Starts a launcher, which removes what earlier ones have left in `temporary`.
    pub async fn start(temporary: &Path) -> Result<Self> {
        sys::keep_entry();
        let (socket, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .map_err(|error| failed(error.into()))?;
        let child = spawn(theirs, temporary).map_err(|error| failed(error.into()))?;
        let socket = Arc::new(socket);
        let (sender, facts) = oneshot::channel();
        let waiting = Arc::new(Shared::default());
        waiting.lock().facts = Some(sender);
        let listener = (socket.clone(), waiting.clone());
        // Not a task: sessions of one executor may live in several runtimes.
        std::thread::Builder::new()
            .name("cellblock-launcher".to_owned())
            .spawn(move || listen(&listener.0, &listener.1, child))
            .map_err(|error| failed(error.into()))?;
        let mut launcher = Self { socket, waiting, next: AtomicU64::new(1), facts: Facts::none() };
        launcher.send(&Request::Describe, &[])?;
        launcher.facts = match tokio::time::timeout(PATIENCE, facts).await {
            Ok(Ok(facts)) => facts,
            _ => {
                let why = "it does not answer; the program that uses this library must be an executable that has the \
                           library in it, and started with the rights to run itself again";
                return Err(failed(why.into()));
            }
        };
        Ok(launcher)
    }

    /// What it found on this machine.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// A number for a new cell.
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The name of a directory for this cell: whose it is (`remains.rs` reads that), its number,
    /// and 128 random bits, so that nobody else can make it first.
    ///
    /// # Errors
    /// [`Error::Start`] when the system gives no random bits.
    pub fn cell_name(&self, number: u64) -> Result<String> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| Error::Start {
            what: "a cell".to_owned(),
            source: io::Error::other(error.to_string()).into(),
        })?;
        let owner = self.facts.name.strip_prefix("cellblock-").unwrap_or(&self.facts.name);
        Ok(format!("cellblock-cell-{owner}-{number}-{:032x}", u128::from_ne_bytes(random)))
    }

    /// Whether the launcher has ended.
    pub fn is_closed(&self) -> bool {
        self.waiting.lock().closed
    }

    /// Starts a cell whose first process has this stream and tells its complaints there.
    pub async fn start_cell(
        &self,
        start: Start,
        spec: &Spec,
        stream: OwnedFd,
        complaints: OwnedFd,
    ) -> Result<Process, Failure> {
        let broken =
            |reason: String| Failure { step: "ask the launcher".to_owned(), errno: 0, reason };
        let text = serde_json::to_vec(spec).map_err(|error| broken(error.to_string()))?;
        let memory = memfd_create(c"cellblock-session", MFdFlags::MFD_CLOEXEC)
            .map_err(|e| broken(e.to_string()))?;
        let mut memory = File::from(memory);
        memory.write_all(&text).map_err(|error| broken(error.to_string()))?;
        let (sender, started) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            waiting.started.insert(start.cell, sender);
            waiting.died.remove(&start.cell);
        }
        let descriptors = [memory.as_fd(), stream.as_fd(), complaints.as_fd()];
        self.send(&Request::Start(start), &descriptors)
            .map_err(|error| broken(error.to_string()))?;
        match tokio::time::timeout(PATIENCE, started).await {
            Ok(Ok(process)) => process,
            Ok(Err(_)) => Err(broken("it has ended".to_owned())),
            Err(_) => Err(broken("it does not answer".to_owned())),
        }
    }

    /// Whether a cell whose first process has ended ran out of memory. Its end and the news of it come by different ways,
    /// so this may have to wait a moment for the latter.
    pub fn ran_out_of_memory(&self, cell: u64) -> bool {
        let known = |waiting: &mut Waiting| !waiting.closed && !waiting.died.contains_key(&cell);
        let waited = self.waiting.news.wait_timeout_while(self.waiting.lock(), MOMENT, known);
        let (waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        waiting.died.get(&cell).copied().unwrap_or(false)
    }

    /// Kills the programs of a cell, but not its driver, and waits a moment for that: the driver must not start others before.
    /// If there are too many files, these are removed.
    pub fn stop(&self, cell: u64, too_much: Option<Room>) {
        let most = if too_much.is_some() { TRIMMING } else { MOMENT };
        self.work(cell, &Request::Stop(cell, too_much), most);
    }

    /// Removes files of a cell that has too many, and waits a moment for that: the next block must not find them, and must
    /// not find them vanish either.
    pub fn trim(&self, cell: u64, room: Room) {
        self.work(cell, &Request::Trim(cell, room), TRIMMING);
    }

    fn work(&self, cell: u64, request: &Request, most: Duration) {
        self.waiting.lock().working.insert(cell);
        self.tell(request);
        let busy = |waiting: &mut Waiting| !waiting.closed && waiting.working.contains(&cell);
        drop(self.waiting.news.wait_timeout_while(self.waiting.lock(), most, busy));
    }

    /// Ends a cell. What is returned tells when nothing of it is left.
    pub fn end_cell(&self, cell: u64) -> oneshot::Receiver<Option<Failure>> {
        let (sender, ended) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        waiting.died.remove(&cell);
        if !waiting.closed {
            waiting.ended.insert(cell, sender);
        }
        drop(waiting);
        self.tell(&Request::End(cell));
        ended
    }

    /// Asks for something that is not answered. A launcher that has ended has taken its cells along.
    pub fn tell(&self, request: &Request) {
        let _ = self.send(request, &[]);
    }

    fn send(&self, request: &Request, descriptors: &[std::os::fd::BorrowedFd<'_>]) -> Result<()> {
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
        // The listening thread has the socket, too; closing ours would not end the connection.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
    }
}

impl Facts {
    fn none() -> Self {
        Self {
            groups: Vec::new(),
            groups_missing: Vec::new(),
            name: String::new(),
            landlock: 0,
            lists_children: false,
        }
    }
}

/// Starts this program again, as the launcher.
fn spawn(socket: OwnedFd, temporary: &Path) -> std::io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    // Nothing of the host's environment: there are secrets in it. But the program may need this one to be loaded at all.
    command.env_clear();
    if let Some(path) = std::env::var_os("LD_LIBRARY_PATH") {
        command.env("LD_LIBRARY_PATH", path);
    }
    command
        .arg0(sys::MARKER.to_string_lossy().as_ref())
        .arg(temporary)
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// Hands answers to those who wait for them, until the launcher ends; then takes note of its end, so that it is no zombie.
fn listen(socket: &OwnedFd, shared: &Shared, mut child: Child) {
    while let Ok(Some((bytes, _))) = sys::receive(socket.as_fd()) {
        let Ok(reply) = serde_json::from_slice(&bytes) else { continue };
        let mut waiting = shared.lock();
        // Whoever does not wait any more needs no answer.
        match reply {
            Reply::Facts(facts) => drop(waiting.facts.take().map(|sender| sender.send(facts))),
            Reply::Started { cell, process } => {
                drop(waiting.started.remove(&cell).map(|sender| sender.send(process)));
            }
            Reply::Died { cell, out_of_memory } => {
                waiting.died.insert(cell, out_of_memory);
                shared.news.notify_all();
            }
            Reply::Done(cell) => {
                waiting.working.remove(&cell);
                shared.news.notify_all();
            }
            Reply::Ended { cell, left } => {
                waiting.died.remove(&cell);
                waiting.working.remove(&cell);
                drop(waiting.ended.remove(&cell).map(|sender| sender.send(left)));
            }
        }
    }
    // Dropping the senders tells all that there will be no answer.
    *shared.lock() = Waiting { closed: true, ..Waiting::default() };
    shared.news.notify_all();
    let _ = child.wait();
}

fn failed(source: Cause) -> Error {
    Error::Start { what: "the launcher of local cells".to_owned(), source }
}
