//! Oracles: the invariants of all bytes between a host and a driver.
//!
//! Each function takes any bytes and panics when an invariant is broken. The tests of this crate
//! call them with bytes that proptest makes, the targets in `fuzz/` with bytes that libFuzzer
//! makes. The wire is read and written here a second time, in the simplest way: [`read`] does what
//! the driver does with the host's bytes (`messages.py`).
#![allow(clippy::unwrap_used, reason = "an oracle panics when an invariant is broken")]

use std::{
    collections::BTreeSet,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use cellblock_exec::{MAX_ARTIFACT_BYTES, MAX_ARTIFACTS, python::MAX_MESSAGE_BYTES};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    DriverStream,
    artifacts::ArrivingFiles,
    protocol::{BlockEnd, DriverMessage, MessageKind},
    wire::Wire,
};

#[cfg(test)]
mod tests;

/// The maximum length of a driver's message: a question to the host, with its numbers.
const MAX_BYTES: usize = MAX_MESSAGE_BYTES + 256;

/// A message as its byte and its fields.
type PlainMessage = (u8, Vec<Vec<u8>>);

/// The end of a stream of messages.
#[derive(Debug, PartialEq, Eq)]
enum StreamEnd {
    /// The stream ends, perhaps within a message.
    Closed,
    /// A message is too long, or its fields do not fill it.
    Invalid,
    /// The driver says that it cannot continue.
    Failed,
}

/// Checks the bytes of a cell; the first byte decides how the rest arrives.
///
/// - The messages are those that a simple reader sees, however the bytes are cut into pieces, also
///   when futures are dropped between them. Then the stream is closed or invalid, as the simple
///   reader says.
/// - The end of a block can be read out of any message.
/// - Files stay inside the workspace and within their limits: see `files`.
pub fn received(bytes: &[u8]) {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let (mut expected, mut end) = read(bytes);
    if let Some(at) = expected.iter().position(|(kind, _)| *kind == MessageKind::Failed.byte()) {
        // The driver's last message.
        expected.truncate(at);
        end = StreamEnd::Failed;
    }
    let (mut wire, _) = wire(Some(bytes), *how);
    let mut messages = Vec::new();
    let given = loop {
        match next(&mut wire, how & 1 == 1) {
            Ok(message) => messages.push(message),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break StreamEnd::Closed,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => break StreamEnd::Invalid,
            Err(error) if error.kind() == io::ErrorKind::Other => break StreamEnd::Failed,
            Err(error) => panic!("{error:?}"),
        }
    };
    assert_eq!(messages.iter().map(plain).collect::<Vec<_>>(), expected);
    assert_eq!(given, end);
    assert!(given != StreamEnd::Closed || how & 1 == 1 || !wire.is_open());
    for message in &messages {
        let _ = BlockEnd::from(message);
    }
    files(&messages, *how);
}

/// Checks the messages of a host, which are read out of the bytes; the first byte decides how fast
/// the other side reads.
///
/// The driver's reader sees all messages in order, and nothing after them.
pub fn posted(bytes: &[u8]) {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let messages = messages_in(bytes);
    let (mut wire, sent) = wire(None, *how);
    for (at, (kind, fields)) in messages.iter().enumerate() {
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        wire.post((*kind).into(), &fields);
        if at % 3 == 2 {
            wire.pump();
        }
    }
    while wire.queued() > 0 {
        wire.pump();
    }
    assert_eq!(read(&sent.lock()), (messages, StreamEnd::Closed));
}

/// Checks the files that messages of any kind in any order send.
///
/// - Each path stays inside any directory, and occurs once.
/// - The number of files, their sizes and the sum of their sizes keep to their limits; refusals are
///   limited as well.
/// - The content of a file is all that came between its name and the next message about files.
fn files(messages: &[DriverMessage], how: u8) {
    let (max_bytes, max_files) =
        [(0, 0), (10, 2), (100, 3), (1 << 20, u32::MAX)][usize::from(how % 4)];
    let mut arriving = ArrivingFiles::new(max_bytes, max_files);
    let mut announced: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut open = false;
    for message in messages {
        arriving.take(message);
        match message.kind {
            MessageKind::Artifact => announced.push((message.field(0).to_vec(), Vec::new())),
            MessageKind::Content if open => {
                announced.last_mut().unwrap().1.extend_from_slice(message.field(0))
            }
            _ => {}
        }
        let closes = message.kind == MessageKind::Refused;
        open = open && !closes || message.kind == MessageKind::Artifact;
    }
    arriving.complete();
    check(&arriving, announced, max_bytes, max_files);
}

