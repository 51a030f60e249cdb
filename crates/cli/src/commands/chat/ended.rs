//! How a chat ended: the closing line, the JSON, and the exit status.

use std::io::{IsTerminal as _, Write as _};

use anyhow::Result;
use cellblock_agents::{BudgetExhausted, ChatResult, Cost, ModelError, StopReason};
use serde::Serialize;

use super::follow::{Follower, Form};
use crate::{
    failure,
    render::{BAD, GOOD, sanitize::Sanitizer, screen::Message},
};

/// A chat went nowhere.
const WENT_NOWHERE: u8 = 1;
/// The time is over.
const OUT_OF_TIME: u8 = 124;

/// The one object of `--json`.
#[derive(Serialize)]
#[serde(untagged)]
enum Output<'o> {
    /// Of a chat.
    One {
        #[serde(flatten)]
        result: &'o ChatResult,
        exit_code: u8,
    },
    /// Of a sequence.
    Several { chats: &'o [ChatResult], exit_code: u8 },
}

/// Tells how chats ended; gives the exit status.
///
/// # Errors
/// When standard output cannot be written.
pub fn end(
    mut results: Vec<ChatResult>,
    not_run: usize,
    follower: &Follower,
    unrecorded: Option<ModelError>,
    json: bool,
) -> Result<u8> {
    // The first chat that did not come to its end is why others did not run.
    let mut exit_code = results.iter().map(code).find(|code| *code != 0).unwrap_or(0);
    if follower.form == Form::Transcript {
        let text = summaries(&results);
        if !text.is_empty() {
            follower.screen.send(Message::Text(text));
        }
        let colour = if exit_code == 0 { GOOD } else { BAD };
        let (start, rest) = closing(&results, not_run, &follower.artifacts.summary());
        follower.screen.line(colour, &start, &rest);
    }
    follower.screen.finish()?;
    // The transcript has said why: who sees it on the same screen is not told again.
    let told = follower.form == Form::Transcript
        && std::io::stdout().is_terminal()
        && std::io::stderr().is_terminal();
    for result in &results {
        if let (StopReason::Failed { message, causes, .. }, false) = (&result.stop, told) {
            failure::print(message, causes.iter().cloned(), None);
        }
    }
    if let Some(error) = follower.artifacts.failure() {
        failure::print(&error.message, error.causes.iter().cloned(), None);
        exit_code = failure::FAILED;
    }
    if let Some(error) = unrecorded {
        failure::print(&cellblock_exec::with_causes(&error), std::iter::empty(), None);
        exit_code = failure::FAILED;
    }
    if json {
        results.iter_mut().for_each(|result| name_files(result, follower));
        print(&match results.as_slice() {
            [result] if not_run == 0 => Output::One { result, exit_code },
            chats => Output::Several { chats, exit_code },
        })?;
    }
    Ok(exit_code)
}

/// Puts the files that artifacts were written to into the result.
fn name_files(result: &mut ChatResult, follower: &Follower) {
    for message in &mut result.history {
        for artifact in &mut message.artifacts {
            artifact.file = follower.file(&result.id, &message.name, &artifact.path);
        }
    }
}

/// The exit status of a chat.
fn code(result: &ChatResult) -> u8 {
    match &result.stop {
        // The last answer that it could have was none.
        StopReason::MaxTurns { .. }
            if result.history.last().is_some_and(|last| last.is_empty()) =>
        {
            WENT_NOWHERE
        }
        stop if stop.is_success() => 0,
        StopReason::EmptyMessages { .. } | StopReason::SameFailure { .. } => WENT_NOWHERE,
        StopReason::Budget(BudgetExhausted::Time { .. }) => OUT_OF_TIME,
        StopReason::Budget(_) => failure::REFUSED,
        StopReason::Cancelled => failure::INTERRUPTED,
        _ => failure::FAILED,
    }
}

/// The summaries that the transcript does not have as the last message.
fn summaries(results: &[ChatResult]) -> String {
    let mut text = String::new();
    for (at, result) in results.iter().enumerate() {
        let last = result
            .history
            .last()
            .map(|last| last.text().replace("TERMINATE", ""))
            .unwrap_or_default();
        let summary = result.summary.trim();
        if summary.is_empty() || summary == last.trim() {
            continue;
        }
        let of = if results.len() > 1 { format!(" OF CHAT {}", at + 1) } else { String::new() };
        let summary = Sanitizer::default().push(summary.as_bytes());
        text.push_str(&format!("\n>>>>>>>> SUMMARY{of}:\n\n{summary}\n"));
    }
    text
}

