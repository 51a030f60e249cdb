//! Messages to and from a driver: whole ones out of a stream of bytes.
//! [`protocol`](crate::protocol) has their kinds.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use cellblock_exec::python::MAX_MESSAGE_BYTES;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};

use crate::{Stream, protocol};

/// The longest message that a driver may send, in bytes: a question to the host, with its numbers. It sends output and files
/// in pieces of 256 KiB and its own compiled program of some 100 KiB. What is longer is not from our driver.
const LONGEST: usize = MAX_MESSAGE_BYTES + 256;

/// A message from a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u8,
    pub(crate) fields: Vec<Bytes>,
}

impl Message {
    /// The field at `index`; empty when it is missing.
    pub(crate) fn field(&self, index: usize) -> &[u8] {
        self.fields.get(index).map_or(&[], |field| field)
    }

    /// The field at `index` as text; what is not UTF-8 becomes U+FFFD.
    pub(crate) fn text(&self, index: usize) -> String {
        String::from_utf8_lossy(self.field(index)).into_owned()
    }

    /// The field at `index` as a text for people: of bounded length, and without what a terminal
    /// would obey.
    pub(crate) fn note(&self, index: usize) -> String {
        visible(&self.text(index))
    }

    /// The field at `index` as a number; `None` when it is empty or none.
    pub(crate) fn number<T: std::str::FromStr>(&self, index: usize) -> Option<T> {
        std::str::from_utf8(self.field(index)).ok()?.parse().ok()
    }
}

/// A connection to a driver. Both directions survive that a future is dropped in the middle of a message.
pub(crate) struct Wire {
    stream: Stream,
    inbox: BytesMut,
    outbox: BytesMut,
}

impl Wire {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, inbox: BytesMut::with_capacity(16 << 10), outbox: BytesMut::new() }
    }

    /// Puts bytes in line to be sent.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.outbox.extend_from_slice(bytes);
    }

    /// Puts a message in line to be sent.
    pub(crate) fn post(&mut self, kind: u8, fields: &[&[u8]]) {
        let length: usize = fields.iter().map(|field| 4 + field.len()).sum();
        self.outbox.reserve(5 + length);
        self.outbox.put_u8(kind);
        self.outbox.put_u32_le(u32::try_from(length).unwrap_or(u32::MAX));
        for field in fields {
            self.outbox.put_u32_le(field.len() as u32);
            self.outbox.put_slice(field);
        }
    }

    /// Whether the driver has not closed the stream, as far as can be seen without waiting.
    pub(crate) fn is_open(&mut self) -> bool {
        let Self { stream, inbox, .. } = self;
        let mut context = Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(stream.reader.read_buf(inbox)).poll(&mut context) {
            Poll::Ready(Ok(read)) => read > 0,
            Poll::Ready(Err(_)) => false,
            Poll::Pending => true,
        }
    }

    /// Sends what is in line and takes what has come, as far as that goes without waiting.
    pub(crate) fn pump(&mut self) {
        let Self { stream, inbox, outbox } = self;
        let mut context = Context::from_waker(std::task::Waker::noop());
        while !outbox.is_empty() {
            if !matches!(poll_both(&mut context, stream, inbox, outbox), Poll::Ready(Ok(()))) {
                return;
            }
        }
        while inbox.len() <= LONGEST {
            if !matches!(
                std::pin::pin!(stream.reader.read_buf(inbox)).poll(&mut context),
                Poll::Ready(Ok(1..))
            ) {
                return;
            }
        }
    }

    /// How many bytes wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.outbox.len()
    }

    /// The next message, sending meanwhile what is in line. It may be dropped and called again.
    ///
    /// # Errors
    /// When the driver is gone or does not speak as ours does.
    pub(crate) async fn next(&mut self) -> io::Result<Message> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(message);
            }
            let Self { stream, inbox, outbox } = self;
            if outbox.is_empty() {
                if stream.reader.read_buf(inbox).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                continue;
            }
            std::future::poll_fn(|context| poll_both(context, stream, inbox, outbox)).await?;
        }
    }

    /// A message that has arrived whole.
    fn take(&mut self) -> io::Result<Option<Message>> {
        let Some((head, _)) = self.inbox.split_first_chunk::<5>() else { return Ok(None) };
        let kind = head[0];
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > LONGEST {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a message longer than any of the driver's",
            ));
        }
        if self.inbox.len() < 5 + length {
            self.inbox.reserve(5 + length - self.inbox.len());
            return Ok(None);
        }
        self.inbox.advance(5);
        let mut body = self.inbox.split_to(length).freeze();
        let mut fields = Vec::new();
        while body.has_remaining() {
            let cut =
                || io::Error::new(io::ErrorKind::InvalidData, "a message whose fields do not fit");
            let length = body.try_get_u32_le().map_err(|_| cut())? as usize;
            if length > body.remaining() {
                return Err(cut());
            }
            fields.push(body.split_to(length));
        }
        let message = Message { kind, fields };
        match kind {
            protocol::FAILED => Err(io::Error::other(Failed::of(&message))),
            _ => Ok(Some(message)),
        }
    }
}

