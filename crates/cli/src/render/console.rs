//! A run as people watch it.
//!
//! Everything goes through one queue to one thread that writes, so that a slow terminal or pipe holds up no program, and
//! the order is kept. The queue holds at most what the output limit lets through for one block.

use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::Instant,
};

use anstyle::Style as Colour;
use async_trait::async_trait;
use cellblock_exec::{
    CodeBlock, Outcome, Requirement, Stream,
    run::{BlockReport, Failure, Observer, RunReport},
};
use tokio_util::sync::CancellationToken;

use super::{BAD, GOOD, HEADER, NOTE, outcome, sanitize::one_line, writer};
use crate::{failure, out, units};

/// How much is shown of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Headers, output, artifacts, notes, and a closing line.
    Answer,
    /// The same without headers and closing line: there is one block.
    Piece,
    /// Nothing; artifacts are written all the same.
    Silent,
}

/// What is to be written.
pub enum Message {
    /// What a program wrote.
    Output(Stream, Vec<u8>),
    /// A line of ours: a coloured beginning and the rest.
    Line(Colour, String, String),
    /// A question, without a line end.
    Question(String),
    /// Asks to be told when all before it is written.
    Barrier(Sender<()>),
}

/// Shows a run and stores its artifacts.
pub struct Console {
    style: Style,
    out: PathBuf,
    /// Bytes that are kept of each stream of a block; what comes later is not shown while it arrives.
    output_limit: u64,
    blocks: usize,
    start: Instant,
    queue: Mutex<Option<Sender<Message>>>,
    writer: Mutex<Option<JoinHandle<std::io::Result<()>>>>,
    /// Paths of artifacts that were written.
    written: Mutex<BTreeMap<String, PathBuf>>,
    /// The first artifact that could not be written, and why.
    failed: Mutex<Option<(String, std::io::Error)>>,
}

/// Why a run that has a report ends otherwise than the report says.
pub struct Ended {
    /// The exit status.
    pub code: u8,
    /// The failure, when it is for the report.
    pub error: Option<Failure>,
}

impl Console {
    /// Starts the thread that writes. It cancels the run when nobody reads any more.
    pub fn start(style: Style, out: PathBuf, output_limit: u64, blocks: usize, cancel: CancellationToken) -> Self {
        let (sender, receiver): (_, Receiver<Message>) = channel();
        let writer = std::thread::spawn(move || {
            let result = writer::write_all(receiver);
            if result.is_err() {
                cancel.cancel();
            }
            result
        });
        Self {
            style,
            out,
            output_limit,
            blocks,
            start: Instant::now(),
            queue: Mutex::new(Some(sender)),
            writer: Mutex::new(Some(writer)),
            written: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    fn send(&self, message: Message) {
        if let Some(queue) = self.queue.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            // The writer is gone when nobody reads any more; it has cancelled the run.
            let _ = queue.send(message);
        }
    }

    fn line(&self, colour: Colour, start: &str, rest: &str) {
        if self.style != Style::Silent {
            self.send(Message::Line(colour, one_line(start), one_line(rest)));
        }
    }

    /// Waits until all so far is written.
    fn wait(&self) {
        let (sender, receiver) = channel();
        self.send(Message::Barrier(sender));
        // An error means that the writer has ended.
        let _ = receiver.recv();
    }

    /// Shows the end of a stream, which did not arrive while the program ran because the limit was reached before.
    fn show_rest(&self, stream: Stream, text: &str, dropped: u64) {
        if dropped == 0 || self.style == Style::Silent {
            return;
        }
        // Shown so far: the first `limit` bytes. Kept: half a limit from the end. What is new of that is shown now.
        let new = usize::try_from(dropped.min(self.output_limit / 2)).unwrap_or(usize::MAX);
        let from = text.floor_char_boundary(text.len().saturating_sub(new));
        let name = if stream == Stream::Stdout { "standard output" } else { "standard error" };
        let dropped = units::bytes(dropped);
        self.line(NOTE, "note:", &format!("{dropped} of {name} were dropped; --output-limit keeps more; its end is:"));
        self.send(Message::Output(stream, text.as_bytes()[from..].to_vec()));
    }

    /// Writes the artifacts of a block, takes their contents out of its report, and tells where they are.
    fn store(&self, report: &mut BlockReport) {
        for artifact in &mut report.artifacts {
            match out::write(&self.out, artifact) {
                Ok(path) => {
                    let size = units::bytes(artifact.bytes);
                    let shown = format!("{} ({}, {size})", path.display(), artifact.media_type);
                    self.line(GOOD, "wrote", &shown);
                    self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(artifact.path.clone(), path);
                }
                Err(error) => {
                    self.line(BAD, "not written:", &format!("{}: {error}", artifact.path));
                    let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                    failed.get_or_insert((artifact.path.clone(), error));
                }
            }
            artifact.content = Default::default();
        }
    }

    /// Shows the closing line, waits until all is written, and says what the report does not know.
    pub fn finish(&self, report: &RunReport) -> Option<Ended> {
        if self.style == Style::Answer {
            let colour = if report.exit_code == 0 { GOOD } else { BAD };
            let files = self.written.lock().unwrap_or_else(PoisonError::into_inner).len();
            let stored = match files {
                0 => String::new(),
                1 => format!("; 1 file in {}", self.out.display()),
                files => format!("; {files} files in {}", self.out.display()),
            };
            let seconds = self.start.elapsed().as_secs_f64();
            self.line(colour, &outcome::summary(report), &format!("in {seconds:.1} s{stored}"));
        }
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let written = writer.map(JoinHandle::join);
        if let Some(Ok(Err(error))) = written {
            if failure::is_broken_pipe(&error) {
                return Some(Ended { code: failure::NO_READER, error: None });
            }
            return Some(Ended { code: failure::FAILED, error: Some(Failure::new(&error)) });
        }
        let (path, error) = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let message = format!("cannot write the artifact {path} to {}", self.out.display());
        Some(Ended { code: failure::FAILED, error: Some(Failure { message, causes: vec![error.to_string()] }) })
    }
}

#[async_trait]
impl Observer for Console {
    fn started(&self, block: &CodeBlock) {
        if self.style == Style::Answer {
            let language = block.language.as_ref().map_or("no language", |language| language.as_str());
            let inferred = if block.inferred { " (inferred)" } else { "" };
            let name = block.filename.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
            let place = format!("[{}/{}]", block.index + 1, self.blocks);
            self.line(HEADER, &place, &format!("{language}{inferred}{name}, line {}", block.line));
        }
    }

