//! The server process of a model.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::Duration,
};

use cellblock_agents::ModelError;
use cellblock_cache::HeldObject;
use cellblock_packages::Interpreter;
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::ChildStdout,
};

use super::options::{LocalModel, LocalOptions};

const SCRIPT: &str = include_str!("server.py");

/// The maximum of bytes of its standard error that are kept.
const MAX_TAIL: usize = 4096;

/// The memory for earlier prompts in MiB. With them, a conversation that continues is not processed
/// again.
const PROMPT_CACHE_MIB: u32 = 256;

/// A running server. Dropping it ends the process.
#[derive(Debug)]
pub struct Server {
    /// Its address, `http://127.0.0.1:PORT`.
    pub address: String,
    /// A key that other users of this machine do not know.
    pub key: SecretString,
    /// The model's name.
    pub name: String,
    pub process_id: u32,
    process: ServerProcess,
    /// The files that it reads; they stay in the cache as long as it lives.
    _files: (HeldObject, Option<HeldObject>),
}

/// A child process that is killed when this value is dropped.
#[derive(Debug)]
struct ServerProcess(Mutex<Child>);

/// The input of the script.
#[derive(Serialize)]
struct ServerSettings<'s> {
    modules: &'s Path,
    model: &'s Path,
    name: &'s str,
    key: &'s str,
    context: u32,
    threads: u32,
    prompt_cache_mib: u32,
}

/// The output of the script.
#[derive(Deserialize)]
struct ServerReady {
    address: String,
}

impl Server {
    /// Starts a server and waits until it listens.
    pub async fn start(
        options: &LocalOptions,
        interpreter: &Interpreter,
        modules: HeldObject,
        model: PathBuf,
        weights: Option<HeldObject>,
    ) -> Result<Self, ModelError> {
        let failed = |what: &str, source: io::Error| ModelError::Start {
            what: format!("the server of the local model {what}"),
            source: Some(source.into()),
        };
        let name = LocalModel::File(model.clone()).name();
        let key = SecretString::from(
            random_key().map_err(|source| failed("cannot create its key", source))?,
        );
        let settings = ServerSettings {
            modules: &modules.directory,
            model: &model,
            name: &name,
            key: key.expose_secret(),
            context: options.context,
            threads: options.threads.map_or_else(default_threads, u32::from),
            prompt_cache_mib: PROMPT_CACHE_MIB,
        };
        // Sent through standard input: other users can see the arguments of a program.
        let mut line = serde_json::to_vec(&settings)
            .map_err(|error| failed("cannot get its settings", error.into()))?;
        line.push(b'\n');
        let (process, stdout, stderr) =
            spawn(interpreter, &line).map_err(|source| failed("does not start", source))?;
        let process_id = process.0.lock().id();
        // A thread and not a task: the server may outlive the runtime of the caller that started
        // it.
        let reader = thread::spawn(move || read_tail(stderr));
        let mut output = String::new();
        let mut stdout = BufReader::new(stdout);
        let read = tokio::time::timeout(options.start_timeout, stdout.read_line(&mut output)).await;
        if let Ok(Ok(1..)) = read
            && let Ok(ServerReady { address }) = serde_json::from_str(&output)
        {
            return Ok(Self {
                address,
                key,
                name,
                process_id,
                process,
                _files: (modules, weights),
            });
        }
        // Ended first, so that its standard error is complete.
        drop(process);
        let errors = reader.join().unwrap_or_default();
        let why = String::from_utf8_lossy(&errors).trim().to_owned();
        Err(ModelError::Start {
            what: match read {
                Err(_) => {
                    format!("the local model did not start within {:?}", options.start_timeout)
                }
                Ok(_) => {
                    format!("the local model `{}` does not start{}", model.display(), advice(&why))
                }
            },
            source: (!why.is_empty()).then(|| why.into()),
        })
    }

    /// Waits a moment for the process to end. The connections of a dying process close before it is
    /// gone, and the next call must see that it is dead.
    pub async fn wait_for_exit(&self) {
        for _ in 0..100 {
            if !self.is_alive() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// True if the process still runs.
    pub fn is_alive(&self) -> bool {
        matches!(self.process.0.lock().try_wait(), Ok(None))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let mut child = self.0.lock();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Starts the script. It reads the settings from its standard input, and ends when that is closed.
fn spawn(
    interpreter: &Interpreter,
    settings: &[u8],
) -> io::Result<(ServerProcess, ChildStdout, ChildStderr)> {
    use std::os::unix::process::CommandExt as _;

    let mut command = Command::new(&interpreter.path);
    // Isolated: packages of the user and variables for Python have no effect, and no bytecode is
    // written.
    command.args(["-I", "-S", "-B", "-c", SCRIPT]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // In its own process group: Ctrl-C in the terminal must not end the server, because it may only
    // cancel an answer.
    command.current_dir("/").process_group(0);
    let mut child = command.spawn()?;
    let pipes = (
        child.stdin.as_mut().map(|stdin| stdin.write_all(settings)),
        child.stdout.take(),
        child.stderr.take(),
    );
    let process = ServerProcess(Mutex::new(child));
    let (Some(written), Some(stdout), Some(stderr)) = pipes else {
        return Err(io::Error::other("the process has no pipes"));
    };
    // A script that ended before it read its settings reports the cause on its standard error.
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        _ => {}
    }
    Ok((process, ChildStdout::from_std(stdout)?, stderr))
}

/// Reads the standard error of a server until its end, because a full pipe would block the server.
/// Returns the last part.
fn read_tail(mut stderr: ChildStderr) -> Vec<u8> {
    let mut chunk = vec![0; MAX_TAIL];
    let mut tail = Vec::new();
    while let Ok(read @ 1..) = stderr.read(&mut chunk) {
        tracing::debug!(text = %String::from_utf8_lossy(&chunk[..read]).trim_end(), "llama.cpp");
        tail.extend_from_slice(&chunk[..read]);
        let excess = tail.len().saturating_sub(MAX_TAIL);
        tail.drain(..excess);
    }
    tail
}

/// Returns advice for common failures.
fn advice(errors: &str) -> &'static str {
    if errors.contains("libgomp") {
        "; install the missing library (Debian: `apt-get install libgomp1`)"
    } else if errors.contains("corrupted or incomplete") || errors.contains("failed to load model")
    {
        "; the file is damaged, incomplete, too large for the memory, or of a kind that llama.cpp \
         does not support"
    } else {
        ""
    }
}

fn default_threads() -> u32 {
    let all = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    u32::try_from(all / 2).unwrap_or(1).max(1)
}

/// Returns 128 random bits in hexadecimal.
fn random_key() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_and_unique() {
        let keys = [random_key().unwrap(), random_key().unwrap()];
        assert!(keys[0] != keys[1] && keys.iter().all(|key| key.len() == 32), "{keys:?}");
    }
}
