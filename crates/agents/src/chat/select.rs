//! Choosing the next speaker.

use regex::Regex;

use super::{
    AutoSelection, MANAGER, Speakers,
    running::Running,
    view::{introductions, view},
};
use crate::{
    error::{Error, Result},
    event::Event,
    message::Content,
    model::{ModelClient, ModelMessage, ModelRequest},
    prompts,
};

impl Running<'_> {
    /// The place of who speaks next; `None` when nobody may or is to.
    pub(super) async fn next_speaker(&mut self) -> Result<Option<usize>> {
        let chat = self.chat;
        let last = self.history.last().and_then(|message| chat.find(&message.name)).unwrap_or(0);
        if chat.is_pair() {
            return Ok(Some(1 - last));
        }
        let chosen = match self.bound(last) {
            Some(place) => Some(place),
            None => self.choose(last).await?,
        };
        if let Some(place) = chosen {
            let speaker = || chat.agents[place].name.clone();
            self.context.emit(|chat| Event::SpeakerSelected { chat, speaker: speaker() });
        }
        Ok(chosen)
    }

    /// Who must speak next, because tools were called: first somebody who has them or else who called, then who called.
    fn bound(&self, last: usize) -> Option<usize> {
        let (agents, message) = (&self.chat.agents, self.history.last()?);
        if !message.tool_calls.is_empty() {
            let has = |name: &str, place: usize| {
                agents[place].tools.iter().any(|tool| tool.spec().name == name)
            };
            let able = |place: &usize| {
                *place != last && message.tool_calls.iter().all(|call| has(&call.name, *place))
            };
            return Some((0..agents.len()).find(able).unwrap_or(last));
        }
        let result = message.tool_results.first()?;
        let called = self
            .history
            .iter()
            .rev()
            .find(|earlier| earlier.tool_calls.iter().any(|call| call.id == result.id))?;
        self.chat.find(&called.name)
    }

    async fn choose(&mut self, last: usize) -> Result<Option<usize>> {
        let chat = self.chat;
        let may = |place: &usize| {
            let (from, to) = (&chat.agents[last].name, &chat.agents[*place].name);
            (chat.allow_repeat || *place != last) && chat.transitions.allow(from, to)
        };
        // In the order in which they would speak in turn.
        let count = chat.agents.len();
        let eligible: Vec<usize> =
            (1..=count).map(|step| (last + step) % count).filter(may).collect();
        let Some(next) = eligible.first().copied() else { return Ok(None) };
        let names: Vec<&str> =
            eligible.iter().map(|place| chat.agents[*place].name.as_str()).collect();
        let place = |name: &str| {
            let at = names.iter().position(|eligible| *eligible == name).map(|at| eligible[at]);
            at.ok_or_else(|| {
                Error::Invalid(format!(
                    "`{name}` cannot speak now; choose one of {}",
                    names.join(", ")
                ))
            })
        };
        match &chat.speakers {
            Speakers::Custom(function) => {
                function(&self.history, &names).map(|name| place(&name)).transpose()
            }
            // No choice is left.
            _ if eligible.len() == 1 => Ok(Some(next)),
            Speakers::Other | Speakers::RoundRobin => Ok(Some(next)),
            Speakers::Random { .. } => Ok(Some(eligible[self.random(eligible.len())])),
            Speakers::Manual(person) => {
                let all: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
                let asked = person.choose(&all).await;
                let chosen =
                    asked.map_err(|source| Error::Human { agent: MANAGER.to_owned(), source })?;
                chosen.map_or(Ok(Some(next)), |name| place(&name).map(Some))
            }
            Speakers::Auto(how) => {
                let own = || chat.agents.iter().find_map(|agent| agent.model.clone());
                let Some(model) = how.model.clone().or_else(own) else { return Ok(Some(next)) };
                let name = self.ask_who(how, model.as_ref(), &names).await?;
                Ok(Some(name.map_or(Ok(next), |name| place(&name))?))
            }
        }
    }

    /// The name that a model chooses, or `None` when it does not come to one.
    async fn ask_who(
        &self,
        how: &AutoSelection,
        model: &dyn ModelClient,
        names: &[&str],
    ) -> Result<Option<String>> {
        let mut messages = Vec::with_capacity(self.history.len() + 1);
        view(&mut messages, &self.history, MANAGER, true, false);
        let all = names.join(", ");
        let ask = |text: &str| ModelMessage::User {
            name: None,
            content: Content::Text(text.replace("{names}", &all)),
        };
        messages.push(ask(prompts::SELECT_ASK));
        let system = how.prompt.replace("{agents}", &introductions(self.chat));
        let mut request = ModelRequest { system, messages, ..ModelRequest::default() };
        for _ in 0..=how.retries {
            if self.context.spent().is_some() {
                return Ok(None);
            }
            let asked = self.context.ask(model, MANAGER, &request, None).await;
            let answer =
                asked.map_err(|source| Error::Model { agent: MANAGER.to_owned(), source })?;
            let mut mentioned = names.iter().filter(|name| mentions(&answer.content, name) > 0);
            let again = match (mentioned.next(), mentioned.next()) {
                (Some(name), None) => return Ok(Some((*name).to_owned())),
                (None, _) => prompts::SELECT_NONE,
                (Some(_), Some(_)) => prompts::SELECT_SEVERAL,
            };
            request.messages.push(ModelMessage::Assistant {
                content: Content::Text(answer.content),
                tool_calls: Vec::new(),
            });
            request.messages.push(ask(again));
        }
        self.notice(format!(
            "the model did not choose one speaker of {all}; the next one in turn speaks"
        ));
        Ok(None)
    }
}

/// How often a text mentions a name: as a word of its own, in the same case; for a `_` of the name the text may also have a
/// space or `\_`, as models write it in Markdown.
pub(crate) fn mentions(text: &str, name: &str) -> usize {
    let pattern = regex::escape(name).replace('_', r"(?:_| |\\_)");
    // Word boundaries of the regex crate would not hold at a name's end that is no letter.
    let Ok(regex) = Regex::new(&format!(r"(?:^|\W)({pattern})")) else { return 0 };
    let mut count = 0;
    let mut at = 0;
    while let Some(found) = regex.captures_at(text, at).and_then(|captures| captures.get(1)) {
        let ends =
            !text[found.end()..].starts_with(|next: char| next.is_alphanumeric() || next == '_');
        count += usize::from(ends);
        at = found.end();
    }
    count
}

#[cfg(test)]
mod tests {
    use super::mentions;

    #[test]
    fn names_are_counted_as_words() {
        assert_eq!(mentions("sam samantha basam asami", "sam"), 1);
        assert_eq!(mentions("alice! .alice. .alice", "alice"), 3);
        assert_eq!(mentions("sam sam,sam", "sam"), 3);
        assert_eq!(mentions("Sam SAM", "sam"), 0);
        for text in ["Story_writer", "Story writer", r"Story\_writer"] {
            assert_eq!(mentions(text, "Story_writer"), 1, "{text}");
        }
        assert_eq!(mentions("Story-writer Storywriter Story_writers", "Story_writer"), 0);
        assert_eq!(mentions("c++ is no name, C++ is", "c++"), 1);
        assert_eq!(mentions("", "x"), 0);
    }
}
