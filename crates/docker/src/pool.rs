//! Idle containers, so that opening a session does not pay for a start.
//!
//! A container is made for one kind of session: its image, its limits and its grants are part of
//! it. So the pool holds containers of the kind that was requested last, with the driver up, and
//! makes the next one when one is taken.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::Duration,
};

use cellblock_driver::{Driver, Relays};
use cellblock_exec::{Limits, Result};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::{
    cell::DockerCell, engine::Engine, flags::ContainerSpec, keeper::ContainerState,
    options::Options, session_image::SessionImage,
};

/// The pause between taking a container and making the next one, so that the two do not compete.
const PAUSE: Duration = Duration::from_millis(50);

/// The kind of a session: everything that its container depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionKind {
    pub image: Arc<SessionImage>,
    limits: Limits,
    relays: Relays,
}

impl SessionKind {
    pub fn new(image: Arc<SessionImage>, limits: &Limits, relays: Relays) -> Self {
        // These two are enforced from outside; a container fits all their values.
        let Limits { wall, output, .. } = Limits::default();
        Self { image, limits: Limits { wall, output, ..limits.clone() }, relays }
    }
}

/// A cell and its driver.
pub type ReadyCell = (DockerCell, Driver);

/// The idle containers of an executor. They end with it.
#[derive(Debug)]
pub struct Pool {
    engine: Arc<Engine>,
    options: Arc<Options>,
    state: Mutex<PoolState>,
}

#[derive(Debug, Default)]
struct PoolState {
    /// The kind that is kept ready.
    kind: Option<SessionKind>,
    idle: Vec<ReadyCell>,
    /// The number of cells of this kind that are being made in the background.
    making: usize,
    /// The callers that wait for one of them.
    waiting: VecDeque<oneshot::Sender<ReadyCell>>,
    /// True if the last one could not be made. Until one succeeds, no other is tried in the
    /// background.
    failed: bool,
    /// True if the executor has ended.
    closed: bool,
}

impl Pool {
    pub fn new(engine: Arc<Engine>, options: Arc<Options>) -> Arc<Self> {
        Arc::new(Self { engine, options, state: Mutex::default() })
    }

    /// Returns a cell of this kind: an idle one, or else a new one. From now on cells of this kind
    /// are kept ready.
    pub async fn take(self: &Arc<Self>, kind: &SessionKind) -> Result<ReadyCell> {
        let waiting = {
            let mut state = self.state.lock();
            state.switch_to(kind);
            if let Some(ready) = state.idle.pop() {
                drop(state);
                self.fill(PAUSE);
                return Ok(ready);
            }
            // A cell that is being made is ready sooner than one that begins now.
            (state.making > state.waiting.len()).then(|| {
                let (sender, receiver) = oneshot::channel();
                state.waiting.push_back(sender);
                receiver
            })
        };
        if let Some(waiting) = waiting
            && let Ok(ready) = waiting.await
        {
            self.fill(PAUSE);
            return Ok(ready);
        }
        let ready = make(&self.engine, &self.options, kind).await?;
        self.state.lock().failed = false;
        self.fill(PAUSE);
        Ok(ready)
    }

    /// Keeps cells of this kind ready from now on.
    pub fn prepare(self: &Arc<Self>, kind: &SessionKind) {
        let mut state = self.state.lock();
        state.switch_to(kind);
        state.failed = false;
        drop(state);
        self.fill(Duration::ZERO);
    }

    /// Returns the languages that a cell of this kind runs. The cell in which they were found is
    /// kept for the first session.
    pub async fn languages(self: &Arc<Self>, kind: &SessionKind) -> Result<Vec<String>> {
        let ready = make(&self.engine, &self.options, kind).await?;
        let languages = ready.1.languages.clone();
        let mut state = self.state.lock();
        state.switch_to(kind);
        if let Some(kept) = state.give(ready, self.options.idle) {
            tokio::spawn(replace(Arc::downgrade(self), kept));
        }
        Ok(languages)
    }

    /// Makes cells in the background until there are as many as the options say.
    fn fill(self: &Arc<Self>, pause: Duration) {
        let mut state = self.state.lock();
        let Some(kind) = state.kind.clone() else { return };
        while !state.closed && !state.failed && state.idle.len() + state.making < self.options.idle
        {
            state.making += 1;
            let (engine, options) = (self.engine.clone(), self.options.clone());
            tokio::spawn(make_one(Arc::downgrade(self), engine, options, kind.clone(), pause));
        }
    }

