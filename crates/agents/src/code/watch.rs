//! Turns what happens in a run into events of the chat, and asks about packages.

use std::sync::Arc;

use async_trait::async_trait;
use cellblock_exec::{
    CodeBlock, Requirement, Stream,
    run::{BlockReport, Observer},
};

use super::{Approval, Verdict};
use crate::{
    context::Context,
    event::Event,
    human::{Human, Proposal},
};

/// Watches a run for the chat.
pub(crate) struct Watch {
    pub(crate) agent: String,
    pub(crate) context: Context,
    pub(crate) approval: Approval,
    pub(crate) human: Arc<dyn Human>,
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
            language: block.language.as_ref().map_or("unknown", |language| language.as_str()).to_owned(),
            inferred: block.inferred,
            code: block.code.clone(),
        });
    }

    fn output(&self, stream: Stream, bytes: &[u8]) {
        let text = || String::from_utf8_lossy(bytes).into_owned();
        self.context.emit(|chat| Event::BlockOutput { chat, stream, text: text() });
    }

    fn installing(&self, packages: &[Requirement]) {
        self.context.emit(|chat| Event::Installing { chat, packages: names(packages) });
    }

    fn installed(&self, packages: &[String]) {
        self.context.emit(|chat| Event::Installed { chat, packages: packages.to_vec() });
    }

    fn finished(&self, report: &mut BlockReport) {
        let report = &*report;
        self.context.emit(|chat| Event::BlockFinished { chat, agent: self.agent.clone(), report: report.clone() });
    }

    async fn approve(&self, packages: &[Requirement]) -> bool {
        let proposal = Proposal::Packages { agent: self.agent.clone(), packages: names(packages) };
        matches!(self.approval.ask(&proposal, self.human.as_ref()).await, Ok(Verdict::Go))
    }
}
