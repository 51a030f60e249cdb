//! The selection of the next speaker.

use regex::Regex;

use super::perspective::{Perspective, introductions};
use crate::{
    chat::{
        Chat, MANAGER,
        speakers::{AutoSelection, Speakers},
    },
    context::Context,
    error::{Error, Result},
    event::Event,
    message::{Content, Message},
    model::{ModelClient, ModelMessage, ModelRequest},
    prompts,
};

/// Returns the place of the next speaker; `None` if nobody may speak, or a function selects nobody.
pub async fn next_speaker(
    chat: &Chat,
    context: &Context,
    history: &[Message],
    random: &mut fastrand::Rng,
) -> Result<Option<usize>> {
    let last = history.last().and_then(|message| chat.find(&message.name)).unwrap_or(0);
    if chat.is_pair() {
        return Ok(Some(1 - last));
    }
    let selected = match bound_speaker(chat, history, last) {
        Some(place) => Some(place),
        None => select(chat, context, history, random, last).await?,
    };
    if let Some(place) = selected {
        let speaker = || chat.agents[place].name.clone();
        context.emit(|chat| Event::SpeakerSelected { chat, speaker: speaker() });
    }
    Ok(selected)
}

/// The agent that must speak next because of tool calls: after a call an agent that has the tools,
/// or else the caller itself; after the results the caller.
fn bound_speaker(chat: &Chat, history: &[Message], last: usize) -> Option<usize> {
    let (agents, message) = (&chat.agents, history.last()?);
    if !message.tool_calls.is_empty() {
        let has = |name: &str, place: usize| {
            agents[place].tools.iter().any(|tool| tool.spec().name == name)
        };
        let is_able = |place: &usize| {
            *place != last && message.tool_calls.iter().all(|call| has(&call.name, *place))
        };
        return Some((0..agents.len()).find(is_able).unwrap_or(last));
    }
    let result = message.tool_results.first()?;
    let is_caller = |earlier: &&Message| earlier.tool_calls.iter().any(|call| call.id == result.id);
    chat.find(&history.iter().rev().find(is_caller)?.name)
}

async fn select(
    chat: &Chat,
    context: &Context,
    history: &[Message],
    random: &mut fastrand::Rng,
    last: usize,
) -> Result<Option<usize>> {
    let may_speak = |place: &usize| {
        let (from, to) = (&chat.agents[last].name, &chat.agents[*place].name);
        (chat.allow_repeat || *place != last) && chat.transitions.allow(from, to)
    };
    // In the order in which they would speak in turn.
    let count = chat.agents.len();
    let eligible: Vec<usize> =
        (1..=count).map(|step| (last + step) % count).filter(may_speak).collect();
    let Some(next) = eligible.first().copied() else { return Ok(None) };
    let names: Vec<&str> = eligible.iter().map(|place| chat.agents[*place].name.as_str()).collect();
    let place_of = |name: &str| {
        let place = names.iter().position(|eligible| *eligible == name).map(|at| eligible[at]);
        place.ok_or_else(|| {
            Error::Invalid(format!("`{name}` cannot speak now; choose one of {}", names.join(", ")))
        })
    };
    match &chat.speakers {
        Speakers::Custom(function) => {
            function(history, &names).map(|name| place_of(&name)).transpose()
        }
        // There is no choice.
        _ if eligible.len() == 1 => Ok(Some(next)),
        Speakers::Other | Speakers::RoundRobin => Ok(Some(next)),
        Speakers::Random { .. } => Ok(Some(eligible[random.usize(..eligible.len())])),
        Speakers::Manual(person) => {
            let all: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let chosen = person
                .choose(&all)
                .await
                .map_err(|source| Error::Human { agent: MANAGER.to_owned(), source })?;
            chosen.map_or(Ok(Some(next)), |name| place_of(&name).map(Some))
        }
        Speakers::Auto(selection) => {
            let own = || chat.agents.iter().find_map(|agent| agent.model.clone());
            let Some(model) = selection.model.clone().or_else(own) else { return Ok(Some(next)) };
            let name =
                ask_for_name(chat, context, history, selection, model.as_ref(), &names).await?;
            Ok(Some(name.map_or(Ok(next), |name| place_of(&name))?))
        }
    }
}

/// Asks a model for one of the names; `None` if it does not name exactly one.
async fn ask_for_name(
    chat: &Chat,
    context: &Context,
    history: &[Message],
    selection: &AutoSelection,
    model: &dyn ModelClient,
    names: &[&str],
) -> Result<Option<String>> {
    let mut messages = Vec::with_capacity(history.len() + 1);
    let perspective = Perspective { own: MANAGER, names: true, sees_images: false };
    perspective.append(&mut messages, history);
    let all = names.join(", ");
    let ask = |text: &str| ModelMessage::User {
        name: None,
        content: Content::Text(text.replace("{names}", &all)),
    };
    messages.push(ask(prompts::SELECT_ASK));
    let system = selection.prompt.replace("{agents}", &introductions(chat));
    let mut request = ModelRequest { system, messages, ..ModelRequest::default() };
    for _ in 0..=selection.retries {
        if context.exhausted().is_some() {
            return Ok(None);
        }
        let answer = context
            .ask(model, MANAGER, &request, None)
            .await
            .map_err(|source| Error::Model { agent: MANAGER.to_owned(), source })?;
        let mut mentioned = names.iter().filter(|name| mentions(&answer.content, name) > 0);
        let correction = match (mentioned.next(), mentioned.next()) {
            (Some(name), None) => return Ok(Some((*name).to_owned())),
            (None, _) => prompts::SELECT_NONE,
            (Some(_), Some(_)) => prompts::SELECT_SEVERAL,
        };
        request.messages.push(ModelMessage::Assistant {
            content: Content::Text(answer.content),
            tool_calls: Vec::new(),
        });
        request.messages.push(ask(correction));
    }
    context.notice(format!(
        "the model did not choose one speaker of {all}; the next one in turn speaks"
    ));
    Ok(None)
}

/// Counts how often a text mentions a name: as a word of its own, in the same case. For a `_` of
/// the name the text may also have a space or `\_`, as models write it in Markdown.
fn mentions(text: &str, name: &str) -> usize {
    let pattern = regex::escape(name).replace('_', r"(?:_| |\\_)");
    // The word boundaries of the regex crate do not hold at the end of a name that is no letter.
    let Ok(regex) = Regex::new(&format!(r"(?:^|\W)({pattern})")) else { return 0 };
    let mut count = 0;
    let mut at = 0;
    while let Some(found) = regex.captures_at(text, at).and_then(|captures| captures.get(1)) {
        let is_end =
            !text[found.end()..].starts_with(|next: char| next.is_alphanumeric() || next == '_');
        count += usize::from(is_end);
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