    /// Stops making cells, and returns the idle ones. Cells that are being made are among the idle
    /// ones once the pool is settled.
    pub fn close(&self) -> Vec<ReadyCell> {
        let mut state = self.state.lock();
        state.closed = true;
        state.waiting.clear();
        std::mem::take(&mut state.idle)
    }

    /// Returns the number of cells that are ready.
    pub fn ready(&self) -> usize {
        self.state.lock().idle.iter().filter(|(cell, _)| cell.is_alive()).count()
    }

    /// Returns true if no cell is being made.
    pub fn is_settled(&self) -> bool {
        self.state.lock().making == 0
    }
}

impl PoolState {
    /// Switches to this kind, and discards cells that have died.
    fn switch_to(&mut self, kind: &SessionKind) {
        if self.kind.as_ref() == Some(kind) {
            self.idle.retain(|(cell, _)| cell.is_alive());
            return;
        }
        // Dropping the others removes their containers.
        self.idle.clear();
        self.waiting.clear();
        self.making = 0;
        self.failed = false;
        self.kind = Some(kind.clone());
    }

    /// Handles the result of a task that has made a cell. Returns the state of a cell that is kept.
    fn made(
        &mut self,
        kind: &SessionKind,
        made: Result<ReadyCell>,
        max_idle: usize,
    ) -> Option<watch::Receiver<ContainerState>> {
        if self.kind.as_ref() != Some(kind) {
            return None;
        }
        self.making = self.making.saturating_sub(1);
        match made {
            Ok(ready) => self.give(ready, max_idle),
            Err(_) => {
                // The waiting callers try by themselves, and get the error.
                self.failed = true;
                self.waiting.clear();
                None
            }
        }
    }

    /// Gives a cell to the first waiting caller, or keeps it. Returns the state of a cell that is
    /// kept.
    fn give(
        &mut self,
        mut ready: ReadyCell,
        max_idle: usize,
    ) -> Option<watch::Receiver<ContainerState>> {
        if self.closed {
            // The caller that closes the pool takes it.
            self.idle.push(ready);
            return None;
        }
        while let Some(waiting) = self.waiting.pop_front() {
            match waiting.send(ready) {
                Ok(()) => return None,
                Err(returned) => ready = returned,
            }
        }
        if self.idle.len() >= max_idle {
            return None;
        }
        let state = ready.0.watch();
        self.idle.push(ready);
        Some(state)
    }
}

async fn make(engine: &Arc<Engine>, options: &Options, kind: &SessionKind) -> Result<ReadyCell> {
    let SessionKind { image, limits, relays } = kind;
    let spec = ContainerSpec { image: &image.id, volumes: &image.volumes, limits, relays, options };
    DockerCell::start(engine.clone(), image.clone(), &spec).await
}

/// Makes a cell in the background, and waits for its end if it is kept.
async fn make_one(
    pool: Weak<Pool>,
    engine: Arc<Engine>,
    options: Arc<Options>,
    kind: SessionKind,
    pause: Duration,
) {
    tokio::time::sleep(pause).await;
    let is_wanted = |pool: &Pool| pool.state.lock().kind.as_ref() == Some(&kind);
    if !pool.upgrade().is_some_and(|pool| is_wanted(&pool)) {
        return;
    }
    let made = make(&engine, &options, &kind).await;
    // A task must not hold the pool while it waits: the pool ends when its executor drops it.
    let kept = pool.upgrade().and_then(|pool| pool.state.lock().made(&kind, made, options.idle));
    if let Some(kept) = kept {
        replace(pool, kept).await;
    }
}

/// Replaces a cell that ends while it is idle.
async fn replace(pool: Weak<Pool>, mut state: watch::Receiver<ContainerState>) {
    // Also ready when the cell was taken and has ended with its session: then no cell is missing.
    let _ = state.wait_for(|state| state.end.is_some()).await;
    if let Some(pool) = pool.upgrade() {
        pool.state.lock().idle.retain(|(cell, _)| cell.is_alive());
        pool.fill(Duration::ZERO);
    }
}