    fn output(&self, stream: Stream, bytes: &[u8]) {
        if self.style != Style::Silent && !bytes.is_empty() {
            self.send(Message::Output(stream, bytes.to_vec()));
        }
    }

    fn installing(&self, packages: &[Requirement]) {
        let names = packages.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        self.line(NOTE, "installing", &names);
    }

    fn installed(&self, packages: &[String]) {
        if !packages.is_empty() {
            self.line(GOOD, "installed", &packages.join(", "));
        }
    }

    fn retrying(&self, _: &CodeBlock) {
        self.line(NOTE, "running it again", "");
    }

    fn finished(&self, report: &mut BlockReport) {
        self.show_rest(Stream::Stdout, &report.stdout, report.dropped.stdout);
        self.show_rest(Stream::Stderr, &report.stderr, report.dropped.stderr);
        self.store(report);
        for refused in &report.refused {
            self.line(NOTE, "not taken:", &format!("{}: {}", refused.path, refused.reason));
        }
        for note in &report.notes {
            self.line(NOTE, "note:", note);
        }
        let quiet = report.outcome == Outcome::Skipped && outcome::is_data(report) && !report.notes.is_empty();
        if let Some(words) = outcome::words(&report.outcome).filter(|_| !quiet) {
            let (word, rest) = words.split_once(' ').unwrap_or((&words, ""));
            match report.outcome {
                Outcome::Skipped => {
                    self.line(NOTE, &format!("[{}/{}]", report.index + 1, self.blocks), "skipped");
                }
                _ => self.line(BAD, word, rest),
            }
        }
        // No block starts before the last one's output is out, or a slow reader would make the queue grow without bound.
        self.wait();
    }

    /// Asks the person at the terminal. Without one the answer is no.
    async fn approve(&self, packages: &[Requirement]) -> bool {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() || !std::io::stderr().is_terminal() {
            self.line(
                NOTE,
                "note:",
                "there is no terminal to ask at: --allow-package NAME or --install any answers yes",
            );
            return false;
        }
        let names = packages.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        self.send(Message::Question(format!("install {}? [y/N] ", one_line(&names))));
        let answer = tokio::task::spawn_blocking(move || {
            let mut answer = String::new();
            stdin.read_line(&mut answer).map(|_| answer)
        });
        matches!(answer.await, Ok(Ok(answer)) if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
    }
}
