//! What an agent says when it is its turn: its ways to an answer, in order.

use std::borrow::Cow;

use super::{
    StopReason,
    guard::Came,
    log::Begun,
    running::{Running, Said},
};
use crate::{
    agent::{Agent, Reply, Turn},
    error::Result,
    message::Message,
};

impl Running<'_> {
    /// What the agent says: the first of its ways that has an answer.
    pub(super) async fn reply(&mut self, speaker: usize) -> Result<Said> {
        let chat = self.chat;
        let agent = &chat.agents[speaker];
        self.streamed = false;
        self.came = Came::Nothing;
        let received = self.receive(agent);
        for way in &agent.replies {
            let said = match way {
                Reply::Custom(function) => {
                    let (peer, messages) =
                        (self.peer(speaker), self.seen(speaker, received.as_ref()));
                    let turn = Turn { agent, peer, messages: &messages, context: &self.context };
                    function.reply(&turn).await?.map(|message| {
                        Said::Message(Message { name: agent.name.clone(), ..message })
                    })
                }
                Reply::Human => self.person(speaker, received.as_ref()).await?,
                Reply::Nested if agent.nested.is_empty() => None,
                Reply::Nested => self.nested(speaker, received.as_ref()).await?,
                Reply::Tools => self.call_tools(speaker, received.as_ref()).await?,
                Reply::Code if agent.code.is_none() => None,
                Reply::Code => self.run_code(speaker, received.as_ref()).await?,
                Reply::Model if agent.model.is_none() => None,
                Reply::Model => match self.context.spent() {
                    Some(spent) => Some(Said::End(StopReason::Budget(spent))),
                    None => Some(Said::Message(self.ask_model(speaker, received.as_ref()).await?)),
                },
                Reply::Default => Some(Said::Message(Message::new(
                    agent.name.as_str(),
                    agent.default_reply.as_str(),
                ))),
            };
            match said {
                Some(Said::Message(message)) => {
                    let message =
                        agent.hooks.before_send.iter().fold(message, |message, hook| hook(message));
                    return Ok(Said::Message(message));
                }
                Some(end) => return Ok(end),
                None => {}
            }
        }
        Ok(Said::End(StopReason::NoReply { agent: agent.name.clone() }))
    }

    /// The last message as the agent's hooks have it; `None` without hooks.
    fn receive(&self, agent: &Agent) -> Option<Message> {
        let hooks = &agent.hooks.last_received;
        let last = self.history.last().filter(|_| !hooks.is_empty())?;
        Some(hooks.iter().fold(last.clone(), |message, hook| hook(message)))
    }

    /// What the agent sees of the history; `received` stands in the place of the last message.
    fn seen(&self, speaker: usize, received: Option<&Message>) -> Cow<'_, [Message]> {
        let messages = &self.history[self.states[speaker].sees_from..];
        let Some(received) = received else { return Cow::Borrowed(messages) };
        let mut changed = messages.to_vec();
        if let Some(last) = changed.last_mut() {
            last.clone_from(received);
        }
        Cow::Owned(changed)
    }

    async fn nested(&mut self, speaker: usize, received: Option<&Message>) -> Result<Option<Said>> {
        let agent = &self.chat.agents[speaker];
        let Some(last) = received.or(self.history.last()) else { return Ok(None) };
        let Some(nested) = crate::nested::triggered(agent, last) else { return Ok(None) };
        self.context.journal.begin(Begun::Nested(agent.name.clone()))?;
        let messages = self.seen(speaker, received);
        let answer = crate::nested::answer(agent, nested, &messages, &self.context).await?;
        Ok(answer.map(|text| Said::Message(Message::new(agent.name.as_str(), text))))
    }
}
