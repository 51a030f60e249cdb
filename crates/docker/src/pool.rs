//! Idle containers, so that opening a session does not pay for a start.
//!
//! A container is made for one kind of session: its image, its limits and its grants are part of it. So the pool holds
//! containers of the kind that was asked for last, with the driver up, and makes the next one when one is taken.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use cellblock_driver::{Driver, Relays};
use cellblock_exec::{Limits, Result};
use tokio::sync::{oneshot, watch};

use crate::{
    cell::DockerCell, container::State, engine::Engine, flags, image::Image, options::Options,
};

/// How long the making of the next one waits after one was taken, so that it does not compete with what that one is for.
const PAUSE: Duration = Duration::from_millis(50);

/// Everything that the container of a session depends on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kind {
    pub(crate) image: Arc<Image>,
    limits: Limits,
    relays: Relays,
}

impl Kind {
    pub(crate) fn new(image: Arc<Image>, limits: &Limits, relays: Relays) -> Self {
        // These two are enforced from outside; a container fits all their values.
        let Limits { wall, output, .. } = Limits::default();
        Self { image, limits: Limits { wall, output, ..limits.clone() }, relays }
    }
}

/// A cell and its driver.
pub(crate) type Ready = (DockerCell, Driver);

/// The idle containers of an executor. They end with it.
#[derive(Debug)]
pub(crate) struct Pool {
    engine: Arc<Engine>,
    options: Arc<Options>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The kind that is kept ready.
    kind: Option<Kind>,
    idle: Vec<Ready>,
    /// How many of this kind are being made in the background.
    making: usize,
    /// Those who wait for one that is being made.
    waiting: VecDeque<oneshot::Sender<Ready>>,
    /// The last one could not be made: until somebody succeeds no other is tried in the background.
    failed: bool,
    /// The executor has ended.
    closed: bool,
}

impl Pool {
    pub(crate) fn new(engine: Arc<Engine>, options: Arc<Options>) -> Arc<Self> {
        Arc::new(Self { engine, options, inner: Mutex::default() })
    }

    /// A cell of this kind: an idle one, or else a new one. From now on cells of this kind are kept ready.
    pub(crate) async fn take(self: &Arc<Self>, kind: &Kind) -> Result<Ready> {
        let waiting = {
            let mut inner = self.lock();
            inner.keep(kind);
            if let Some(ready) = inner.idle.pop() {
                drop(inner);
                self.fill(PAUSE);
                return Ok(ready);
            }
            // One that is being made is ready sooner than one that begins now.
            (inner.making > inner.waiting.len()).then(|| {
                let (sender, receiver) = oneshot::channel();
                inner.waiting.push_back(sender);
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
        self.lock().failed = false;
        self.fill(PAUSE);
        Ok(ready)
    }

    /// From now on cells of this kind are kept ready.
    pub(crate) fn prepare(self: &Arc<Self>, kind: &Kind) {
        let mut inner = self.lock();
        inner.keep(kind);
        inner.failed = false;
        drop(inner);
        self.fill(Duration::ZERO);
    }

    /// The languages that a cell of this kind runs. The cell in which they were found is kept for the first session.
    pub(crate) async fn look(self: &Arc<Self>, kind: &Kind) -> Result<Vec<String>> {
        let ready = make(&self.engine, &self.options, kind).await?;
        let languages = ready.1.languages.clone();
        let mut inner = self.lock();
        inner.keep(kind);
        if let Some(ended) = inner.give(ready, self.options.idle) {
            tokio::spawn(replace(Arc::downgrade(self), ended));
        }
        Ok(languages)
    }

    /// Makes cells in the background until there are as many as the options say.
    fn fill(self: &Arc<Self>, pause: Duration) {
        let mut inner = self.lock();
        let Some(kind) = inner.kind.clone() else { return };
        while !inner.closed && !inner.failed && inner.idle.len() + inner.making < self.options.idle
        {
            inner.making += 1;
            let (engine, options) = (self.engine.clone(), self.options.clone());
            tokio::spawn(make_one(Arc::downgrade(self), engine, options, kind.clone(), pause));
        }
    }

    /// Makes no more cells, and takes out those there are; those that are being made are in it when it is settled.
    pub(crate) fn close(&self) -> Vec<Ready> {
        let mut inner = self.lock();
        inner.closed = true;
        inner.waiting.clear();
        std::mem::take(&mut inner.idle)
    }

    /// How many cells are ready.
    pub(crate) fn ready(&self) -> usize {
        self.lock().idle.iter().filter(|(cell, _)| cell.is_alive()).count()
    }

    /// Whether none is being made.
    pub(crate) fn is_settled(&self) -> bool {
        self.lock().making == 0
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Turns to this kind, and forgets what has died.
    fn keep(&mut self, kind: &Kind) {
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

    /// Takes what a task has made. For a cell that is kept, gives what tells its end.
    fn made(
        &mut self,
        kind: &Kind,
        made: Result<Ready>,
        most: usize,
    ) -> Option<watch::Receiver<State>> {
        if self.kind.as_ref() != Some(kind) {
            return None;
        }
        self.making = self.making.saturating_sub(1);
        match made {
            Ok(ready) => self.give(ready, most),
            Err(_) => {
                // Those who wait try by themselves, and get the error.
                self.failed = true;
                self.waiting.clear();
                None
            }
        }
    }

    /// Gives a cell to the first who waits, or keeps it. For one that is kept, gives what tells its end.
    fn give(&mut self, mut ready: Ready, most: usize) -> Option<watch::Receiver<State>> {
        if self.closed {
            // It is taken out by the one who closes.
            self.idle.push(ready);
            return None;
        }
        while let Some(waiting) = self.waiting.pop_front() {
            match waiting.send(ready) {
                Ok(()) => return None,
                Err(back) => ready = back,
            }
        }
        if self.idle.len() >= most {
            return None;
        }
        let ended = ready.0.ended();
        self.idle.push(ready);
        Some(ended)
    }
}

async fn make(engine: &Arc<Engine>, options: &Options, kind: &Kind) -> Result<Ready> {
    let Kind { image, limits, relays } = kind;
    let cell = flags::Cell { image: &image.id, volumes: &image.volumes, limits, relays, options };
    DockerCell::start(engine.clone(), image.clone(), &cell).await
}

async fn make_one(
    pool: Weak<Pool>,
    engine: Arc<Engine>,
    options: Arc<Options>,
    kind: Kind,
    pause: Duration,
) {
    tokio::time::sleep(pause).await;
    let wanted = |pool: &Pool| pool.lock().kind.as_ref() == Some(&kind);
    if !pool.upgrade().is_some_and(|pool| wanted(&pool)) {
        return;
    }
    let made = make(&engine, &options, &kind).await;
    // Those who hold the pool must not be among its own tasks while they wait.
    let ended = pool.upgrade().and_then(|pool| pool.lock().made(&kind, made, options.idle));
    if let Some(ended) = ended {
        replace(pool, ended).await;
    }
}

/// Has a cell replaced that ends while it is idle.
async fn replace(pool: Weak<Pool>, mut ended: watch::Receiver<State>) {
    // Also ready when the cell was taken and ended with its session: then nothing is missing.
    let _ = ended.wait_for(|state| state.end.is_some()).await;
    if let Some(pool) = pool.upgrade() {
        pool.lock().idle.retain(|(cell, _)| cell.is_alive());
        pool.fill(Duration::ZERO);
    }
}
