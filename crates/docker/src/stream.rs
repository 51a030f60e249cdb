//! The stream to the first process of a container: its standard input and output, through the engine.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bollard::container::{AttachContainerResults, LogOutput};
use bytes::{Buf, Bytes};
use cellblock_driver::DriverStream;
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// How much of its last words is kept, in bytes: enough for a traceback.
pub(crate) const KEPT: usize = 4096;

/// The end of what a first process wrote to its standard error.
#[derive(Debug, Clone, Default)]
pub(crate) struct Complaints(Arc<Mutex<Vec<u8>>>);

impl Complaints {
    fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        let excess = kept.len().saturating_sub(KEPT);
        kept.drain(..excess);
    }

    /// What was kept.
    pub(crate) fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).trim().to_owned()
    }
}

/// Makes a stream of what attaching to a container gave; its standard error goes to `complaints`.
pub(crate) fn stream(attached: AttachContainerResults, complaints: Complaints) -> DriverStream {
    DriverStream {
        reader: Box::new(Output { frames: attached.output, chunk: Bytes::new(), complaints }),
        writer: Box::new(Input { writer: Some(attached.input) }),
    }
}

/// The engine sends the standard output and the standard error as frames of one connection; this is the first alone.
struct Output {
    frames: Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
    chunk: Bytes,
    complaints: Complaints,
}

impl AsyncRead for Output {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.chunk.is_empty() {
            match ready!(self.frames.as_mut().poll_next(context)) {
                Some(Ok(LogOutput::StdErr { message })) => self.complaints.push(&message),
                Some(Ok(LogOutput::StdOut { message })) => self.chunk = message,
                // However the connection ends, the container is out of reach. Why, the engine tells elsewhere. Bytes
                // without a frame are what is left of a frame that was cut off: nobody's output.
                Some(Ok(_) | Err(_)) | None => {
                    self.frames = Box::pin(futures_util::stream::empty());
                    return Poll::Ready(Ok(()));
                }
            }
        }
        let count = self.chunk.len().min(into.remaining());
        into.put_slice(&self.chunk[..count]);
        self.chunk.advance(count);
        Poll::Ready(Ok(()))
    }
}

/// Both directions share one connection, so that dropping this half alone would close nothing: it says that no more
/// comes, which the engine passes on as the end of the standard input.
struct Input {
    writer: Option<Pin<Box<dyn AsyncWrite + Send>>>,
}

impl Input {
    fn writer(&mut self) -> io::Result<Pin<&mut (dyn AsyncWrite + Send + 'static)>> {
        self.writer.as_mut().map(Pin::as_mut).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncWrite for Input {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writer()?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer()?.poll_shutdown(context)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // Outside a runtime the other half is dropped as well, and the connection with it.
        if let (Some(mut writer), Ok(runtime)) =
            (self.writer.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async move {
                let _ = writer.shutdown().await;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_kept() {
        let complaints = Complaints::default();
        complaints.push(&vec![b'x'; 10_000]);
        complaints.push(b"the end\n");
        let text = complaints.text();
        assert_eq!(text.len(), KEPT - 1);
        assert!(text.ends_with("xthe end"));
    }

    #[tokio::test]
    async fn output_and_complaints_are_told_apart() {
        use tokio::io::AsyncReadExt;
        let frame =
            |message: &'static [u8]| Ok(LogOutput::StdOut { message: Bytes::from_static(message) });
        let frames = vec![
            frame(b"one "),
            Ok(LogOutput::StdErr { message: Bytes::from_static(b"a complaint") }),
            frame(b""),
            frame(b"two"),
        ];
        let complaints = Complaints::default();
        let attached = AttachContainerResults {
            output: Box::pin(futures_util::stream::iter(frames)),
            input: Box::pin(tokio::io::sink()),
        };
        let mut text = String::new();
        stream(attached, complaints.clone()).reader.read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), complaints.text().as_str()), ("one two", "a complaint"));
    }
}
