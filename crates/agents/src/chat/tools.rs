//! The tool calls of a message, made by whoever answers it.

use std::sync::Arc;

use super::{
    guard::Came,
    log::Begun,
    running::{Running, Said},
};
use crate::{
    agent::Agent,
    code::Approval,
    error::Result,
    human::Human,
    message::Message,
    tool::{Call, Caller, Tool, answer_all, record},
};

impl Running<'_> {
    pub(super) async fn call_tools(
        &mut self,
        speaker: usize,
        received: Option<&Message>,
    ) -> Result<Option<Said>> {
        let Some(last) = received.or(self.history.last()) else { return Ok(None) };
        if last.tool_calls.is_empty() {
            return Ok(None);
        }
        let (agent, calls) = (&self.chat.agents[speaker], last.tool_calls.clone());
        let asks = self.chat.find(&last.name).map(|place| &self.chat.agents[place]);
        // Tools belong to who was offered them; whoever answers may have their own in their place.
        let theirs = asks.map(|asks| asks.tools.as_slice()).unwrap_or_default();
        let tools: Vec<Arc<dyn Tool>> = agent.tools.iter().chain(theirs).cloned().collect();
        self.context.journal.begin(Begun::Tools(agent.name.clone()))?;
        // Who runs no code has no rule of who agrees; a tool that asks for approval then gets a person's.
        let always = Approval::Always;
        let code = agent.code.as_ref().or_else(|| asks.and_then(|asks| asks.code.as_ref()));
        let approval = code.map_or(&always, |code| &code.approval);
        let with = Call { tools: &tools, approval, human: &agent.human };
        let name = asks.unwrap_or(agent).name.clone();
        let human = self.person_of([agent, asks.unwrap_or(agent)]);
        let caller =
            Caller { agent: name.clone(), context: self.context.clone(), human, from_code: false };
        let results = answer_all(&calls, with, &caller).await;
        let records =
            calls.iter().zip(&results).map(|(call, result)| record(&name, call, result, false));
        self.context.journal.called(records.collect())?;
        self.came = Came::of(&results);
        Ok(Some(Said::Message(Message {
            name: agent.name.clone(),
            tool_results: results,
            ..Message::default()
        })))
    }
    /// Who is asked in chats that a tool holds: the person behind one of these, or else whoever is there in the chat. In a
    /// group an agent may have to call its own tools, and the person stands behind another one.
    fn person_of(&self, first: [&Agent; 2]) -> Arc<dyn Human> {
        let mut agents = first.into_iter().chain(&self.chat.agents);
        let there = agents.find(|agent| agent.human.is_there()).unwrap_or(first[0]);
        there.human.clone()
    }
}
