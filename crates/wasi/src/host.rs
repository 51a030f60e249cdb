//! The host's side of an instance: its files, what its turn reads and writes, its limits, and access to its memory.

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
pub(crate) const WASI_P1: &str = "wasi_snapshot_preview1";

/// What the host keeps for one instance.
pub(crate) struct Host {
    pub(crate) wasi: WasiP1Ctx,
    /// The guest's memory, once it is instantiated.
    pub(crate) memory: Option<Memory>,
    pub(crate) fs: Fs,
    pub(crate) turn: Turn,
    /// The most that the guest's memory may grow to, in bytes.
    pub(crate) memory_limit: u64,
    /// Whether growth was denied since the caller reset it.
    pub(crate) memory_denied: bool,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self {
            wasi: WasiCtxBuilder::new().build_p1(),
            memory: None,
            fs: Fs::default(),
            turn: Turn::default(),
            memory_limit: u64::MAX,
            memory_denied: false,
        }
    }

    /// The limit that a failing program ran into, if any.
    pub(crate) fn limit_hit(&mut self) -> Option<Limit> {
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
        // No guest's code can grow a table (`images::strip` refuses it); this is the initial size.
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }
}

/// What one turn reads and writes.
#[derive(Default)]
pub(crate) struct Turn {
    pub(crate) stdin: Arc<Vec<u8>>,
    pub(crate) stdin_at: usize,
    pub(crate) stdout: Capture,
    pub(crate) stderr: Capture,
    pub(crate) sink: Option<OutputSink>,
    /// What the driver in the guest is to run: a name, a line end, and the source.
    pub(crate) request: Vec<u8>,
    pub(crate) request_at: usize,
    /// What the program may call on the host; `None` is nothing.
    pub(crate) calls: Option<Arc<HostCalls>>,
    /// What it has asked, until it reads the answer.
    pub(crate) question: Option<Vec<u8>>,
    /// What the program reads of an answer, and how much of it has been read.
    pub(crate) answer: Vec<u8>,
    pub(crate) answer_at: usize,
    /// While an image is made: addresses of objects that the guest wants to be immortal.
    pub(crate) immortals: Option<Vec<u8>>,
    /// What the guest said of the turn's end.
    pub(crate) status: Option<Status>,
}

/// How the driver in the guest says that a turn ended. A guest can lie about its own exit code; it gains nothing by it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Status {
    /// The exit code.
    pub(crate) code: i32,
    /// The type of the exception that ended the program.
    #[serde(default)]
    pub(crate) exception: Option<String>,
}

impl Turn {
    pub(crate) fn read_stdin(&mut self, buffer: &mut [u8]) -> usize {
        let count = copy_rest(&self.stdin, self.stdin_at, buffer);
        self.stdin_at += count;
        count
    }

    /// Reads from the control device: the block, and later on what the host has answered.
    pub(crate) fn read_control(&mut self, buffer: &mut [u8]) -> usize {
        if self.request_at < self.request.len() {
            let count = copy_rest(&self.request, self.request_at, buffer);
            self.request_at += count;
            return count;
        }
        let count = copy_rest(&self.answer, self.answer_at, buffer);
        self.answer_at += count;
        count
    }

    /// Gives the program an answer to read, in place of one before.
    pub(crate) fn give_answer(&mut self, answer: Vec<u8>) {
        self.answer = answer;
        self.answer_at = 0;
    }

    pub(crate) fn write_stdout(&mut self, bytes: &[u8]) {
        deliver(&self.sink, Stream::Stdout, bytes, self.stdout.room());
        self.stdout.push(bytes);
    }

    pub(crate) fn write_stderr(&mut self, bytes: &[u8]) {
        deliver(&self.sink, Stream::Stderr, bytes, self.stderr.room());
        self.stderr.push(bytes);
    }

    pub(crate) fn is_flood(&self) -> bool {
        self.stdout.is_flood() || self.stderr.is_flood()
    }

    /// Takes a message of the driver: a status is a JSON object, all else a question to the host. A status that cannot be
    /// read is ignored: the turn's own return value then counts.
    pub(crate) fn control(&mut self, message: &[u8]) {
        const LONGEST_STATUS: usize = 1024;
        if let Some(immortals) = &mut self.immortals {
            immortals.extend_from_slice(message);
        } else if message.first() == Some(&b'{') {
            if message.len() <= LONGEST_STATUS {
                self.status = serde_json::from_slice(message).ok();
            }
        } else {
            // One at a time: who asks again does not wait for the answer before. A question that is too long is refused,
            // and all that its refusal takes is kept; without a grant, that is its kind.
            let most = if self.calls.is_some() { MAX_MESSAGE_BYTES + 1 } else { 1 };
            self.question = Some(message[..message.len().min(most)].to_vec());
            self.give_answer(Vec::new());
        }
    }
}

fn copy_rest(source: &[u8], from: usize, buffer: &mut [u8]) -> usize {
    let rest = source.get(from..).unwrap_or_default();
    let count = rest.len().min(buffer.len());
    buffer[..count].copy_from_slice(&rest[..count]);
    count
}

/// Passes on what arrives, as far as the limit lets it be kept.
fn deliver(sink: &Option<OutputSink>, stream: Stream, bytes: &[u8], room: usize) {
    if let (Some(sink), 1..) = (sink, room) {
        sink(stream, &bytes[..bytes.len().min(room)]);
    }
}

/// Why the host ended a guest, as the error of a trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("the program writes without end")]
    Flood,
}

/// The guest's memory, with checked access.
pub(crate) struct GuestMemory<'m>(pub(crate) &'m mut [u8]);

impl GuestMemory<'_> {
    pub(crate) fn slice(&self, pointer: u32, len: u32) -> Result<&[u8], Errno> {
        self.0.get(pointer as usize..).and_then(|rest| rest.get(..len as usize)).ok_or(Errno::Fault)
    }

    pub(crate) fn slice_mut(&mut self, pointer: u32, len: u32) -> Result<&mut [u8], Errno> {
        self.0
            .get_mut(pointer as usize..)
            .and_then(|rest| rest.get_mut(..len as usize))
            .ok_or(Errno::Fault)
    }

    pub(crate) fn write(&mut self, pointer: u32, bytes: &[u8]) -> Result<(), Errno> {
        self.slice_mut(pointer, bytes.len() as u32)?.copy_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn read_u32(&self, pointer: u32) -> Result<u32, Errno> {
        let bytes = self.slice(pointer, 4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(crate) fn read_u64(&self, pointer: u32) -> Result<u64, Errno> {
        let high = self.read_u32(pointer.checked_add(4).ok_or(Errno::Fault)?)?;
        Ok(u64::from(high) << 32 | u64::from(self.read_u32(pointer)?))
    }

    /// Gives the objects at `addresses` (little-endian, 32 bits each) the reference count of the first one, which is
    /// immortal. On 32-bit CPython the count is the first word of an object.
    pub(crate) fn immortalize(&mut self, addresses: &[u8]) -> Result<(), Errno> {
        let (addresses, _) = addresses.as_chunks::<4>();
        let mut addresses = addresses.iter().map(|address| u32::from_le_bytes(*address));
        let model = self.read_u32(addresses.next().ok_or(Errno::Inval)?)?;
        addresses.try_for_each(|address| self.write(address, &model.to_le_bytes()))
    }
}

/// Runs `call` with the guest's memory and turns its result into an error number for the guest.
pub(crate) fn guest_call(
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
