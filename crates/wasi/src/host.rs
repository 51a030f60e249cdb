//! The host's side of an instance: its files, the input and output of its turn, its limits, and
//! checked access to its memory.

use std::sync::Arc;

use cellblock_exec::{
    Capture, Limit, OutputSink, Stream,
    python::{HostCalls, MAX_MESSAGE_BYTES},
};
use serde::Deserialize;
use wasmtime::{Caller, Memory, ResourceLimiter};
use wasmtime_wasi::{WasiCtxBuilder, p1::WasiP1Ctx};

use crate::fs::{Errno, Fs};

/// The import module of WASI preview 1.
pub const WASI_P1: &str = "wasi_snapshot_preview1";

/// The host's state of one instance.
pub struct Host {
    pub wasi: WasiP1Ctx,
    /// The guest's memory, once it is instantiated.
    pub memory: Option<Memory>,
    pub fs: Fs,
    pub turn: TurnState,
    /// The maximum size of the guest's memory, in bytes.
    pub memory_limit: u64,
    /// True if the memory limit has stopped a growth since the last reset.
    pub memory_denied: bool,
}

impl Host {
    pub fn new() -> Self {
        Self {
            wasi: WasiCtxBuilder::new().build_p1(),
            memory: None,
            fs: Fs::default(),
            turn: TurnState::default(),
            memory_limit: u64::MAX,
            memory_denied: false,
        }
    }

    /// Takes the limit that a failing program exceeded, if any.
    pub fn take_limit_hit(&mut self) -> Option<Limit> {
        let memory = std::mem::take(&mut self.memory_denied).then_some(Limit::Memory);
        self.fs.hit.take().or(memory)
    }
}

impl ResourceLimiter for Host {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed =
            desired as u64 <= self.memory_limit && maximum.is_none_or(|maximum| desired <= maximum);
        self.memory_denied |= !allowed;
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // No guest's code can grow a table (`images::strip` refuses it): this is the initial size.
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }
}

/// The input and output of one turn.
#[derive(Default)]
pub struct TurnState {
    pub stdin: Arc<Vec<u8>>,
    pub stdin_at: usize,
    pub stdout: Capture,
    pub stderr: Capture,
    pub sink: Option<OutputSink>,
    /// The block for the driver in the guest: its name, a line end, and the source.
    pub request: Vec<u8>,
    pub request_at: usize,
    /// The functions that the program may call on the host; `None` for none.
    pub calls: Option<Arc<HostCalls>>,
    /// The program's question to the host, until the program reads the answer.
    pub question: Option<Vec<u8>>,
    /// The answer, and the number of bytes that the program has read of it.
    pub answer: Vec<u8>,
    pub answer_at: usize,
    /// The addresses of objects to make immortal. `Some` only while an image is made.
    pub immortals: Option<Vec<u8>>,
    /// The guest's own report of how the turn ended.
    pub status: Option<TurnStatus>,
}

/// The report of the driver in the guest on how a turn ended. A guest can lie about its own exit
/// code, but gains nothing by it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TurnStatus {
    /// The exit code.
    pub code: i32,
    /// The type of the exception that ended the program.
    #[serde(default)]
    pub exception: Option<String>,
}

impl TurnState {
    pub fn read_stdin(&mut self, buffer: &mut [u8]) -> usize {
        let count = copy_rest(&self.stdin, self.stdin_at, buffer);
        self.stdin_at += count;
        count
    }

    /// Reads from the control device: first the block, then the host's answers.
    pub fn read_control(&mut self, buffer: &mut [u8]) -> usize {
        if self.request_at < self.request.len() {
            let count = copy_rest(&self.request, self.request_at, buffer);
            self.request_at += count;
            return count;
        }
        let count = copy_rest(&self.answer, self.answer_at, buffer);
        self.answer_at += count;
        count
    }

    /// Sets the answer that the program reads, in place of an earlier one.
    pub fn set_answer(&mut self, answer: Vec<u8>) {
        self.answer = answer;
        self.answer_at = 0;
    }

    pub fn write_stdout(&mut self, bytes: &[u8]) {
        deliver(&self.sink, Stream::Stdout, bytes, self.stdout.room());
        self.stdout.push(bytes);
    }

    pub fn write_stderr(&mut self, bytes: &[u8]) {
        deliver(&self.sink, Stream::Stderr, bytes, self.stderr.room());
        self.stderr.push(bytes);
    }

