//! The output of the newest code since the agent last spoke, run in its session.

use std::{collections::BTreeMap, sync::Arc};

use cellblock_answer::{
    CodeBlock, code_blocks,
    run::{RunOptions, RunReport, run_blocks_in},
};
use cellblock_exec::{Artifact, HostTools, InputFile, Session, workspace::artifact_path};
use tracing::Instrument as _;

use super::turn::{AgentAnswer, View, WorkOutcome};
use crate::{
    approval::Verdict,
    code::{
        CodeExecution, RunObserver, edited_note, exit_status, is_work, not_run, report_message,
    },
    error::{Error, Result},
    human::Proposal,
    message::{Content, Message, Part},
    record::PendingWork,
    tool::{Caller, MAX_RECORDED_CALLS, ToolsForCode},
};

/// Runs the newest code since the agent last spoke, if it runs code and there is some. The code
/// counts as done as soon as it was looked at, whatever the outcome.
pub async fn run_code(
    view: &View<'_>,
    session: &mut Option<Box<dyn Session>>,
) -> Result<Option<AgentAnswer>> {
    let agent = view.agent();
    let Some(code) = &agent.code else { return Ok(None) };
    let Some(blocks) = newest_code(view) else { return Ok(None) };
    let say = |message| Some(AgentAnswer { code_done: true, ..AgentAnswer::say(message) });
    let proposal = Proposal::Code { agent: agent.name.clone(), blocks: blocks.clone() };
    let verdict = code
        .approval
        .ask(&proposal, agent.human.as_ref())
        .await
        .map_err(|source| Error::Human { agent: agent.name.clone(), source })?;
    let (blocks, is_edited) = match verdict {
        Verdict::Approved => (blocks, false),
        Verdict::Edited(blocks) => (blocks, true),
        Verdict::Refused { why } => return Ok(say(not_run(&agent.name, &why))),
        Verdict::Corrected { text } => {
            view.context.journal.record_human_input(&agent.name, &text);
            return Ok(say(Message::new(agent.name.as_str(), text)));
        }
    };
    let span = tracing::info_span!(
        "execute_code",
        otel.name = format!("execute_code {}", code.executor.name()),
        gen_ai.agent.name = agent.name,
        gen_ai.conversation.id = &*view.context.chat,
        cellblock.executor = code.executor.name(),
        cellblock.blocks = blocks.len(),
    );
    // Boxed, so that turns without code do not carry its state.
    let running = Box::pin(run_blocks(view, code, session, &blocks));
    let (mut message, work) = running.instrument(span).await?;
    if is_edited {
        // The author of the code has to know what ran, and the history has to contain it.
        message.content = append(message.content, &edited_note(&blocks, code.max_output_bytes));
    }
    Ok(say(message).map(|answer| AgentAnswer { work: Some(work), ..answer }))
}

/// The blocks of the newest message with code that has not run, after the agent's own last message.
fn newest_code(view: &View<'_>) -> Option<Vec<CodeBlock>> {
    let new = &view.history[view.code_done.min(view.history.len())..];
    new.iter()
        .rev()
        .take_while(|message| message.name != view.agent().name)
        .map(|message| code_blocks(&message.text()))
        .find(|blocks| blocks.iter().any(is_work))
}

