//! The stream of bytes to and from a driver, as messages. A dropped future loses no bytes: half a
//! message stays in the buffers until the next call.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use cellblock_exec::python::MAX_MESSAGE_BYTES;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};

use crate::{
    DriverStream,
    protocol::{DriverFailure, DriverMessage, MessageKind},
};

/// The maximum length of a driver's message, in bytes: a question to the host, with its numbers.
/// Our driver sends output and files in pieces of 256 KiB, and its compiled program of some
/// 100 KiB. A longer message is not from our driver, and would fill the host's memory.
const MAX_BYTES: usize = MAX_MESSAGE_BYTES + 256;

/// The initial capacity of the buffer for arriving bytes.
const INITIAL_CAPACITY: usize = 16 << 10;

/// A connection to a driver. Both directions survive that a future is dropped within a message.
pub struct Wire {
    stream: DriverStream,
    inbox: BytesMut,
    outbox: BytesMut,
}

impl Wire {
    pub fn new(stream: DriverStream) -> Self {
        let inbox = BytesMut::with_capacity(INITIAL_CAPACITY);
        Self { stream, inbox, outbox: BytesMut::new() }
    }

    /// Queues bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        self.outbox.extend_from_slice(bytes);
    }

    /// Queues a message.
    pub fn post(&mut self, kind: MessageKind, fields: &[&[u8]]) {
        let length: usize = fields.iter().map(|field| 4 + field.len()).sum();
        self.outbox.reserve(5 + length);
        self.outbox.put_u8(kind.byte());
        self.outbox.put_u32_le(u32::try_from(length).unwrap_or(u32::MAX));
        for field in fields {
            self.outbox.put_u32_le(field.len() as u32);
            self.outbox.put_slice(field);
        }
    }

    /// Returns false if the driver has closed the stream, as far as can be seen without waiting.
    pub fn is_open(&mut self) -> bool {
        let Self { stream, inbox, .. } = self;
        let mut context = Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(stream.reader.read_buf(inbox)).poll(&mut context) {
            Poll::Ready(Ok(read)) => read > 0,
            Poll::Ready(Err(_)) => false,
            Poll::Pending => true,
        }
    }

    /// Sends queued bytes and receives arrived ones, as far as that is possible without waiting.
    pub fn pump(&mut self) {
        let Self { stream, inbox, outbox } = self;
        let mut context = Context::from_waker(std::task::Waker::noop());
        while !outbox.is_empty() {
            if !matches!(poll_both(&mut context, stream, inbox, outbox), Poll::Ready(Ok(()))) {
                return;
            }
        }
        while inbox.len() <= MAX_BYTES {
            if !matches!(
                std::pin::pin!(stream.reader.read_buf(inbox)).poll(&mut context),
                Poll::Ready(Ok(1..))
            ) {
                return;
            }
        }
    }

    /// Returns the number of queued bytes.
    pub fn queued(&self) -> usize {
        self.outbox.len()
    }

    /// Returns the next message, and sends queued bytes meanwhile. The future may be dropped.
    ///
    /// # Errors
    /// `UnexpectedEof` when the driver is gone, `InvalidData` when its bytes are not messages, and
    /// a [`DriverFailure`] when it says that it cannot continue.
    pub async fn next(&mut self) -> io::Result<DriverMessage> {
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

    /// Takes a message that has arrived whole out of the buffer.
    fn take(&mut self) -> io::Result<Option<DriverMessage>> {
        let Some((head, _)) = self.inbox.split_first_chunk::<5>() else { return Ok(None) };
        let kind = MessageKind::from(head[0]);
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > MAX_BYTES {
            return Err(invalid("a message is longer than any of the driver's"));
        }
        if self.inbox.len() < 5 + length {
            self.inbox.reserve(5 + length - self.inbox.len());
            return Ok(None);
        }
        self.inbox.advance(5);
        let fields = fields(self.inbox.split_to(length).freeze())?;
        let message = DriverMessage { kind, fields };
        match kind {
            MessageKind::Failed => Err(io::Error::other(DriverFailure::from(&message))),
            _ => Ok(Some(message)),
        }
    }
}

/// Cuts the body of a message into its fields.
fn fields(mut body: Bytes) -> io::Result<Vec<Bytes>> {
    let cut = || invalid("the fields of a message do not fill it");
    let mut fields = Vec::new();
    while body.has_remaining() {
        let length = body.try_get_u32_le().map_err(|_| cut())? as usize;
        if length > body.remaining() {
            return Err(cut());
        }
        fields.push(body.split_to(length));
    }
    Ok(fields)
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Sends and receives what is possible; ready when something was sent or received.
fn poll_both(
    context: &mut Context<'_>,
    stream: &mut DriverStream,
    inbox: &mut BytesMut,
    outbox: &mut BytesMut,
) -> Poll<io::Result<()>> {
    // Reading comes first: a driver that has ended may have said why.
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