    pub fn is_flood(&self) -> bool {
        self.stdout.is_flood() || self.stderr.is_flood()
    }

    /// Takes a message of the driver: a JSON object is its status, anything else a question to the
    /// host. An invalid status is ignored; the turn's own return value then counts.
    pub fn write_control(&mut self, message: &[u8]) {
        const MAX_STATUS: usize = 1024;
        if let Some(immortals) = &mut self.immortals {
            immortals.extend_from_slice(message);
        } else if message.first() == Some(&b'{') {
            if message.len() <= MAX_STATUS {
                self.status = serde_json::from_slice(message).ok();
            }
        } else {
            // One question at a time: a new one replaces the one before and its answer. Of a
            // question that is too long, and so refused, only the bytes that show this are kept;
            // without a grant, only the first byte, which says what kind of question to refuse.
            let max = if self.calls.is_some() { MAX_MESSAGE_BYTES + 1 } else { 1 };
            self.question = Some(message[..message.len().min(max)].to_vec());
            self.set_answer(Vec::new());
        }
    }
}

fn copy_rest(source: &[u8], from: usize, buffer: &mut [u8]) -> usize {
    let rest = source.get(from..).unwrap_or_default();
    let count = rest.len().min(buffer.len());
    buffer[..count].copy_from_slice(&rest[..count]);
    count
}

/// Passes output to the sink while it arrives, up to the output limit.
fn deliver(sink: &Option<OutputSink>, stream: Stream, bytes: &[u8], room: usize) {
    if let (Some(sink), 1..) = (sink, room) {
        sink(stream, &bytes[..bytes.len().min(room)]);
    }
}

/// The error by which the host stops a guest that prints without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the program writes without end")]
pub struct OutputFlood;

/// The guest's memory, with checked access.
pub struct GuestMemory<'m>(pub &'m mut [u8]);

impl GuestMemory<'_> {
    pub fn slice(&self, pointer: u32, len: u32) -> Result<&[u8], Errno> {
        self.0.get(pointer as usize..).and_then(|rest| rest.get(..len as usize)).ok_or(Errno::Fault)
    }

    pub fn slice_mut(&mut self, pointer: u32, len: u32) -> Result<&mut [u8], Errno> {
        self.0
            .get_mut(pointer as usize..)
            .and_then(|rest| rest.get_mut(..len as usize))
            .ok_or(Errno::Fault)
    }

    pub fn write(&mut self, pointer: u32, bytes: &[u8]) -> Result<(), Errno> {
        self.slice_mut(pointer, bytes.len() as u32)?.copy_from_slice(bytes);
        Ok(())
    }

    pub fn read_u32(&self, pointer: u32) -> Result<u32, Errno> {
        let bytes = self.slice(pointer, 4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub fn read_u64(&self, pointer: u32) -> Result<u64, Errno> {
        let high = self.read_u32(pointer.checked_add(4).ok_or(Errno::Fault)?)?;
        Ok(u64::from(high) << 32 | u64::from(self.read_u32(pointer)?))
    }

    /// Sets the reference count of the objects at `addresses` (little-endian, 32 bits each) to that
    /// of the first one, which is immortal. On 32-bit CPython the count is the first word of an
    /// object.
    pub fn immortalize(&mut self, addresses: &[u8]) -> Result<(), Errno> {
        let (addresses, _) = addresses.as_chunks::<4>();
        let mut addresses = addresses.iter().map(|address| u32::from_le_bytes(*address));
        let model = self.read_u32(addresses.next().ok_or(Errno::Inval)?)?;
        addresses.try_for_each(|address| self.write(address, &model.to_le_bytes()))
    }
}

/// Runs `call` with the guest's memory; returns its result as an error number for the guest.
pub fn guest_call(
    caller: &mut Caller<'_, Host>,
    call: impl FnOnce(&mut Host, &mut GuestMemory<'_>) -> Result<(), Errno>,
) -> i32 {
    let Some(memory) = caller.data().memory else { return Errno::Fault as i32 };
    let (bytes, host) = memory.data_and_store_mut(caller);
    match call(host, &mut GuestMemory(bytes)) {
        Ok(()) => Errno::Success as i32,
        Err(errno) => errno as i32,
    }
}
