//! An oracle: the invariants of all bytes that an engine sends for a container's standard streams.
//!
//! It panics when an invariant is broken. The tests of this crate call it with bytes that proptest
//! makes, a target in `fuzz/` with bytes that libFuzzer makes.
#![allow(clippy::unwrap_used, reason = "an oracle panics when an invariant is broken")]

use std::sync::LazyLock;

use bollard::{API_DEFAULT_VERSION, Docker, query_parameters::AttachContainerOptions};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
    runtime::{Builder, Runtime},
};

use crate::stream::{MAX_TAIL_BYTES, StderrTail, stream};

#[cfg(test)]
mod tests;

/// An engine that sends given bytes, and a client of it.
struct FakeEngine {
    runtime: Runtime,
    listener: UnixListener,
    client: Docker,
    _directory: TempDir,
}

impl FakeEngine {
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
            // The other side closes the connection at bytes that are not a frame.
            if connection.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Reads the standard output and the end of the standard error of a container in pieces.
    async fn attach(&self, piece: usize) -> (Vec<u8>, String) {
        let options = AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        let attached = self.client.attach_container("cell", Some(options)).await.unwrap();
        let stderr = StderrTail::default();
        let mut stream = stream(attached, stderr.clone());
        let (mut output, mut buffer) = (Vec::new(), vec![0; piece.min(1 << 16)]);
        loop {
            match stream.reader.read(&mut buffer).await.unwrap() {
                0 => return (output, stderr.text()),
                count => output.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

/// Checks the bytes of an engine on the connection to a container; the first byte decides the size
/// of the pieces.
///
/// - Standard output and standard error are those of the whole frames, however the bytes are cut
///   into pieces.
/// - Bytes that are not a frame of either end both: half a frame is nobody's output.
/// - Only the end of the standard error is kept.
pub fn attached(bytes: &[u8]) {
    static ENGINE: LazyLock<Mutex<FakeEngine>> = LazyLock::new(|| Mutex::new(FakeEngine::start()));
    let Some((how, bytes)) = bytes.split_first() else { return };
    let piece = [1, 5, 8, 9, 100, 1 << 20][usize::from(how % 6)];
    let (stdout, stderr) = frames(bytes);
    // The fake engine distinguishes connections by their order alone.
    let engine = ENGINE.lock();
    let run = async { tokio::join!(engine.serve(bytes, piece), engine.attach(piece)).1 };
    let (output, tail) = engine.runtime.block_on(run);
    assert_eq!(output, stdout);
    let kept = &stderr[stderr.len().saturating_sub(MAX_TAIL_BYTES)..];
    assert_eq!(tail, String::from_utf8_lossy(kept).trim());
}

/// Reads the standard output and error in frames, in the simplest way: one byte for the stream,
/// three unused ones, four of length (big-endian), and content.
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
