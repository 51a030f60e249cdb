//! The stream to the first process of a container: its standard input and output, through the
//! engine.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bollard::container::{AttachContainerResults, LogOutput};
use bytes::{Buf, Bytes};
use cellblock_driver::DriverStream;
use futures_util::Stream;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// The maximum length of a tail, in bytes: enough for a traceback.
pub const MAX_TAIL_BYTES: usize = 4096;

/// The end of a first process's standard error. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct StderrTail(Arc<Mutex<Vec<u8>>>);

impl StderrTail {
    fn push(&self, bytes: &[u8]) {
        let mut tail = self.0.lock();
        tail.extend_from_slice(bytes);
        let excess = tail.len().saturating_sub(MAX_TAIL_BYTES);
        tail.drain(..excess);
    }

    /// Returns the tail as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock()).trim().to_owned()
    }
}

/// Returns the stream of an attached container. The container's standard error goes to `stderr`.
pub fn stream(attached: AttachContainerResults, stderr: StderrTail) -> DriverStream {
    DriverStream {
        reader: Box::new(ContainerOutput { frames: attached.output, chunk: Bytes::new(), stderr }),
        writer: Box::new(ContainerInput { writer: Some(attached.input) }),
    }
}

/// The standard output of a container. The engine sends it and the standard error as frames of one
/// connection.
struct ContainerOutput {
    frames: Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
    chunk: Bytes,
    stderr: StderrTail,
}

impl AsyncRead for ContainerOutput {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.chunk.is_empty() {
            match ready!(self.frames.as_mut().poll_next(context)) {
                Some(Ok(LogOutput::StdErr { message })) => self.stderr.push(&message),
                Some(Ok(LogOutput::StdOut { message })) => self.chunk = message,
                // However the connection ends, the container is out of reach; the keeper learns
                // why. Bytes without a frame are the rest of a frame that was cut off: nobody's
                // output.
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

/// The standard input of a container. Both directions share one connection, so dropping this half
/// alone would close nothing. So it shuts its direction down, which the engine passes on as the end
/// of the standard input.
struct ContainerInput {
    writer: Option<Pin<Box<dyn AsyncWrite + Send>>>,
}

impl ContainerInput {
    fn writer(&mut self) -> io::Result<Pin<&mut (dyn AsyncWrite + Send + 'static)>> {
        self.writer.as_mut().map(Pin::as_mut).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncWrite for ContainerInput {
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

impl Drop for ContainerInput {
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
    fn the_end_of_standard_error_is_kept() {
        let stderr = StderrTail::default();
        stderr.push(&vec![b'x'; 10_000]);
        stderr.push(b"the end\n");
        let text = stderr.text();
        assert_eq!(text.len(), MAX_TAIL_BYTES - 1);
        assert!(text.ends_with("xthe end"));
    }

    #[tokio::test]
    async fn output_and_standard_error_are_told_apart() {
        use tokio::io::AsyncReadExt;
        let frame =
            |message: &'static [u8]| Ok(LogOutput::StdOut { message: Bytes::from_static(message) });
        let frames = vec![
            frame(b"one "),
            Ok(LogOutput::StdErr { message: Bytes::from_static(b"a complaint") }),
            frame(b""),
            frame(b"two"),
        ];
        let stderr = StderrTail::default();
        let attached = AttachContainerResults {
            output: Box::pin(futures_util::stream::iter(frames)),
            input: Box::pin(tokio::io::sink()),
        };
        let mut text = String::new();
        stream(attached, stderr.clone()).reader.read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), stderr.text().as_str()), ("one two", "a complaint"));
    }
}
