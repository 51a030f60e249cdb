//! The results of the tool calls in the last message.

use std::sync::Arc;

use super::turn::{AgentAnswer, View, WorkOutcome};
use crate::{
    agent::Agent,
    approval::Approval,
    chat::Chat,
    error::Result,
    human::Human,
    message::Message,
    record::PendingWork,
    tool::{CallRules, Caller, Tool, make_calls, record_of},
};

/// Makes the tool calls of the last message. The agent that answers makes them for the one that
/// asked.
pub async fn call_tools(view: &View<'_>) -> Result<Option<AgentAnswer>> {
    let View { chat, context, .. } = *view;
    let Some(last) = view.last().filter(|last| !last.tool_calls.is_empty()) else {
        return Ok(None);
    };
    let (agent, calls) = (view.agent(), &last.tool_calls);
    let asker = chat.find(&last.name).map(|place| &chat.agents[place]);
    // The tools belong to the one that asked; the one that answers may replace them with its own.
    let asked_tools = asker.map(|asker| asker.tools.as_slice()).unwrap_or_default();
    let tools: Vec<Arc<dyn Tool>> = agent.tools.iter().chain(asked_tools).cloned().collect();
    context.journal.record_work_start(PendingWork::Tools(agent.name.clone()))?;
    // An agent that runs no code has no rule: a tool that needs approval then asks the person.
    let code = agent.code.as_ref().or_else(|| asker.and_then(|asker| asker.code.as_ref()));
    let always = Approval::Always;
    let approval = code.map_or(&always, |code| &code.approval);
    let rules = CallRules { tools: &tools, approval, human: agent.human.as_ref() };
    let caller_agent = asker.unwrap_or(agent);
    let name = &caller_agent.name;
    let caller = Caller {
        agent: name.clone(),
        context: context.clone(),
        human: person_of(chat, [agent, caller_agent]),
        from_code: false,
    };
    // Boxed, so that turns without calls do not carry their state.
    let results = Box::pin(make_calls(calls, rules, &caller)).await;
    let records =
        calls.iter().zip(&results).map(|(call, result)| record_of(name, call, result, false));
    context.journal.record_tool_calls(records.collect())?;
    let work = Some(WorkOutcome::of_results(&results));
    let message = Message { tool_results: results, ..Message::new(agent.name.as_str(), "") };
    Ok(Some(AgentAnswer { work, ..AgentAnswer::say(message) }))
}

/// The person for chats that a tool holds: the one behind one of these agents, or else any person
/// in the chat. In a group an agent may have to call its own tools while the person stands behind
/// another one.
fn person_of(chat: &Chat, first: [&Agent; 2]) -> Arc<dyn Human> {
    let mut agents = first.into_iter().chain(&chat.agents);
    agents.find(|agent| agent.human.is_present()).unwrap_or(first[0]).human.clone()
}