/// What was said, spent and made, such as `4 messages: 591 tokens, $0.0001; 2 files in out`, in two parts.
fn closing(results: &[ChatResult], not_run: usize, files: &str) -> (String, String) {
    let count = |number: usize, what: &str| {
        format!("{number} {what}{}", if number == 1 { "" } else { "s" })
    };
    let messages = count(results.iter().map(|result| result.history.len()).sum(), "message");
    let mut cost = Cost::default();
    results.iter().for_each(|result| cost.merge(&result.cost));
    let (all, paid) = (cost.including_cached.tokens(), cost.excluding_cached.tokens());
    let mut parts = Vec::new();
    if all > 0 {
        let cached =
            if all > paid { format!(" ({} from the cache)", all - paid) } else { String::new() };
        parts.push(format!("{all} tokens{cached}"));
    }
    if cost.excluding_cached.total_cost > 0.0 {
        parts.push(format!("${:.4}", cost.excluding_cached.total_cost));
    }
    if not_run > 0 {
        parts.push(format!("{} did not run", count(not_run, "chat")));
    }
    let spent = parts.join(", ");
    match (spent.is_empty(), files.is_empty()) {
        (true, true) => (messages, String::new()),
        (true, false) => (format!("{messages};"), files.to_owned()),
        (false, true) => (format!("{messages}:"), spent),
        (false, false) => (format!("{messages}:"), format!("{spent}; {files}")),
    }
}

/// Prints the JSON of a chat that could not begin.
///
/// # Errors
/// When standard output cannot be written.
pub fn print_failure(error: &anyhow::Error) -> Result<()> {
    let result = ChatResult {
        id: String::new(),
        history: Vec::new(),
        summary: String::new(),
        cost: Cost::default(),
        human_input: Vec::new(),
        tool_calls: Vec::new(),
        stop: StopReason::Failed {
            message: error.to_string(),
            causes: error.chain().skip(1).map(ToString::to_string).collect(),
            partial: None,
        },
    };
    print(&Output::One { result: &result, exit_code: failure::code(error) })
}

fn print(output: &Output<'_>) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer(&mut stdout, output)?;
    writeln!(stdout)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(stop: StopReason, said: &[&str], summary: &str) -> ChatResult {
        ChatResult {
            id: "1".into(),
            history: said.iter().map(|text| cellblock_agents::Message::new("a", *text)).collect(),
            summary: summary.into(),
            cost: Cost::default(),
            human_input: Vec::new(),
            tool_calls: Vec::new(),
            stop,
        }
    }

    #[test]
    fn exit_statuses_tell_ends_apart() {
        let agent = || "user".to_owned();
        for (stop, expected) in [
            (StopReason::MaxTurns { turns: 2 }, 0),
            (StopReason::Termination { agent: agent() }, 0),
            (StopReason::Human { agent: agent() }, 0),
            (StopReason::EmptyMessages { agent: agent(), times: 3 }, 1),
            (StopReason::SameFailure { times: 3 }, 1),
            (StopReason::Budget(BudgetExhausted::Time { limit: 1.0 }), 124),
            (StopReason::Failed { message: String::new(), causes: vec![], partial: None }, 125),
            (StopReason::Budget(BudgetExhausted::Cost { limit: 1.0, spent: 2.0 }), 126),
            (StopReason::Budget(BudgetExhausted::Tokens { limit: 1, spent: 2 }), 126),
            (StopReason::Cancelled, 130),
        ] {
            assert_eq!(code(&ended(stop.clone(), &["Yes."], "")), expected, "{stop}");
        }
        let most = || StopReason::MaxTurns { turns: 1 };
        assert_eq!(code(&ended(most(), &["Why?", " "], "")), 1, "no answer at all");
        assert_eq!(code(&ended(most(), &[" ", "Because."], "")), 0);
    }

    #[test]
    fn the_closing_line_has_only_what_there_is() {
        let result = ended(StopReason::NoSpeaker, &["a", "b"], "");
        let line = |not_run, files| {
            let (start, rest) = closing(std::slice::from_ref(&result), not_run, files);
            format!("{start} {rest}")
        };
        assert_eq!(line(0, ""), "2 messages ");
        assert_eq!(line(0, "1 file in out"), "2 messages; 1 file in out");
        assert_eq!(line(1, ""), "2 messages: 1 chat did not run");
        assert_eq!(line(2, "2 files in out"), "2 messages: 2 chats did not run; 2 files in out");
    }

    #[test]
    fn a_summary_is_shown_where_it_is_news() {
        let stop = || StopReason::NoSpeaker;
        let last = ended(stop(), &["Why?", "So. TERMINATE"], "So. ");
        assert_eq!(summaries(&[last.clone(), ended(stop(), &["Why?"], "")]), "");
        let other = ended(stop(), &["Why?", "So."], "They agree.\u{1b}[2J\n");
        assert_eq!(summaries(std::slice::from_ref(&other)), "\n>>>>>>>> SUMMARY:\n\nThey agree.\n");
        assert_eq!(summaries(&[last, other]), "\n>>>>>>>> SUMMARY OF CHAT 2:\n\nThey agree.\n");
    }
}
