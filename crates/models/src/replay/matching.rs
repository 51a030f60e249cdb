//! Which exchange of a recording answers a request, and what to say when none does.

use std::borrow::Cow;

use cellblock_agents::{ModelMessage, ModelRequest};

use super::format::{Exchange, Match};

/// How much of a text is shown in a message, in characters.
const HEAD: usize = 120;

/// Whether an exchange of a recording is of this very request.
pub(super) fn is_of(exchange: &Exchange, request: &ModelRequest) -> bool {
    exchange.request.as_ref().is_some_and(|recorded| recorded == request)
}

/// Whether a request has what a hand-written exchange asks for.
pub(super) fn fits(matching: &Match, request: &ModelRequest) -> bool {
    let Match { last, system, any, from } = matching;
    let holds =
        |text: &str, wanted: &[String]| wanted.iter().all(|part| text.contains(part.as_str()));
    let newest = request.messages.last();
    holds(&request.system, system)
        && (last.is_empty() || newest.is_some_and(|message| holds(&text(message), last)))
        && any.iter().all(|part| {
            request.messages.iter().any(|message| text(message).contains(part.as_str()))
        })
        && from.as_ref().is_none_or(|from| newest.is_some_and(|message| speaker(message) == from))
}

/// What came, and what the exchanges that are left expected.
pub(super) fn explain(request: &ModelRequest, left: &[&Exchange], all: usize) -> String {
    let last = request.messages.last().map(text);
    let last = last.map_or_else(
        || "no message".to_owned(),
        |text| format!("the last message {}", head(&text)),
    );
    let system = match request.system.is_empty() {
        true => String::new(),
        false => format!(" and the system message {}", head(&request.system)),
    };
    let came = format!("the recording has no answer to a request with {last}{system}");
    let nearest = left.iter().max_by_key(|exchange| nearness(exchange, request));
    match nearest {
        None => format!("{came}; all {all} of its answers have been given"),
        Some(nearest) => format!(
            "{came}; of the {} answers left, the nearest {}",
            left.len(),
            wish(nearest, request)
        ),
    }
}

/// How much of a request is as the exchange has it.
fn nearness(exchange: &Exchange, request: &ModelRequest) -> usize {
    match (&exchange.request, &exchange.matching) {
        (Some(recorded), _) => {
            usize::from(recorded.system == request.system)
                + same_messages(&recorded.messages, &request.messages)
        }
        (None, Some(matching)) => {
            let Match { system, from, .. } = matching;
            let only_system = Match { system: system.clone(), ..Match::default() };
            let only_from = Match { from: from.clone(), ..Match::default() };
            let fit = |asked: bool, part: &Match| usize::from(asked && fits(part, request));
            fit(!system.is_empty(), &only_system) + fit(from.is_some(), &only_from)
        }
        (None, None) => 0,
    }
}

fn same_messages(recorded: &[ModelMessage], came: &[ModelMessage]) -> usize {
    recorded.iter().zip(came).take_while(|(recorded, came)| recorded == came).count()
}

/// What an exchange expected, where the request is different.
fn wish(exchange: &Exchange, request: &ModelRequest) -> String {
    if let Some(recorded) = &exchange.request {
        let at = same_messages(&recorded.messages, &request.messages);
        let expected = recorded.messages.get(at);
        let came = request.messages.get(at);
        let show = |message: Option<&ModelMessage>| {
            message.map_or_else(|| "nothing".to_owned(), |message| head(&text(message)))
        };
        return match (expected, came) {
            _ if recorded.system != request.system => {
                format!("expects the system message {}", head(&recorded.system))
            }
            (None, None) => "has the same messages, but other tools or parameters".to_owned(),
            _ => format!("expects message {} to be {}, not {}", at + 1, show(expected), show(came)),
        };
    }
    let Some(Match { last, system, any, from }) = &exchange.matching else {
        return "expects nothing".to_owned();
    };
    let mut wishes = Vec::new();
    let mut wish = |texts: &[String], place: &str| {
        wishes.extend(texts.iter().map(|text| format!("{} {place}", head(text))));
    };
    wish(last, "in the last message");
    wish(system, "in the system message");
    wish(any, "in some message");
    wish(from.as_slice(), "as the one who said the last message");
    format!("expects {}", wishes.join(" and "))
}

/// The text of a message.
fn text(message: &ModelMessage) -> Cow<'_, str> {
    match message {
        ModelMessage::User { content, .. } | ModelMessage::Assistant { content, .. } => {
            content.text()
        }
        ModelMessage::Tool(result) => Cow::Borrowed(&result.content),
    }
}

/// Who said a message; for a tool's result, the tool.
fn speaker(message: &ModelMessage) -> &str {
    match message {
        ModelMessage::User { name, .. } => name.as_deref().unwrap_or_default(),
        ModelMessage::Assistant { .. } => "",
        ModelMessage::Tool(result) => &result.name,
    }
}

/// The beginning of a text, in quotes.
fn head(text: &str) -> String {
    match text.char_indices().nth(HEAD) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?} …", &text[..end]),
    }
}