/// Checks files against the sent names and contents, in order.
fn check(arriving: &ArrivingFiles, sent: Vec<(Vec<u8>, Vec<u8>)>, max_bytes: u64, max_files: u32) {
    let mut sent = sent.into_iter();
    let mut paths = BTreeSet::new();
    let mut total = 0;
    for file in &arriving.artifacts {
        assert!(file.path.split('/').all(|name| !matches!(name, "" | "." | "..")), "{}", file.path);
        assert!(!file.path.contains('\0') && file.path.len() <= 4096, "{}", file.path);
        assert!(paths.insert(&file.path), "{} twice", file.path);
        assert_eq!(file.bytes, file.content.len() as u64);
        assert!(file.bytes <= MAX_ARTIFACT_BYTES);
        total += file.bytes;
        let whole = |(path, content): (Vec<u8>, Vec<u8>)| {
            path == file.path.as_bytes() && content == *file.content
        };
        assert!(sent.any(whole), "{} was not sent like this", file.path);
    }
    assert!(total <= max_bytes, "{total} bytes");
    assert!(arriving.artifacts.len() <= MAX_ARTIFACTS.min(max_files as usize));
    assert!(arriving.refused.len() <= MAX_ARTIFACTS);
    assert!(arriving.refused.iter().all(|file| file.reason.len() + file.path.len() < 1 << 16));
}

fn plain(message: &DriverMessage) -> PlainMessage {
    (message.kind.byte(), message.fields.iter().map(|field| field.to_vec()).collect())
}

/// Reads the messages and the end of a stream in the simplest way.
fn read(mut bytes: &[u8]) -> (Vec<PlainMessage>, StreamEnd) {
    let mut messages = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<5>() {
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > MAX_BYTES {
            return (messages, StreamEnd::Invalid);
        }
        let Some((mut body, rest)) = rest.split_at_checked(length) else { break };
        let mut fields = Vec::new();
        while !body.is_empty() {
            let Some((length, after)) = body.split_first_chunk::<4>() else {
                return (messages, StreamEnd::Invalid);
            };
            let Some((field, after)) = after.split_at_checked(u32::from_le_bytes(*length) as usize)
            else {
                return (messages, StreamEnd::Invalid);
            };
            fields.push(field.to_vec());
            body = after;
        }
        messages.push((head[0], fields));
        bytes = rest;
    }
    (messages, StreamEnd::Closed)
}

/// Makes messages out of bytes: kind, number of fields, and for each field its length and as much
/// of its content as there is.
fn messages_in(bytes: &[u8]) -> Vec<PlainMessage> {
    let mut bytes = bytes.iter().copied();
    let mut messages = Vec::new();
    while let Some(kind) = bytes.next() {
        let count = bytes.next().unwrap_or(0) % 5;
        let mut field = || {
            let length = usize::from(bytes.next().unwrap_or(0));
            bytes.by_ref().take(length).collect()
        };
        messages.push((kind, (0..count).map(|_| field()).collect()));
    }
    messages
}

/// Returns the next message. With `drops`, a future that has to wait is dropped and made anew.
fn next(wire: &mut Wire, drops: bool) -> io::Result<DriverMessage> {
    let mut context = Context::from_waker(Waker::noop());
    if drops {
        loop {
            if let Poll::Ready(result) = pin!(wire.next()).poll(&mut context) {
                return result;
            }
            wire.pump();
        }
    }
    let mut next = pin!(wire.next());
    loop {
        if let Poll::Ready(result) = next.as_mut().poll(&mut context) {
            return result;
        }
    }
}

/// Returns a wire on which `bytes` and then the end arrive, or nothing and no end; and the bytes
/// that it sends. `how` decides the size of the pieces; if it is odd, both sides wait in between.
fn wire(bytes: Option<&[u8]>, how: u8) -> (Wire, Arc<Mutex<Vec<u8>>>) {
    let piece = [1, 3, 7, 64, 1000, 4096, usize::MAX, 2][usize::from(how >> 1) % 8];
    let waits = how & 1 == 1;
    let rest = bytes.unwrap_or_default().to_vec();
    let pieces =
        PiecewiseReader { rest, at: 0, ends: bytes.is_some(), piece, waits, waited: false };
    let sent = Arc::new(Mutex::new(Vec::new()));
    let writer = PiecewiseWriter { sent: sent.clone(), piece, waits, waited: false };
    (Wire::new(DriverStream { reader: Box::new(pieces), writer: Box::new(writer) }), sent)
}

/// Bytes that arrive in pieces.
struct PiecewiseReader {
    rest: Vec<u8>,
    at: usize,
    ends: bool,
    piece: usize,
    waits: bool,
    waited: bool,
}

impl AsyncRead for PiecewiseReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // The end of a stream can be seen at any time.
        let is_over = self.at == self.rest.len();
        self.waited = self.waits && !self.waited && !is_over;
        if self.waited || is_over && !self.ends {
            return Poll::Pending;
        }
        let rest = &self.rest[self.at..];
        let count = rest.len().min(self.piece).min(into.remaining());
        into.put_slice(&rest[..count]);
        self.at += count;
        Poll::Ready(Ok(()))
    }
}

/// Takes bytes in pieces.
struct PiecewiseWriter {
    sent: Arc<Mutex<Vec<u8>>>,
    piece: usize,
    waits: bool,
    waited: bool,
}

impl AsyncWrite for PiecewiseWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.waited = self.waits && !self.waited;
        if self.waited {
            return Poll::Pending;
        }
        let count = bytes.len().min(self.piece);
        self.sent.lock().extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
