//! The parts that the examples share: a model, an executor, a person, and a transcript on standard
//! output.
//!
//! Every example runs without a key: a recording in `recordings/` answers in place of a model. All
//! examples have these options:
//!
//! - `--model NAME`, or the variable `CELLBLOCK_MODEL`: a real model, such as `gpt-4o-mini` or
//!   `local`;
//! - `--human`: you answer in place of the scripted person;
//! - `--out DIR`: the directory for files that code made. Default: `cellblock-out`.

// Examples print to a terminal.
#![allow(clippy::print_stdout)]

use std::{
    io::{self, BufRead as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail, ensure};
use async_trait::async_trait;
use cellblock_agents::{
    ChatResult, Decision, EventSink, Human, ModelClient, Proposal, Question, ScriptedHuman,
    Transcript,
};
use cellblock_docker::DockerExecutor;
use cellblock_exec::{Executor, InputFile, Silent};
use cellblock_local::LocalExecutor;
use cellblock_models::{ModelConfig, Replay};
use cellblock_wasi::{ImageStore, WasiExecutor};

pub use anyhow::Result;

/// Returns the model that the user named, else the recording of this name.
///
/// # Errors
/// Fails when there is no such model or recording, or no key for the model.
pub async fn model(recording: &str) -> Result<Arc<dyn ModelClient>> {
    let name = option("--model").or_else(|| std::env::var("CELLBLOCK_MODEL").ok());
    if let Some(name) = name {
        return Ok(ModelConfig::named(name).client(&Silent).await?);
    }
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
    Ok(Arc::new(Replay::read(&recordings.join(format!("{recording}.jsonl")))?))
}

/// Starts the executor with this name: `wasi`, `docker` or `local`.
///
/// # Errors
/// Fails when there is no executor with this name, or it does not start.
pub async fn executor(name: &str) -> Result<Arc<dyn Executor>> {
    Ok(match name {
        "wasi" => Arc::new(
            WasiExecutor::start(ImageStore::in_user_cache()?, Default::default(), &Silent).await?,
        ),
        "docker" => Arc::new(DockerExecutor::start(Default::default(), &Silent).await?),
        "local" => Arc::new(LocalExecutor::start(Default::default()).await?),
        _ => bail!("there is no executor `{name}`; choose wasi, docker or local"),
    })
}

/// Returns a file for the workspace.
pub fn file(path: &str, content: &[u8]) -> InputFile {
    InputFile { path: path.to_owned(), content: Arc::new(content.to_owned()) }
}

/// Returns a person who gives these replies, or with `--human` the person at the terminal.
pub fn person<const N: usize>(replies: [&str; N]) -> Arc<dyn Human> {
    if std::env::args().any(|argument| argument == "--human") {
        return Arc::new(Terminal);
    }
    Arc::new(ScriptedHuman::new(replies))
}

/// Returns a sink that prints the chat while it runs.
pub fn transcript() -> Option<EventSink> {
    Some(Transcript::default().sink(|text| {
        print!("{text}");
        // Streamed text has no line ends that would flush the output.
        let _ = io::stdout().flush();
    }))
}

/// Writes the files that code made, and prints their paths.
///
/// # Errors
/// Fails when a file cannot be written, or when the chat was stopped.
pub fn finish(result: &ChatResult) -> Result<()> {
    let out = PathBuf::from(option("--out").unwrap_or_else(|| "cellblock-out".to_owned()));
    for artifact in result.history.iter().flat_map(|message| &message.artifacts) {
        let path = out.join(&artifact.path);
        std::fs::create_dir_all(path.parent().unwrap_or(&out))
            .context("cannot make the directory for files")?;
        std::fs::write(&path, artifact.content.as_slice())
            .with_context(|| format!("cannot write `{}`", path.display()))?;
        println!("wrote {}", path.display());
    }
    ensure!(result.stop.is_success(), "the chat was stopped: {}", result.stop);
    Ok(())
}

/// Returns the first argument, unless it is an option.
pub fn argument() -> Option<String> {
    std::env::args().nth(1).filter(|argument| !argument.starts_with("--"))
}

/// Returns the value of an option on the command line.
fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

/// The person at the terminal. The command `cellblock chat` has a better prompt, with editing and
/// history.
#[derive(Debug)]
struct Terminal;

#[async_trait]
impl Human for Terminal {
    async fn reply(&self, question: &Question) -> io::Result<String> {
        let empty = if question.empty_ends {
            "an empty line ends the chat"
        } else {
            "an empty line continues it"
        };
        ask(format!("{}, what do you say ({empty})? ", question.agent)).await
    }

    async fn approve(&self, proposal: &Proposal) -> io::Result<Decision> {
        // The debug format shows characters that a terminal would hide.
        Ok(match ask(format!("{proposal:#?}\nMay it run (y/n)? ")).await?.as_str() {
            "y" => Decision::Approve,
            why => Decision::Skip { why: why.to_owned() },
        })
    }
}

/// Prints a prompt, and returns a line of standard input.
async fn ask(prompt: String) -> io::Result<String> {
    let line = tokio::task::spawn_blocking(move || {
        print!("{prompt}");
        io::stdout().flush()?;
        let mut line = String::new();
        match io::stdin().lock().read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
        }
    });
    line.await.map_err(io::Error::other)?
}
