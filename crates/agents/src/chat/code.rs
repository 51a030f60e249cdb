//! The newest code since an agent last spoke, run in its session.

use std::sync::{Arc, Mutex, PoisonError};

use cellblock_answer::{
    CodeBlock, code_blocks,
    run::{RunOptions, RunReport, run_blocks_in},
};
use cellblock_exec::{Artifact, SessionSpec, workspace::artifact_path};
use tracing::Instrument as _;

use super::{
    guard::Came,
    keeping::files_made,
    log::Begun,
    running::{Running, Said},
};
use crate::{
    code::{CodeExecution, Verdict, Watch, answer, can_run, edited_note, exit_status, not_run},
    error::{Error, Result},
    human::Proposal,
    message::Message,
    tool::{Caller, MOST_RECORDS, ToolsForCode},
};

impl Running<'_> {
    pub(super) async fn run_code(
        &mut self,
        speaker: usize,
        received: Option<&Message>,
    ) -> Result<Option<Said>> {
        let chat = self.chat;
        let agent = &chat.agents[speaker];
        let Some(code) = &agent.code else { return Ok(None) };
        let Some(blocks) = self.newest_code(&agent.name, received) else { return Ok(None) };
        // Once looked at, the code is done with, whatever comes of it.
        self.code_done = self.history.len();
        let proposal = Proposal::Code { agent: agent.name.clone(), blocks: blocks.clone() };
        let asked = code.approval.ask(&proposal, agent.human.as_ref()).await;
        let mut edited = false;
        let blocks = match asked
            .map_err(|source| Error::Human { agent: agent.name.clone(), source })?
        {
            Verdict::Go => blocks,
            Verdict::Edited(blocks) => {
                edited = true;
                blocks
            }
            Verdict::Refused { why } => return Ok(Some(Said::Message(not_run(&agent.name, &why)))),
            Verdict::Corrected { text } => {
                self.context.journal.heard(&agent.name, &text);
                return Ok(Some(Said::Message(Message::new(agent.name.as_str(), text))));
            }
        };
        let span = tracing::info_span!(
            "execute_code",
            otel.name = format!("execute_code {}", code.executor.name()),
            gen_ai.agent.name = agent.name,
            gen_ai.conversation.id = &*self.context.chat,
            cellblock.executor = code.executor.name(),
            cellblock.blocks = blocks.len(),
        );
        let mut message = self.run_blocks(speaker, code, &blocks).instrument(span).await?;
        if edited {
            // Who wrote the code has to know what ran, and the history has to keep it.
            message.content = append(message.content, &edited_note(&blocks, code.output_bytes));
        }
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
        since
            .into_iter()
            .map(|message| code_blocks(&message.text()))
            .find(|blocks| blocks.iter().any(can_run))
    }

    async fn run_blocks(
        &mut self,
        speaker: usize,
        code: &CodeExecution,
        blocks: &[CodeBlock],
    ) -> Result<Message> {
        let agent = &self.chat.agents[speaker];
        let state = &mut self.states[speaker];
        let session = match &mut state.session {
            Some(session) => session,
            empty => {
                let mut spec: SessionSpec = code.session.clone();
                // What an earlier session made is there again: the chat was resumed, or the sandbox lost.
                let files = files_made(&self.history, &agent.name);
                spec.files.retain(|file| files.iter().all(|newer| newer.path != file.path));
                spec.files.extend(files);
                let opened = code.executor.open(spec).await;
                let session =
                    opened.map_err(|source| Error::Code { agent: agent.name.clone(), source })?;
                empty.insert(Mutex::new(session))
            }
        };
        let session = session.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Not before: code that never began may run when the chat goes on.
        self.context.journal.begin(Begun::Code(agent.name.clone()))?;
        let (context, human) = (self.context.clone(), agent.human.clone());
        let watch = Arc::new(Watch::new(
            &agent.name,
            context.clone(),
            code.approval.clone(),
            human.clone(),
        ));
        let caller =
            Caller { agent: agent.name.clone(), context, human: human.clone(), from_code: true };
        let tools = (!code.tools.is_empty()).then(|| {
            Arc::new(ToolsForCode::new(code.tools.clone(), code.approval.clone(), human, caller))
        });
        let options = RunOptions {
            workspace_paths: code.session.files.iter().map(|file| file.path.clone()).collect(),
            install: code.install.clone(),
            retries: code.retries,
            host: tools.clone().map(|tools| tools as Arc<dyn cellblock_exec::HostTools>),
            cancel: self.context.cancel.clone(),
            ..RunOptions::default()
        };
        let report = run_blocks_in(
            session.as_mut(),
            code.executor.as_ref(),
            blocks,
            &options,
            watch.clone(),
        )
        .await;
        if report.error.is_some() {
            // The sandbox broke. The next code gets a new one.
            state.session = None;
        }
        let saved = saved_blocks(blocks, &report);
        let status = exit_status(&report);
        let mut message =
            answer(&agent.name, report, &watch.refusals(), code.output_bytes, code.images);
        self.came =
            if status == 0 { Came::Well } else { Came::Failed(message.text().into_owned()) };
        message.artifacts.extend(saved);
        let calls = tools.map_or(0, |tools| tools.calls());
        if calls > MOST_RECORDS {
            let more = format!(
                "\nnote: {} more calls of tools are not in the record",
                calls - MOST_RECORDS
            );
            message.content = append(message.content, &more);
        }
        Ok(message)
    }
}

/// The blocks that were saved under names of their own, for a session to come, where the names are
/// those of artifacts. The model is not told: it named them.
fn saved_blocks(blocks: &[CodeBlock], report: &RunReport) -> Vec<Artifact> {
    let made = |path: &String| {
        report.blocks.iter().flat_map(|ran| &ran.artifacts).any(|made| made.path == *path)
    };
    let ran = blocks.iter().zip(&report.blocks).filter(|(_, ran)| ran.executor.is_some());
    let named = ran.filter_map(|(block, _)| {
        Some((block.filename.clone().filter(|path| !made(path))?, &block.code))
    });
    let artifact = |(path, code): (String, &String)| {
        let path = artifact_path(path.as_bytes()).ok()?;
        Some(Artifact::new(path, Arc::new(code.clone().into_bytes())))
    };
    named.filter_map(artifact).collect()
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
