//! An oracle: what holds of every byte that an engine sends for a container's standard streams.
//!
//! It panics when an invariant is broken. The tests of this crate call it with bytes that proptest makes, a target in `fuzz/`
//! with bytes that libFuzzer makes.
#![allow(clippy::unwrap_used, reason = "an oracle panics when an invariant is broken")]

use std::sync::{Mutex, OnceLock, PoisonError};

use bollard::{API_DEFAULT_VERSION, Docker, query_parameters::AttachContainerOptions};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
    runtime::{Builder, Runtime},
};

use crate::stream::{Complaints, KEPT, stream};

#[cfg(test)]
mod tests;

/// An engine that sends what it is told, and a client of it.
struct Engine {
    runtime: Runtime,
    listener: UnixListener,
    client: Docker,
    _directory: TempDir,
}

impl Engine {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("engine.sock");
        let _entered = runtime.enter();
        let listener = UnixListener::bind(&socket).unwrap();
        let client =
            Docker::connect_with_unix(socket.to_str().unwrap(), 10, API_DEFAULT_VERSION).unwrap();
        drop(_entered);
        Self { runtime, listener, client, _directory: directory }
    }

    /// Answers one request with an open connection, sends `bytes` over it in pieces, and closes it.
    async fn serve(&self, bytes: &[u8], piece: usize) {
        let (mut connection, _) = self.listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert!(connection.read_buf(&mut request).await.unwrap() > 0);
        }
        let upgraded = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
        connection.write_all(upgraded).await.unwrap();
        for piece in bytes.chunks(piece) {
            // The other side hangs up at what is no frame.
            if connection.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// The standard output and the end of the standard error of a container, read in pieces.
    async fn attach(&self, piece: usize) -> (Vec<u8>, String) {
        let options = AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        let attached = self.client.attach_container("cell", Some(options)).await.unwrap();
        let complaints = Complaints::default();
        let mut stream = stream(attached, complaints.clone());
        let (mut output, mut buffer) = (Vec::new(), vec![0; piece.min(1 << 16)]);
        loop {
            match stream.reader.read(&mut buffer).await.unwrap() {
                0 => return (output, complaints.text()),
                count => output.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

/// What an engine sends on the connection to a container; the first byte says in which pieces.
///
/// - Standard output and standard error are those of the whole frames, however the bytes are cut into pieces.
/// - What is no frame of either ends both: half a frame and bytes without a frame are output of nobody.
/// - Of the standard error only the end is kept.
pub fn attached(bytes: &[u8]) {
    static ENGINE: OnceLock<Mutex<Engine>> = OnceLock::new();
    let Some((how, bytes)) = bytes.split_first() else { return };
    let piece = [1, 5, 8, 9, 100, 1 << 20][usize::from(how % 6)];
    // Half a gigabyte that is only announced would be waited for; that is the engine's to do.
    let (stdout, stderr) = frames(bytes);
    // It tells its connections apart by their order alone.
    let engine = ENGINE.get_or_init(|| Mutex::new(Engine::start()));
    let engine = engine.lock().unwrap_or_else(PoisonError::into_inner);
    let run = async { tokio::join!(engine.serve(bytes, piece), engine.attach(piece)).1 };
    let (output, complaints) = engine.runtime.block_on(run);
    assert_eq!(output, stdout);
    let kept = &stderr[stderr.len().saturating_sub(KEPT)..];
    assert_eq!(complaints, String::from_utf8_lossy(kept).trim());
}

/// The standard output and error in frames, in the simplest way: one byte that says which, three that say nothing, four of
/// length (big-endian), and content.
fn frames(mut bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some((head, rest)) = bytes.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let Some((content, rest)) = rest.split_at_checked(length) else { break };
        match head[0] {
            1 => stdout.extend_from_slice(content),
            2 => stderr.extend_from_slice(content),
            _ => break,
        }
        bytes = rest;
    }
    (stdout, stderr)
}
