//! A run as people watch it.
//!
//! The queue of the screen is bounded: no block starts before the output of the last one is
//! written, and the output limit bounds the output of one block.

use std::{io::IsTerminal as _, time::Instant};

use anstyle::Style;
use async_trait::async_trait;
use cellblock_agents::sanitize::one_line;
use cellblock_answer::{
    CodeBlock,
    run::{BlockReport, ErrorReport, Observer, RunReport},
};
use cellblock_exec::{Outcome, Requirement, Stream};
use tokio_util::sync::CancellationToken;

use super::outcome;
use crate::{
    artifacts::Artifacts,
    exit, failure,
    render::{
        screen::{Message, Screen},
        text::{BAD, GOOD, HEADER, NOTE, block_title, format_bytes},
    },
};

/// The parts of a run that are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Headers, output, artifacts, notes, and a closing line.
    Answer,
    /// The same without headers and closing line, for a single block.
    Block,
    /// Nothing; artifacts are written all the same.
    Silent,
}

/// Shows a run and stores its artifacts.
pub struct RunDisplay {
    detail: Detail,
    /// Bytes that are kept of each stream of a block. Later output is not shown while it arrives.
    output_limit: u64,
    blocks: usize,
    start: Instant,
    screen: Screen,
    artifacts: Artifacts,
}

/// A failure of the display that replaces the exit status of the report.
pub struct DisplayFailure {
    /// The exit status.
    pub code: u8,
    /// The error for the report; `None` if nobody would read it.
    pub error: Option<ErrorReport>,
}

impl RunDisplay {
    /// Starts the screen, which cancels the run if standard output is closed.
    pub fn start(
        detail: Detail,
        artifacts: Artifacts,
        output_limit: u64,
        blocks: usize,
        cancel: CancellationToken,
    ) -> Self {
        let screen = Screen::start(cancel);
        Self { detail, output_limit, blocks, start: Instant::now(), screen, artifacts }
    }

    /// Shows the closing line, and waits until all is written.
    pub fn finish(&self, report: &RunReport) -> Result<(), DisplayFailure> {
        if self.detail == Detail::Answer {
            let colour = if report.exit_code == exit::SUCCESS { GOOD } else { BAD };
            let seconds = self.start.elapsed().as_secs_f64();
            let files = self.artifacts.summary();
            let separator = if files.is_empty() { "" } else { "; " };
            let rest = format!("in {seconds:.1} s{separator}{files}");
            self.line(colour, &outcome::summary(report), &rest);
        }
        if let Err(error) = self.screen.finish() {
            return Err(match failure::is_broken_pipe(&error) {
                true => DisplayFailure { code: exit::CLOSED_OUTPUT, error: None },
                false => {
                    DisplayFailure { code: exit::INTERNAL, error: Some(ErrorReport::new(&error)) }
                }
            });
        }
        match self.artifacts.failure() {
            None => Ok(()),
            Some(error) => Err(DisplayFailure { code: exit::INTERNAL, error: Some(error) }),
        }
    }

    fn line(&self, colour: Style, label: &str, rest: &str) {
        if self.detail != Detail::Silent {
            self.screen.line(colour, label, rest);
        }
    }

    /// Shows the end of a stream that exceeded the limit, so that it was not shown as it arrived.
    fn show_end(&self, stream: Stream, text: &str, dropped: u64) {
        if dropped == 0 || self.detail == Detail::Silent {
            return;
        }
        // Shown so far: the first `output_limit` bytes. Kept from the end: half as many, of which
        // only the last `dropped` bytes are new.
        let new = usize::try_from(dropped.min(self.output_limit / 2)).unwrap_or(usize::MAX);
        let from = text.floor_char_boundary(text.len().saturating_sub(new));
        let name = if stream == Stream::Stdout { "standard output" } else { "standard error" };
        let dropped = format_bytes(dropped);
        let rest = format!("dropped {dropped} of {name} (see --output-limit); it ends with:");
        self.line(NOTE, "note:", &rest);
        self.screen.send(Message::Output(stream, text.as_bytes()[from..].to_vec()));
    }

    /// Writes the artifacts of a block, and removes their contents from its report.
    fn store(&self, report: &mut BlockReport) {
        let screen = (self.detail != Detail::Silent).then_some(&self.screen);
        let notes = self.artifacts.store(report, "", screen);
        report.notes.extend(notes);
        for artifact in &mut report.artifacts {
            artifact.content = Default::default();
        }
    }

    /// Shows an outcome other than success. A data block that has a note needs no more words.
    fn show_outcome(&self, report: &BlockReport) {
        if report.outcome == Outcome::Skipped {
            if !outcome::is_data(report) || report.notes.is_empty() {
                self.line(NOTE, &format!("[{}/{}]", report.index + 1, self.blocks), "skipped");
            }
        } else if let Some(words) = outcome::words(&report.outcome) {
            let (label, rest) = words.split_once(' ').unwrap_or((&words, ""));
            self.line(BAD, label, rest);
        }
    }
}

#[async_trait]
impl Observer for RunDisplay {
    fn started(&self, block: &CodeBlock) {
        if self.detail == Detail::Answer {
            let place = format!("[{}/{}]", block.index + 1, self.blocks);
            self.line(HEADER, &place, &block_title(block));
        }
    }

    fn output(&self, stream: Stream, bytes: &[u8]) {
        if self.detail != Detail::Silent && !bytes.is_empty() {
            self.screen.send(Message::Output(stream, bytes.to_vec()));
        }
    }

    fn installing(&self, packages: &[Requirement]) {
        self.line(NOTE, "installing", &joined(packages));
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
        self.show_end(Stream::Stdout, &report.stdout, report.dropped.stdout);
        self.show_end(Stream::Stderr, &report.stderr, report.dropped.stderr);
        self.store(report);
        for refused in &report.refused {
            self.line(NOTE, "refused:", &format!("{}: {}", refused.path, refused.reason));
        }
        for note in &report.notes {
            self.line(NOTE, "note:", note);
        }
        if report.sandbox_failed {
            self.line(NOTE, "note:", "the sandbox failed in this block");
        }
        self.show_outcome(report);
        self.screen.wait();
    }

    /// Asks the person at the terminal. Without a terminal the answer is no.
    async fn approve(&self, packages: &[Requirement]) -> bool {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() || !std::io::stderr().is_terminal() {
            let rest = "not installed: there is no terminal to ask at; use --allow-package NAME or \
                        --install any";
            self.line(NOTE, "note:", rest);
            return false;
        }
        let question = format!("install {}? [y/N] ", one_line(&joined(packages)));
        self.screen.send(Message::Question(question));
        let answer = tokio::task::spawn_blocking(move || {
            let mut answer = String::new();
            stdin.read_line(&mut answer).map(|_| answer.trim().to_lowercase())
        });
        matches!(answer.await, Ok(Ok(answer)) if answer == "y" || answer == "yes")
    }
}

fn joined(packages: &[Requirement]) -> String {
    packages.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