async fn run_blocks(
    view: &View<'_>,
    code: &CodeExecution,
    session: &mut Option<Box<dyn Session>>,
    blocks: &[CodeBlock],
) -> Result<(Message, WorkOutcome)> {
    let (agent, context) = (view.agent(), view.context);
    let opened = match session {
        Some(opened) => opened,
        None => session.insert(open_session(view, code).await?),
    };
    // Not before: code that never started may run when the chat is resumed.
    context.journal.record_work_start(PendingWork::Code(agent.name.clone()))?;
    let (approval, human) = (code.approval.clone(), agent.human.clone());
    let observer = Arc::new(RunObserver::new(&agent.name, context.clone(), approval, human));
    let tools = tools_for_code(view, code);
    let options = RunOptions {
        workspace_paths: code.session.files.iter().map(|file| file.path.clone()).collect(),
        install: code.install.clone(),
        retries: code.retries,
        host: tools.clone().map(|tools| tools as Arc<dyn HostTools>),
        cancel: context.cancel.clone(),
        ..RunOptions::default()
    };
    let report =
        run_blocks_in(opened.as_mut(), code.executor.as_ref(), blocks, &options, observer.clone())
            .await;
    if report.error.is_some() {
        // The sandbox failed. The next code gets a new one.
        *session = None;
    }
    let saved = saved_blocks(blocks, &report);
    let is_success = exit_status(&report) == 0;
    let refusals = observer.take_refusals();
    let (max_bytes, max_images) = (code.max_output_bytes, code.max_images);
    let mut message = report_message(&agent.name, report, &refusals, max_bytes, max_images);
    let work = match is_success {
        true => WorkOutcome::Succeeded,
        false => WorkOutcome::Failed(message.text().into_owned()),
    };
    message.artifacts.extend(saved);
    let calls = tools.map_or(0, |tools| tools.calls());
    if calls > MAX_RECORDED_CALLS {
        let more = calls - MAX_RECORDED_CALLS;
        let note = format!("\nnote: {more} more tool calls are not in the record");
        message.content = append(message.content, &note);
    }
    Ok((message, work))
}

fn tools_for_code(view: &View<'_>, code: &CodeExecution) -> Option<Arc<ToolsForCode>> {
    if code.tools.is_empty() {
        return None;
    }
    let human = &view.agent().human;
    let caller = Caller {
        agent: view.agent().name.clone(),
        context: view.context.clone(),
        human: human.clone(),
        from_code: true,
    };
    let (tools, approval) = (code.tools.clone(), code.approval.clone());
    Some(Arc::new(ToolsForCode::new(tools, approval, human.clone(), caller)))
}

/// Opens the agent's session. It has the files of an earlier session: the chat was resumed, or the
/// sandbox failed.
async fn open_session(view: &View<'_>, code: &CodeExecution) -> Result<Box<dyn Session>> {
    let agent = view.agent();
    let mut spec = code.session.clone();
    let files = files_made(view.sent, &agent.name);
    spec.files.retain(|file| files.iter().all(|newer| newer.path != file.path));
    spec.files.extend(files);
    code.executor
        .open(spec)
        .await
        .map_err(|source| Error::Code { agent: agent.name.clone(), source })
}

/// The newest versions of the files that code of an agent has created. A file that was too large to
/// save is not among them, nor one of a foreign log with a name that is invalid in a workspace.
fn files_made(history: &[Message], agent: &str) -> Vec<InputFile> {
    let own = history.iter().filter(|message| message.name == agent);
    let is_whole = |artifact: &&Artifact| {
        artifact.content.len() as u64 == artifact.bytes
            && artifact_path(artifact.path.as_bytes()).is_ok()
    };
    let files: BTreeMap<_, _> = own
        .flat_map(|message| message.artifacts.iter().filter(is_whole))
        .map(|artifact| (artifact.path.clone(), artifact.content.clone()))
        .collect();
    files.into_iter().map(|(path, content)| InputFile { path, content }).collect()
}

/// The blocks that were saved under names of their own, for a later session, if the names are valid
/// for artifacts. The model does not hear of them: it chose the names.
fn saved_blocks(blocks: &[CodeBlock], report: &RunReport) -> Vec<Artifact> {
    let is_made = |path: &String| {
        report.blocks.iter().flat_map(|ran| &ran.artifacts).any(|made| made.path == *path)
    };
    let ran = blocks.iter().zip(&report.blocks).filter(|(_, ran)| ran.executor.is_some());
    let named = ran.filter_map(|(block, _)| {
        Some((block.filename.clone().filter(|path| !is_made(path))?, &block.code))
    });
    let artifact = |(path, code): (String, &String)| {
        let path = artifact_path(path.as_bytes()).ok()?;
        Some(Artifact::new(path, Arc::new(code.clone().into_bytes())))
    };
    named.filter_map(artifact).collect()
}

fn append(content: Content, text: &str) -> Content {
    match content {
        Content::Text(before) => Content::Text(before + text),
        Content::Parts(mut parts) => {
            parts.push(Part::Text { text: text.to_owned() });
            Content::Parts(parts)
        }
    }
}
