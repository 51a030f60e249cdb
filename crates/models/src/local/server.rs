//! The process that serves a model.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    sync::Mutex,
    thread,
    time::Duration,
};

use cellblock_agents::ModelError;
use cellblock_cache::HeldObject;
use cellblock_packages::Interpreter;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::ChildStdout,
};

use super::LocalOptions;
use crate::lock::locked;

const SCRIPT: &str = include_str!("server.py");

/// How much of what it says about errors is kept, in bytes.
const TAIL: usize = 4096;

/// How much memory old prompts may take, so that a conversation that goes on is not read again, in MiB.
const PROMPT_CACHE_MIB: u32 = 256;

/// A server. Dropped, it is ended, and nothing of it is left.
#[derive(Debug)]
pub(super) struct Server {
    /// Where it listens: `http://127.0.0.1:PORT`.
    pub(super) address: String,
    /// What others on this machine do not know.
    pub(super) key: SecretString,
    /// The model's name.
    pub(super) name: String,
    pub(super) process_id: u32,
    process: Process,
    /// The files that it reads, kept in the cache as long as it lives.
    _parts: (HeldObject, Option<HeldObject>),
}

/// A child that is ended when this is dropped.
#[derive(Debug)]
struct Process(Mutex<Child>);

/// What the script is told.
#[derive(Serialize)]
struct Settings<'s> {
    modules: &'s Path,
    model: &'s Path,
    name: &'s str,
    key: &'s str,
    context: u32,
    threads: u32,
    prompt_cache_mib: u32,
}

/// What the script tells.
#[derive(Deserialize)]
struct Listening {
    address: String,
}

impl Server {
    /// Starts a server, and waits until it listens.
    pub(super) async fn start(
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
        let name = model_name(&model);
        let key = SecretString::from(
            random_key().map_err(|source| failed("needs a key that nobody knows", source))?,
        );
        let settings = Settings {
            modules: &modules.directory,
            model: &model,
            name: &name,
            key: key.expose_secret(),
            context: options.context,
            threads: options.threads.map_or_else(usual_threads, u32::from),
            prompt_cache_mib: PROMPT_CACHE_MIB,
        };
        // Through standard input: other users see a program's arguments.
        let mut line = serde_json::to_vec(&settings)
            .map_err(|error| failed("cannot be told what to do", error.into()))?;
        line.push(b'\n');
        let (process, stdout, stderr) =
            spawn(interpreter, &line).map_err(|source| failed("does not start", source))?;
        let process_id = locked(&process.0).id();
        // A thread, because it may outlive the runtime of the caller who happened to come first.
        let reader = thread::spawn(move || tail(stderr));
        let mut said = String::new();
        let mut stdout = BufReader::new(stdout);
        let read = tokio::time::timeout(options.start_timeout, stdout.read_line(&mut said)).await;
        if let Ok(Ok(1..)) = read
            && let Ok(Listening { address }) = serde_json::from_str(&said)
        {
            return Ok(Self {
                address,
                key,
                name,
                process_id,
                process,
                _parts: (modules, weights),
            });
        }
        // It is ended first, so that all that it says has been said.
        drop(process);
        let said = reader.join().unwrap_or_default();
        let why = String::from_utf8_lossy(&said).trim().to_owned();
        Err(ModelError::Start {
            what: match read {
                Err(_) => {
                    format!("the local model did not start within {:?}", options.start_timeout)
                }
                Ok(_) => {
                    format!("the local model {} does not start{}", model.display(), advice(&why))
                }
            },
            source: (!why.is_empty()).then(|| why.into()),
        })
    }

    /// Waits a moment for the process to end: the connections of one that dies are closed before it is gone, and the next
    /// call is to know.
    pub(super) async fn settle(&self) {
        for _ in 0..100 {
            if !self.is_alive() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether the process still runs.
    pub(super) fn is_alive(&self) -> bool {
        matches!(locked(&self.process.0).try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = locked(&self.0);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Starts the script. It reads the settings from its standard input, which stays open as long as it is to live.
fn spawn(
    interpreter: &Interpreter,
    settings: &[u8],
) -> io::Result<(Process, ChildStdout, ChildStderr)> {
    use std::os::unix::process::CommandExt as _;

    let mut command = Command::new(&interpreter.path);
    // Alone: neither packages of the user nor variables for Python have a say, and it writes nothing beside its modules.
    command.args(["-I", "-S", "-B", "-c", SCRIPT]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // In a group of its own: Ctrl-C at the terminal is for us, and an answer may be cancelled without losing the server.
    command.current_dir("/").process_group(0);
    let mut child = command.spawn()?;
    let pipes = (
        child.stdin.as_mut().map(|stdin| stdin.write_all(settings)),
        child.stdout.take(),
        child.stderr.take(),
    );
    let process = Process(Mutex::new(child));
    let (Some(written), Some(stdout), Some(stderr)) = pipes else {
        return Err(io::Error::other("it has no pipes"));
    };
    // A script that ended before it read says why on its standard error.
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        _ => {}
    }
    Ok((process, ChildStdout::from_std(stdout)?, stderr))
}

/// Reads what a server says about errors until it ends, because a full pipe would stop it; gives the last of it.
fn tail(mut stderr: ChildStderr) -> Vec<u8> {
    let mut chunk = vec![0; TAIL];
    let mut tail = Vec::new();
    while let Ok(read @ 1..) = stderr.read(&mut chunk) {
        tracing::debug!(text = %String::from_utf8_lossy(&chunk[..read]).trim_end(), "llama.cpp");
        tail.extend_from_slice(&chunk[..read]);
        let excess = tail.len().saturating_sub(TAIL);
        tail.drain(..excess);
    }
    tail
}

/// What to do about a failure that newcomers may meet.
fn advice(said: &str) -> &'static str {
    if said.contains("libgomp") {
        "; install the library that is missing (Debian: apt-get install libgomp1)"
    } else if said.contains("corrupted or incomplete") || said.contains("failed to load model") {
        "; the file is damaged, cut off, too large for the memory, or of a kind that llama.cpp does not know"
    } else {
        ""
    }
}

/// A model's name: that of its file, without the way its numbers are packed if that is set off by a dot.
pub(super) fn model_name(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    match stem.split_once(".Q") {
        Some((name, _)) if !name.is_empty() => name.to_owned(),
        _ => stem.into_owned(),
    }
}

fn usual_threads() -> u32 {
    let all = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    u32::try_from(all / 2).unwrap_or(1).max(1)
}

/// 128 random bits, in hexadecimal.
fn random_key() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_files() {
        for (file, name) in [
            ("/c/SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct"),
            ("qwen2.5-coder-7b-instruct-q4_k_m.gguf", "qwen2.5-coder-7b-instruct-q4_k_m"),
            ("x.gguf", "x"),
        ] {
            assert_eq!(model_name(Path::new(file)), name);
        }
    }

    #[test]
    fn keys_are_long_and_never_the_same() {
        let keys = [random_key().unwrap(), random_key().unwrap()];
        assert!(keys[0] != keys[1] && keys.iter().all(|key| key.len() == 32), "{keys:?}");
    }
}
