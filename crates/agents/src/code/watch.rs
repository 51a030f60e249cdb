//! Turns what happens in a run into events of the chat, and asks about packages.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use cellblock_answer::{
    CodeBlock,
    run::{BlockReport, Observer},
};
use cellblock_exec::{Requirement, Stream};

use super::{Approval, Verdict};
use crate::{
    context::Context,
    event::Event,
    human::{Human, Proposal},
};

/// Watches a run for the chat.
pub(crate) struct Watch {
    agent: String,
    context: Context,
    approval: Approval,
    human: Arc<dyn Human>,
    /// Of standard output and standard error: the beginning of a character whose end has not come yet.
    partial: Mutex<[Vec<u8>; 2]>,
    /// What was said about packages that are not to be installed.
    refusals: Mutex<Vec<String>>,
}

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

impl Watch {
    pub(crate) fn new(
        agent: &str,
        context: Context,
        approval: Approval,
        human: Arc<dyn Human>,
    ) -> Self {
        let (partial, refusals) = Default::default();
        Self { agent: agent.to_owned(), context, approval, human, partial, refusals }
    }

    /// What was said about packages that are not to be installed, a line each.
    pub(crate) fn refusals(&self) -> Vec<String> {
        std::mem::take(&mut *self.refusals.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn wrote(&self, stream: Stream, text: String) {
        if !text.is_empty() {
            self.context.emit(|chat| Event::BlockOutput { chat, stream, text });
        }
    }
}

/// The text of the next piece of a stream, without a character that is cut off at its end: that waits in `partial`.
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
impl Observer for Watch {
    fn started(&self, block: &CodeBlock) {
        self.context.emit(|chat| Event::BlockStarted {
            chat,
            agent: self.agent.clone(),
            index: block.index,
            language: block
                .language
                .as_ref()
                .map_or("unknown", |language| language.as_str())
                .to_owned(),
            inferred: block.inferred,
            code: block.code.clone(),
        });
    }

    fn output(&self, stream: Stream, bytes: &[u8]) {
        if self.context.events.is_some() {
            let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
            let text = next_text(&mut partial[usize::from(stream == Stream::Stderr)], bytes);
            drop(partial);
            self.wrote(stream, text);
        }
    }

    fn installing(&self, packages: &[Requirement]) {
        self.context.emit(|chat| Event::Installing { chat, packages: names(packages) });
    }

    fn installed(&self, packages: &[String]) {
        self.context.emit(|chat| Event::Installed { chat, packages: packages.to_vec() });
    }

    fn finished(&self, report: &mut BlockReport) {
        let report = &*report;
        let rest =
            std::mem::take(&mut *self.partial.lock().unwrap_or_else(PoisonError::into_inner));
        for (stream, rest) in STREAMS.into_iter().zip(rest) {
            self.wrote(stream, String::from_utf8_lossy(&rest).into_owned());
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
            Ok(Verdict::Go) => return true,
            Ok(Verdict::Edited(_)) => String::new(),
            Ok(Verdict::Refused { why }) => why,
            Ok(Verdict::Corrected { text }) => {
                self.context.journal.heard(&self.agent, &text);
                text
            }
            Err(error) => format!("nobody could be asked: {error}"),
        };
        if !why.is_empty() {
            let refusal = format!("{} was not installed: {why}", names.join(", "));
            self.refusals.lock().unwrap_or_else(PoisonError::into_inner).push(refusal);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use cellblock_answer::run::BlockReport;
    use cellblock_exec::Outcome;

    use super::*;
    use crate::human::Nobody;

    /// What is told of pieces of the two streams.
    fn told(pieces: &[(Stream, &[u8])]) -> (String, String) {
        let (events, mut heard) = crate::event::channel();
        let context = Context::new(
            "chat".into(),
            Default::default(),
            Some(events),
            Default::default(),
            Default::default(),
        );
        let watch = Watch::new("user", context, Approval::Never, Arc::new(Nobody));
        for (stream, bytes) in pieces {
            watch.output(*stream, bytes);
        }
        watch.finished(&mut BlockReport::not_run(
            &CodeBlock::default(),
            Outcome::Exited { code: 0 },
        ));
        let (mut out, mut err) = (String::new(), String::new());
        while let Ok(event) = heard.try_recv() {
            if let Event::BlockOutput { stream, text, .. } = event {
                assert!(!text.is_empty());
                if stream == Stream::Stdout { &mut out } else { &mut err }.push_str(&text);
            }
        }
        (out, err)
    }

    #[test]
    fn characters_may_be_cut_anywhere() {
        let text = "aé🦀世\n";
        let (one, two): (Vec<_>, Vec<_>) =
            (text.bytes().map(|byte| [byte]).collect(), "é🦀".bytes().map(|byte| [byte]).collect());
        // The two streams in turn: each keeps what is its own.
        let mut pieces: Vec<(Stream, &[u8])> = Vec::new();
        for (place, piece) in one.iter().enumerate() {
            pieces.push((Stream::Stdout, piece));
            pieces.extend(two.get(place).map(|piece| (Stream::Stderr, &piece[..])));
        }
        assert_eq!(told(&pieces), (text.to_owned(), "é🦀".to_owned()));
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        let (out, err) = told(&[
            (Stream::Stdout, b"a\xffb"),
            (Stream::Stdout, b"c"),
            (Stream::Stderr, "é".as_bytes()),
        ]);
        assert_eq!((out.as_str(), err.as_str()), ("a\u{fffd}bc", "é"));
        // A character whose end never comes.
        assert_eq!(told(&[(Stream::Stdout, b"x\xf0\x9f")]).0, "x\u{fffd}");
    }
}
