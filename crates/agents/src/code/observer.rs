//! The observer of a run: emits its events in the chat, and asks for approval of packages.

use std::sync::Arc;

use async_trait::async_trait;
use cellblock_answer::{
    CodeBlock,
    run::{BlockReport, Observer},
};
use cellblock_exec::{Requirement, Stream};
use parking_lot::Mutex;

use crate::{
    approval::{Approval, Verdict},
    context::Context,
    event::Event,
    human::{Human, Proposal},
};

/// Observes a run for a chat.
pub struct RunObserver {
    agent: String,
    context: Context,
    approval: Approval,
    human: Arc<dyn Human>,
    /// For standard output and standard error: the start of a character whose end has not arrived.
    partial: Mutex<[Vec<u8>; 2]>,
    refusals: Mutex<Vec<String>>,
}

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

impl RunObserver {
    pub fn new(agent: &str, context: Context, approval: Approval, human: Arc<dyn Human>) -> Self {
        let (partial, refusals) = Default::default();
        Self { agent: agent.to_owned(), context, approval, human, partial, refusals }
    }

    /// Takes the reasons why packages were not installed, one line each.
    pub fn take_refusals(&self) -> Vec<String> {
        std::mem::take(&mut *self.refusals.lock())
    }

    fn emit_output(&self, stream: Stream, text: String) {
        if !text.is_empty() {
            self.context.emit(|chat| Event::BlockOutput { chat, stream, text });
        }
    }
}

/// The text of the next piece of a stream. A character that is cut off at its end waits in
/// `partial`.
fn next_text(partial: &mut Vec<u8>, piece: &[u8]) -> String {
    partial.extend_from_slice(piece);
    let cut_off =
        partial.utf8_chunks().last().map_or(0, |last| match std::str::from_utf8(last.invalid()) {
            Err(error) if error.error_len().is_none() => last.invalid().len(),
            _ => 0,
        });
    let rest = partial.split_off(partial.len() - cut_off);
    let whole = std::mem::replace(partial, rest);
    String::from_utf8(whole)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn names(packages: &[Requirement]) -> Vec<String> {
    packages.iter().map(ToString::to_string).collect()
}

#[async_trait]
impl Observer for RunObserver {
    fn started(&self, block: &CodeBlock) {
        let language = block.language.as_ref().map_or("unknown", |language| language.as_str());
        self.context.emit(|chat| Event::BlockStarted {
            chat,
            agent: self.agent.clone(),
            index: block.index,
            language: language.to_owned(),
            inferred: block.inferred,
            code: block.code.clone(),
        });
    }

    fn output(&self, stream: Stream, bytes: &[u8]) {
        if self.context.events.is_some() {
            let mut partial = self.partial.lock();
            let text = next_text(&mut partial[usize::from(stream == Stream::Stderr)], bytes);
            drop(partial);
            self.emit_output(stream, text);
        }
    }

    fn installing(&self, packages: &[Requirement]) {
        self.context.emit(|chat| Event::Installing { chat, packages: names(packages) });
    }

    fn installed(&self, packages: &[String]) {
        self.context.emit(|chat| Event::Installed { chat, packages: packages.to_vec() });
    }

    fn finished(&self, report: &mut BlockReport) {
        let rest = std::mem::take(&mut *self.partial.lock());
        for (stream, rest) in STREAMS.into_iter().zip(rest) {
            self.emit_output(stream, String::from_utf8_lossy(&rest).into_owned());
        }
        self.context.emit(|chat| Event::BlockFinished {
            chat,
            agent: self.agent.clone(),
            report: Box::new(report.clone()),
        });
    }

    async fn approve(&self, packages: &[Requirement]) -> bool {
        let names = names(packages);
        let proposal = Proposal::Packages { agent: self.agent.clone(), packages: names.clone() };
        let why = match self.approval.ask(&proposal, self.human.as_ref()).await {
            Ok(Verdict::Approved) => return true,
            Ok(Verdict::Edited(_)) => String::new(),
            Ok(Verdict::Refused { why }) => why,
            Ok(Verdict::Corrected { text }) => {
                self.context.journal.record_human_input(&self.agent, &text);
                text
            }
            Err(error) => format!("no person could be asked: {error}"),
        };
        if !why.is_empty() {
            self.refusals.lock().push(format!("{} was not installed: {why}", names.join(", ")));
        }
        false
    }
}

#[cfg(test)]
mod tests;
