//! A run as people watch it.
//!
//! The queue to the screen holds at most what the output limit lets through for one block.

use std::{io::IsTerminal as _, time::Instant};

use anstyle::Style as Colour;
use async_trait::async_trait;
use cellblock_answer::{
    CodeBlock,
    run::{BlockReport, ErrorReport, Observer, RunReport},
};
use cellblock_exec::{Outcome, Requirement, Stream};
use tokio_util::sync::CancellationToken;

use super::{
    BAD, GOOD, HEADER, NOTE,
    artifacts::Artifacts,
    outcome,
    sanitize::one_line,
    screen::{Message, Screen},
};
use crate::{failure, units};

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

/// Shows a run and stores its artifacts.
pub struct Console {
    style: Style,
    /// Bytes that are kept of each stream of a block; what comes later is not shown while it arrives.
    output_limit: u64,
    blocks: usize,
    start: Instant,
    screen: Screen,
    artifacts: Artifacts,
}

/// Why a run that has a report ends otherwise than the report says.
pub struct Ended {
    /// The exit status.
    pub code: u8,
    /// The failure, when it is for the report.
    pub error: Option<ErrorReport>,
}

impl Console {
    /// Starts the screen, which cancels the run when nobody reads any more.
    pub fn start(
        style: Style,
        artifacts: Artifacts,
        output_limit: u64,
        blocks: usize,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            style,
            output_limit,
            blocks,
            start: Instant::now(),
            screen: Screen::start(cancel),
            artifacts,
        }
    }

    fn line(&self, colour: Colour, start: &str, rest: &str) {
        if self.style != Style::Silent {
            self.screen.line(colour, start, rest);
        }
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
        self.line(
            NOTE,
            "note:",
            &format!("{dropped} of {name} were dropped; --output-limit keeps more; its end is:"),
        );
        self.screen.send(Message::Output(stream, text.as_bytes()[from..].to_vec()));
    }

    /// Writes the artifacts of a block, takes their contents out of its report, and tells where they are.
    fn store(&self, report: &mut BlockReport) {
        let screen = (self.style != Style::Silent).then_some(&self.screen);
        let notes = self.artifacts.store(report, "", screen);
        report.notes.extend(notes);
        for artifact in &mut report.artifacts {
            artifact.content = Default::default();
        }
    }

    /// Shows the closing line, waits until all is written, and says what the report does not know.
    pub fn finish(&self, report: &RunReport) -> Option<Ended> {
        if self.style == Style::Answer {
            let colour = if report.exit_code == 0 { GOOD } else { BAD };
            let seconds = self.start.elapsed().as_secs_f64();
            let files = self.artifacts.summary();
            let rest =
                format!("in {seconds:.1} s{}{files}", if files.is_empty() { "" } else { "; " });
            self.line(colour, &outcome::summary(report), &rest);
        }
        if let Err(error) = self.screen.finish() {
            if failure::is_broken_pipe(&error) {
                return Some(Ended { code: failure::NO_READER, error: None });
            }
            return Some(Ended { code: failure::FAILED, error: Some(ErrorReport::new(&error)) });
        }
        self.artifacts.failure().map(|error| Ended { code: failure::FAILED, error: Some(error) })
    }
}

#[async_trait]
impl Observer for Console {
    fn started(&self, block: &CodeBlock) {
        if self.style == Style::Answer {
            let language =
                block.language.as_ref().map_or("no language", |language| language.as_str());
            let inferred = if block.inferred { " (inferred)" } else { "" };
            let name = block.filename.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
            let place = format!("[{}/{}]", block.index + 1, self.blocks);
            self.line(HEADER, &place, &format!("{language}{inferred}{name}, line {}", block.line));
        }
    }

    fn output(&self, stream: Stream, bytes: &[u8]) {
        if self.style != Style::Silent && !bytes.is_empty() {
            self.screen.send(Message::Output(stream, bytes.to_vec()));
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
        if report.sandbox_failed {
            self.line(NOTE, "note:", "the sandbox failed in this block");
        }
        let quiet = report.outcome == Outcome::Skipped
            && outcome::is_data(report)
            && !report.notes.is_empty();
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
        self.screen.wait();
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
        self.screen.send(Message::Question(format!("install {}? [y/N] ", one_line(&names))));
        let answer = tokio::task::spawn_blocking(move || {
            let mut answer = String::new();
            stdin.read_line(&mut answer).map(|_| answer)
        });
        matches!(answer.await, Ok(Ok(answer)) if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
    }
}
