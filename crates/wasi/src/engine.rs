//! The WebAssembly engine: its settings, and the ticker that makes guests yield.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use wasmtime::{Collector, Config, Engine, OptLevel};

/// The time after which a running guest yields its thread. A deadline or a cancellation takes
/// effect then.
const TICK: Duration = Duration::from_millis(2);

/// The native stack that one turn can use, in bytes: a fiber's stack, of which the guest gets all
/// but what host calls need. Python reaches its own recursion limit first.
const STACK: usize = 4 * 1024 * 1024;
const HOST_CALL_STACK: usize = 512 * 1024;

/// Returns the settings for compiling and running guests. Compiled code fits only an engine with
/// the same settings.
///
/// With `fuel`, every instruction is counted. That makes limits deterministic and code slower.
pub fn config(fuel: bool) -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        // The guest needs exceptions, and no other proposal after WebAssembly 2.
        .wasm_exceptions(true)
        .wasm_gc(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_component_model(false)
        .collector(Collector::DeferredReferenceCounting)
        // A 4 GiB reservation with a guard behind it needs no bounds checks, and the memory never
        // moves.
        .memory_reservation(1 << 32)
        .memory_may_move(false)
        // The content comes from our own mapping, which would only hide a second copy-on-write
        // image.
        .memory_init_cow(false)
        .epoch_interruption(true)
        .consume_fuel(fuel)
        .max_wasm_stack(STACK - HOST_CALL_STACK)
        .async_stack_size(STACK)
        // No code reads a guest's native backtrace. Without the tables the code file is a third
        // smaller.
        .generate_address_map(false)
        .wasm_backtrace_max_frames(None)
        .native_unwind_info(false)
        .concurrency_support(false);
    config
}

/// An engine whose running guests yield every [`TICK`].
#[derive(Debug)]
pub struct TickingEngine {
    pub engine: Engine,
    /// The number of turns that run now.
    running: AtomicUsize,
    /// True if the ticker is parked, or about to be.
    resting: AtomicBool,
    ticker: OnceLock<Thread>,
}

impl TickingEngine {
    /// Starts the engine and its ticker.
    pub fn start(config: &Config) -> wasmtime::Result<Arc<Self>> {
        let ticking = Arc::new(Self {
            engine: Engine::new(config)?,
            running: AtomicUsize::new(0),
            resting: AtomicBool::new(false),
            ticker: OnceLock::new(),
        });
        let weak = Arc::downgrade(&ticking);
        let handle =
            thread::Builder::new().name("cellblock-tick".into()).spawn(move || tick(&weak))?;
        let _ = ticking.ticker.set(handle.thread().clone());
        Ok(ticking)
    }

    /// Keeps the ticker running until the returned value is dropped.
    pub fn begin_turn(self: &Arc<Self>) -> RunningTurn {
        self.running.fetch_add(1, Ordering::SeqCst);
        if self.resting.swap(false, Ordering::SeqCst) {
            self.wake();
        }
        RunningTurn(self.clone())
    }

    fn wake(&self) {
        if let Some(ticker) = self.ticker.get() {
            ticker.unpark();
        }
    }
}

impl Drop for TickingEngine {
    fn drop(&mut self) {
        self.wake();
    }
}

/// A turn that runs.
pub struct RunningTurn(Arc<TickingEngine>);

impl Drop for RunningTurn {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Advances the epoch while turns run. After a second without turns the ticker parks, so that an
/// idle process does not wake up; a busy one does not pay for waking the ticker at every turn.
fn tick(ticking: &Weak<TickingEngine>) {
    const REST_AFTER: u32 = 500;
    let mut idle = 0;
    loop {
        thread::sleep(TICK);
        let Some(ticking) = ticking.upgrade() else { return };
        if ticking.running.load(Ordering::SeqCst) > 0 {
            ticking.engine.increment_epoch();
            idle = 0;
            continue;
        }
        idle += 1;
        if idle < REST_AFTER {
            continue;
        }
        idle = 0;
        ticking.resting.store(true, Ordering::SeqCst);
        // A turn that started since the last check sees `resting` or is seen here.
        if ticking.running.load(Ordering::SeqCst) == 0 {
            drop(ticking);
            thread::park();
        }
    }
}
