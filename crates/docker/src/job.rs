//! A job: a program of ours that runs to its end in a container of its own, such as an
//! installation.

use std::time::Duration;

use bollard::{
    container::LogOutput, errors::Error as ApiError, models::ContainerCreateBody,
    query_parameters::WaitContainerOptions,
};
use bytes::Bytes;
use cellblock_exec::{Error, Result};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use crate::{container::Container, engine::Engine, failure::start_error};

/// The maximum length of the kept end of each output stream, in bytes.
const MAX_OUTPUT_BYTES: usize = 1024 * 1024;

/// A job that has ended. Its container still exists, for its files.
#[derive(Debug)]
pub struct FinishedJob {
    pub container: Container,
    pub code: i64,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl FinishedJob {
    /// Returns the end of the standard error as text.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// Runs a job with `input` as its standard input, for at most `deadline`. `files` is an archive
/// that is unpacked in its root before the start.
pub async fn run(
    engine: &Engine,
    mut body: ContainerCreateBody,
    files: Option<Bytes>,
    input: Vec<u8>,
    deadline: Duration,
) -> Result<FinishedJob> {
    body.open_stdin = Some(true);
    body.stdin_once = Some(true);
    let (container, mut attached) = Container::start(engine, body, files).await?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let work = async {
        let writing = async {
            // A job may end before it has read all of its input.
            let _ = attached.input.write_all(&input).await;
            let _ = attached.input.shutdown().await;
        };
        let reading = async {
            while let Some(output) = attached.output.next().await {
                match output {
                    Ok(LogOutput::StdErr { message }) => keep_end(&mut stderr, &message),
                    Ok(output) => keep_end(&mut stdout, output.as_ref()),
                    Err(_) => break,
                }
            }
        };
        tokio::join!(writing, reading);
        let options = WaitContainerOptions { condition: "not-running".to_owned() };
        match engine.patient().wait_container(&container.id, Some(options)).next().await {
            Some(Ok(response)) => Ok(response.status_code),
            Some(Err(ApiError::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) => Err(start_error("a job in a container", &error)),
            None => Err(unfinished("the engine was stopped")),
        }
    };
    match tokio::time::timeout(deadline, work).await {
        Ok(code) => Ok(FinishedJob { container, code: code?, stdout, stderr }),
        Err(_) => Err(unfinished(&format!("it takes longer than {} seconds", deadline.as_secs()))),
    }
}

fn unfinished(why: &str) -> Error {
    Error::Start { what: "a job in a container".to_owned(), source: why.into() }
}

fn keep_end(kept: &mut Vec<u8>, bytes: &[u8]) {
    kept.extend_from_slice(bytes);
    if kept.len() > 2 * MAX_OUTPUT_BYTES {
        kept.drain(..kept.len() - MAX_OUTPUT_BYTES);
    }
}
