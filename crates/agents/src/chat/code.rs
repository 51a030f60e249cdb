//! The newest code since an agent last spoke, run in its session.

use std::sync::{Arc, Mutex, PoisonError};

use cellblock_exec::{
    CodeBlock, SessionSpec, code_blocks,
    run::{RunOptions, run_blocks_in},
};
use tracing::Instrument as _;

use super::{
    log::Begun,
    running::{Running, Said},
};
use crate::{
    code::{CodeExecution, Verdict, Watch, answer, not_run},
    error::{Error, Result},
    human::Proposal,
    message::Message,
    tool::{Caller, ToolsForCode},
};

/// What a model is told of code that was running when the chat stopped.
const CUT_OFF: &str = "exitcode: 1 (execution failed)\nCode output: \nnote: the chat was interrupted while this code ran. It may \
    have had its effect in part, and was not run again. Variables and imports are lost; files of earlier blocks are there.";

impl Running<'_> {
    pub(super) async fn run_code(&mut self, speaker: usize, received: Option<&Message>) -> Result<Option<Said>> {
        let chat = self.chat;
        let agent = &chat.agents[speaker];
        let Some(code) = &agent.code else { return Ok(None) };
        let Some(blocks) = self.newest_code(&agent.name, received) else { return Ok(None) };
        // Once looked at, the code is done with, whatever comes of it.
        self.code_done = self.history.len();
        if matches!(self.interrupted.take(), Some(Begun::Code)) {
            return Ok(Some(Said::Message(Message::new(agent.name.as_str(), CUT_OFF))));
        }
        let proposal = Proposal::Code { agent: agent.name.clone(), blocks: blocks.clone() };
        let blocks = match code.approval.ask(&proposal, agent.human.as_ref()).await {
            Verdict::Go => blocks,
            Verdict::Edited(edited) => edited,
            Verdict::Refused { why } => return Ok(Some(Said::Message(not_run(&agent.name, &why)))),
            Verdict::Corrected { text } => {
                self.heard(&text)?;
                return Ok(Some(Said::Message(Message::new(agent.name.as_str(), text))));
            }
        };
        self.begin(Begun::Code)?;
        let span = tracing::info_span!(
            "execute_code",
            otel.name = format!("execute_code {}", code.executor.name()),
            gen_ai.agent.name = agent.name,
            gen_ai.conversation.id = &*self.context.chat,
            cellblock.executor = code.executor.name(),
            cellblock.blocks = blocks.len(),
        );
        let message = self.run_blocks(speaker, code, &blocks).instrument(span).await?;
        Ok(Some(Said::Message(message)))
    }

    /// The blocks of the newest message with code of which nothing was run yet, up to this agent's own last message.
    fn newest_code(&self, agent: &str, received: Option<&Message>) -> Option<Vec<CodeBlock>> {
        let new = &self.history[self.code_done.min(self.history.len())..];
        let last = new.len().checked_sub(1);
        let messages = new.iter().enumerate().map(|(place, message)| match received {
            Some(changed) if Some(place) == last => changed,
            _ => message,
        });
        let since: Vec<_> = messages.rev().take_while(|message| message.name != agent).collect();
        since.into_iter().map(|message| code_blocks(&message.text())).find(|blocks| blocks.iter().any(can_run))
    }

    async fn run_blocks(&mut self, speaker: usize, code: &CodeExecution, blocks: &[CodeBlock]) -> Result<Message> {
        let agent = &self.chat.agents[speaker];
        let state = &mut self.states[speaker];
        let session = match &mut state.session {
            Some(session) => session,
            empty => {
                let mut spec: SessionSpec = code.session.clone();
                let files = std::mem::take(&mut state.files);
                spec.files.retain(|file| files.iter().all(|newer| newer.path != file.path));
                spec.files.extend(files);
                let opened = code.executor.open(spec).await;
                let session = opened.map_err(|source| Error::Code { agent: agent.name.clone(), source })?;
                empty.insert(Mutex::new(session))
            }
        };
        let session = session.get_mut().unwrap_or_else(PoisonError::into_inner);
        let watch = Watch {
            agent: agent.name.clone(),
            context: self.context.clone(),
            approval: code.approval.clone(),
            human: agent.human.clone(),
        };
        let caller = Caller { agent: agent.name.clone(), context: self.context.clone(), from_code: true };
        let tools = (!code.tools.is_empty()).then(|| {
            Arc::new(ToolsForCode::new(code.tools.clone(), code.approval.clone(), agent.human.clone(), caller))
        });
        let options = RunOptions {
            session: code.session.clone(),
            install: code.install.clone(),
            retries: code.retries,
            host: tools.clone().map(|tools| tools as Arc<dyn cellblock_exec::HostTools>),
            cancel: self.context.cancel.clone(),
            ..RunOptions::default()
        };
        let report = run_blocks_in(session.as_mut(), code.executor.as_ref(), blocks, &options, Arc::new(watch)).await;
        if report.error.is_some() {
            // The sandbox broke. The next code gets a new one.
            state.session = None;
        }
        let mut message = answer(&agent.name, report, code.output_bytes, code.images);
        if let Some(tools) = tools {
            let (records, calls) = tools.records();
            if calls > records.len() {
                let more = format!("\nnote: {} more calls of tools are not in the record", calls - records.len());
                message.content = append(message.content, &more);
            }
            self.called(records)?;
        }
        Ok(message)
    }
}

/// Whether a block is there to be run, or at least to be refused by name: data that is only there to be read is no code.
fn can_run(block: &CodeBlock) -> bool {
    let is_program = block.language.as_ref().is_none_or(|language| language.is_program());
    is_program || block.filename.is_some() || block.refused_filename.is_some()
}

fn append(content: crate::message::Content, text: &str) -> crate::message::Content {
    use crate::message::{Content, Part};
    match content {
        Content::Text(before) => Content::Text(before + text),
        Content::Parts(mut parts) => {
            parts.push(Part::Text { text: text.to_owned() });
            Content::Parts(parts)
        }
    }
}
