//! Agents and models for the chats of tests.

use std::sync::Arc;

use async_trait::async_trait;
use cellblock_agents::scripted::{ScriptedAnswer, ScriptedModel};
use cellblock_agents::{
    Agent, ChatResult, CodeExecution, CustomReply, HumanInputMode, Message, Reply, Result, Turn,
};
use cellblock_exec::Executor;
use tokio::sync::Barrier;

/// An agent without a model that always gives the same answer and asks nobody.
pub fn says(name: &str, reply: &str) -> Agent {
    Agent {
        default_reply: reply.to_owned(),
        human_input: HumanInputMode::Never,
        ..Agent::new(name)
    }
}

/// An agent without a model that says these lines in order, and then one that a test recognizes.
pub fn recites<const N: usize>(name: &str, lines: [&str; N]) -> Agent {
    let lines = std::sync::Mutex::new(lines.map(str::to_owned).into_iter());
    let next = move |_: &[_]| {
        Some(lines.lock().unwrap().next().unwrap_or("(no more lines)".to_owned()).into())
    };
    let mut replies = vec![Reply::Human, Reply::custom(next)];
    replies.extend(Reply::ORDER);
    Agent { replies, human_input: HumanInputMode::Never, ..Agent::new(name) }
}

/// A model with a script.
pub fn script<A: Into<ScriptedAnswer>>(answers: impl IntoIterator<Item = A>) -> Arc<ScriptedModel> {
    Arc::new(ScriptedModel::new("scripted", answers))
}

/// An assistant with a scripted model.
pub fn writes<A: Into<ScriptedAnswer>>(name: &str, answers: impl IntoIterator<Item = A>) -> Agent {
    Agent::assistant(name, script(answers))
}

/// An agent that runs code and asks nobody.
pub fn runs(name: &str, executor: impl Executor + 'static) -> Agent {
    Agent {
        code: Some(CodeExecution::new(Arc::new(executor))),
        human_input: HumanInputMode::Never,
        ..Agent::new(name)
    }
}

/// A message with a block of Python.
pub fn python(code: &str) -> String {
    format!("Run this:\n\n```python\n{code}\n```\n")
}

/// The texts of a chat, in order.
pub fn texts(result: &ChatResult) -> Vec<String> {
    result.history.iter().map(|message| message.text().into_owned()).collect()
}

/// The speakers of a chat, in order.
pub fn names(result: &ChatResult) -> Vec<&str> {
    result.history.iter().map(|message| message.name.as_str()).collect()
}

/// The last text of a chat.
pub fn last(result: &ChatResult) -> String {
    result.history.last().unwrap().text().into_owned()
}

/// An agent that only answers when as many agents are about to answer as the barrier counts.
pub fn meets(name: &str, barrier: &Arc<Barrier>) -> Agent {
    Agent { replies: vec![Reply::Custom(Arc::new(Meets(barrier.clone())))], ..says(name, "") }
}

struct Meets(Arc<Barrier>);

#[async_trait]
impl CustomReply for Meets {
    async fn reply(&self, turn: &Turn<'_>) -> Result<Option<Message>> {
        self.0.wait().await;
        let asked = turn.messages.last().unwrap().text().into_owned();
        Ok(Some(Message::new(turn.agent.name.as_str(), format!("met for {asked}"))))
    }
}
