//! Matches requests with the exchanges of a recording, and explains a mismatch.

use std::borrow::Cow;

use cellblock_agents::{ModelMessage, ModelRequest};

use super::format::{Exchange, RequestPattern};

/// The maximum of characters of a text that a message shows.
const MAX_SHOWN: usize = 120;

/// True if an exchange records exactly this request.
pub fn records(exchange: &Exchange, request: &ModelRequest) -> bool {
    exchange.request.as_ref().is_some_and(|recorded| recorded == request)
}

/// True if a request contains all texts of a pattern.
pub fn matches(pattern: &RequestPattern, request: &ModelRequest) -> bool {
    let RequestPattern { last, system, any, from } = pattern;
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

/// Describes a request that no exchange answers, and what the nearest of the remaining ones
/// expects.
pub fn explain_mismatch(request: &ModelRequest, remaining: &[&Exchange], all: usize) -> String {
    let last = request.messages.last().map(text);
    let last = last.map_or_else(
        || "no message".to_owned(),
        |text| format!("the last message {}", head(&text)),
    );
    let system = match request.system.is_empty() {
        true => String::new(),
        false => format!(" and the system message {}", head(&request.system)),
    };
    let problem = format!("the recording has no answer to a request with {last}{system}");
    let nearest = remaining.iter().max_by_key(|exchange| nearness(exchange, request));
    match nearest {
        None => format!("{problem}; all {all} of its answers have been used"),
        Some(nearest) => format!(
            "{problem}; of the {} remaining answers, the nearest {}",
            remaining.len(),
            expectation(nearest, request)
        ),
    }
}

/// Returns a measure of the similarity of a request and an exchange.
fn nearness(exchange: &Exchange, request: &ModelRequest) -> usize {
    match (&exchange.request, &exchange.matching) {
        (Some(recorded), _) => {
            usize::from(recorded.system == request.system)
                + same_messages(&recorded.messages, &request.messages)
        }
        (None, Some(pattern)) => {
            let RequestPattern { system, from, .. } = pattern;
            let only_system =
                RequestPattern { system: system.clone(), ..RequestPattern::default() };
            let only_from = RequestPattern { from: from.clone(), ..RequestPattern::default() };
            let score =
                |is_set: bool, part: &RequestPattern| usize::from(is_set && matches(part, request));
            score(!system.is_empty(), &only_system) + score(from.is_some(), &only_from)
        }
        (None, None) => 0,
    }
}

/// Returns the number of equal messages at the beginning.
fn same_messages(recorded: &[ModelMessage], received: &[ModelMessage]) -> usize {
    recorded.iter().zip(received).take_while(|(recorded, received)| recorded == received).count()
}

/// Describes what an exchange expects, where the request differs.
fn expectation(exchange: &Exchange, request: &ModelRequest) -> String {
    if let Some(recorded) = &exchange.request {
        let at = same_messages(&recorded.messages, &request.messages);
        let expected = recorded.messages.get(at);
        let received = request.messages.get(at);
        let show = |message: Option<&ModelMessage>| {
            message.map_or_else(|| "nothing".to_owned(), |message| head(&text(message)))
        };
        return match (expected, received) {
            _ if recorded.system != request.system => {
                format!("expects the system message {}", head(&recorded.system))
            }
            (None, None) => "has the same messages, but other tools or parameters".to_owned(),
            _ => format!(
                "expects message {} to be {}, not {}",
                at + 1,
                show(expected),
                show(received)
            ),
        };
    }
    let Some(RequestPattern { last, system, any, from }) = &exchange.matching else {
        return "expects nothing".to_owned();
    };
    let mut expected = Vec::new();
    let mut expect = |texts: &[String], place: &str| {
        expected.extend(texts.iter().map(|text| format!("{} {place}", head(text))));
    };
    expect(last, "in the last message");
    expect(system, "in the system message");
    expect(any, "in some message");
    expect(from.as_slice(), "as the speaker of the last message");
    format!("expects {}", expected.join(" and "))
}

/// Returns the text of a message.
fn text(message: &ModelMessage) -> Cow<'_, str> {
    match message {
        ModelMessage::User { content, .. } | ModelMessage::Assistant { content, .. } => {
            content.text()
        }
        ModelMessage::Tool(result) => Cow::Borrowed(&result.content),
    }
}

/// Returns the speaker of a message; of a result, the tool.
fn speaker(message: &ModelMessage) -> &str {
    match message {
        ModelMessage::User { name, .. } => name.as_deref().unwrap_or_default(),
        ModelMessage::Assistant { .. } => "",
        ModelMessage::Tool(result) => &result.name,
    }
}

/// Returns the beginning of a text, in quotes.
fn head(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?} …", &text[..end]),
    }
}