/// Sends and receives whatever is possible; ready when something was.
fn poll_both(
    context: &mut Context<'_>,
    stream: &mut Stream,
    inbox: &mut BytesMut,
    outbox: &mut BytesMut,
) -> Poll<io::Result<()>> {
    // First what was said: a driver that has ended may have told why.
    let read = std::pin::pin!(stream.reader.read_buf(inbox)).poll(context);
    if let Poll::Ready(read) = read {
        return Poll::Ready(match read? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        });
    }
    while !outbox.is_empty() {
        let sent = ready!(Pin::new(&mut stream.writer).poll_write(context, outbox))?;
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        outbox.advance(sent);
    }
    ready!(Pin::new(&mut stream.writer).poll_flush(context))?;
    Poll::Ready(Ok(()))
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire")
            .field("inbox", &self.inbox.len())
            .field("outbox", &self.outbox.len())
            .finish()
    }
}

/// The longest text of a driver about itself or a block that is kept, in characters.
const LONGEST_NOTE: usize = 1000;

/// The beginning of a text from a cell, without what a terminal would obey.
pub(crate) fn visible(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(LONGEST_NOTE).map(shown).collect()
}

/// The last message of a driver that cannot continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    /// Why, in its own words.
    pub(crate) reason: String,
    /// Whether there was too little memory for it.
    pub(crate) out_of_memory: bool,
}

impl Failed {
    fn of(message: &Message) -> Self {
        Self { reason: message.note(0), out_of_memory: !message.field(1).is_empty() }
    }

    /// The message that an error of the wire stands for, if it does.
    pub(crate) fn behind(error: &io::Error) -> Option<&Self> {
        error.get_ref().and_then(|source| source.downcast_ref())
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the driver failed: {}", self.reason)
    }
}

impl std::error::Error for Failed {}

/// How a block ended, as the driver saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The exit code, unless a signal ended it.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    /// The kind of the exception that ended a Python block.
    pub(crate) exception: String,
    /// Its error number.
    pub(crate) errno: Option<i32>,
    /// Whether the driver stopped it for its processor time.
    pub(crate) out_of_cpu: bool,
    /// Whether the Python interpreter was lost.
    pub(crate) lost: bool,
    /// Whether a program was killed for lack of memory meanwhile.
    pub(crate) out_of_memory: bool,
    /// Whether a program was refused a process meanwhile.
    pub(crate) out_of_processes: bool,
    /// What of the workspace was full when it failed: `disk` or `files`.
    pub(crate) full: String,
    /// Processor time, in microseconds.
    pub(crate) cpu_us: u64,
    /// Memory of the cell at its end, in bytes.
    pub(crate) memory: u64,
    /// What a person should know besides; empty if there is nothing.
    pub(crate) note: String,
}

impl Ended {
    pub(crate) fn of(message: &Message) -> Self {
        Self {
            code: message.number(1),
            signal: message.number(2),
            exception: message.text(3),
            errno: message.number(4),
            out_of_cpu: message.field(5) == b"cpu",
            lost: !message.field(6).is_empty(),
            out_of_memory: !message.field(7).is_empty(),
            out_of_processes: !message.field(8).is_empty(),
            full: message.text(9),
            cpu_us: message.number(10).unwrap_or_default(),
            memory: message.number(11).unwrap_or_default(),
            note: message.note(12),
        }
    }
}
