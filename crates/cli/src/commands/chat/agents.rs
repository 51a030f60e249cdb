//! The agents of a chat: the pair of a chat without a file, and the rules that end chats.

use std::sync::Arc;

use anyhow::Result;
use cellblock_agents::{
    Agent, Chat, CodeExecution, HumanInputMode, Message, ModelClient, asks_for_work,
    ends_with_terminate,
};

use super::resources::Resources;

/// The default reply of the agent that stands for a person.
const CONTINUE: &str = "If something is left to do, go on. If all is done, answer with TERMINATE.";

/// The system message of an assistant whose code does not run.
pub const TEXT_ONLY: &str = "\
You answer questions and solve tasks with words. Nobody runs code for you. Be brief and exact. \
When you have answered and nothing is left to do, end your answer with the word TERMINATE.";

/// Returns a chat between an assistant and the agent that stands for the person and runs code.
///
/// # Errors
/// If the executor cannot start.
pub async fn pair(resources: &Resources, model: Arc<dyn ModelClient>) -> Result<Chat> {
    let code = resources.code().await?;
    let mut assistant = Agent::assistant("assistant", model);
    if code.is_none() {
        assistant.system_message = TEXT_ONLY.to_owned();
    }
    // Without code and without a person, nothing can follow the first answer.
    let asks_nobody = resources.human == HumanInputMode::Never;
    let max_turns = if code.is_none() && asks_nobody { 1 } else { 10 };
    let user = ends_when_idle(user("user", resources, code));
    let chat = Chat::between(user, assistant);
    Ok(Chat { max_turns: Some(max_turns), ..chat })
}

/// Returns an agent that stands for the person. A message that ends with `TERMINATE` ends its chat,
/// unless it has work: models tend to say the word too early.
pub fn user(name: &str, resources: &Resources, code: Option<CodeExecution>) -> Agent {
    let runs_code = resources.runs_code();
    Agent {
        is_termination: Arc::new(move |history| {
            let has_work = || history.last().is_some_and(|last| asks_for_work(last, runs_code));
            ends_with_terminate(history) && !has_work()
        }),
        default_reply: CONTINUE.to_owned(),
        human_input: resources.human,
        human: resources.person.clone(),
        code,
        ..Agent::user_proxy(name)
    }
}

/// Returns a user that also ends a chat of two when the other agent has no work twice in a row, the
/// second time after the request to continue. Small models never say `TERMINATE`.
pub fn ends_when_idle(user: Agent) -> Agent {
    let (by_word, request) = (user.is_termination.clone(), user.default_reply.clone());
    let runs_code = user.code.is_some();
    Agent {
        is_termination: Arc::new(move |history| {
            by_word(history) || is_idle_twice(history, &request, runs_code)
        }),
        ..user
    }
}

/// True if the last message has text but no work, and answers `request`, which is sent when the
/// message before had no work either.
fn is_idle_twice(messages: &[Message], request: &str, runs_code: bool) -> bool {
    let [.., before, last] = messages else { return false };
    before.text() == request && !last.is_empty() && !asks_for_work(last, runs_code)
}

#[cfg(test)]
mod tests {
    use cellblock_agents::Reply;

    use super::*;

    const WITH_CODE: &str = "Here:\n```python\nprint(1)\n```\nTERMINATE";

    #[test]
    fn a_chat_ends_when_no_work_remains() {
        for (texts, ends) in [
            (["Let me think."].as_slice(), false),
            (&["Let me think.", CONTINUE, "It is 42."], true),
            (&["Let me think.", CONTINUE, WITH_CODE], false),
            (&["Let me think.", CONTINUE, "Saved:\n```json data.json\n{}\n```\n"], false),
            (&["Let me think.", CONTINUE, "Data:\n```json\n{}\n```\n"], true),
            (&[WITH_CODE, "exitcode: 0", "Done."], false),
            (&[WITH_CODE, "exitcode: 0", "Done.", CONTINUE, "Done, I said."], true),
            // An empty message does not say that all is done.
            (&["", CONTINUE, ""], false),
            (&["Which colour?", "Blue.", "Blue it is."], false),
        ] {
            let messages: Vec<_> = texts.iter().map(|text| Message::new("a", *text)).collect();
            assert_eq!(is_idle_twice(&messages, CONTINUE, true), ends, "{texts:?}");
        }
        let without = [CONTINUE, WITH_CODE].map(|text| Message::new("a", text));
        assert!(is_idle_twice(&without, CONTINUE, false), "its code does not run");
    }

    #[tokio::test]
    async fn a_chat_can_run_again() {
        let says = |text: &'static str| Reply::custom(move |_| Some(text.into()));
        let never = HumanInputMode::Never;
        let user =
            Agent { default_reply: CONTINUE.to_owned(), human_input: never, ..Agent::new("user") };
        let other = Agent { replies: vec![says("It is 42.")], ..Agent::new("other") };
        let chat = Chat { max_turns: Some(10), ..Chat::between(ends_when_idle(user), other) };
        for chat in [chat.clone(), chat.clone(), chat] {
            let texts: Vec<_> = chat
                .run("Add.")
                .await
                .unwrap()
                .history
                .iter()
                .map(|m| m.text().into_owned())
                .collect();
            assert_eq!(texts, ["Add.", "It is 42.", CONTINUE, "It is 42."]);
        }
    }
}
