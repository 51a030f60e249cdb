//! The end of a chat: the closing line, the JSON, and the exit status.

use std::io::IsTerminal as _;

use anyhow::Result;
use cellblock_agents::{
    BudgetExhausted, ChatResult, Cost, ModelError, StopReason, sanitize::Sanitizer,
};
use cellblock_exec::with_causes;
use serde::Serialize;

use super::{
    console::{ChatConsole, OutputForm},
    plan::PlanResults,
};
use crate::{
    exit, failure,
    render::{
        screen::Message,
        text::{BAD, GOOD, print_json},
    },
};

/// The object that `--json` prints.
#[derive(Serialize)]
#[serde(untagged)]
enum JsonResult<'r> {
    Chat {
        #[serde(flatten)]
        result: &'r ChatResult,
        exit_code: u8,
    },
    Sequence {
        chats: &'r [ChatResult],
        exit_code: u8,
    },
}

/// Shows how the chats ended, and returns the exit status. `recording_error` is the failure to
/// complete the recording.
///
/// # Errors
/// If standard output cannot be written.
pub fn finish(
    results: PlanResults,
    console: &ChatConsole,
    recording_error: Option<ModelError>,
    json: bool,
) -> Result<u8> {
    let PlanResults { mut results, not_run } = results;
    // The first chat that did not end as planned is the reason why others did not run.
    let mut exit_code =
        results.iter().map(code).find(|code| *code != exit::SUCCESS).unwrap_or(exit::SUCCESS);
    if console.form == OutputForm::Transcript {
        let text = summaries(&results);
        if !text.is_empty() {
            console.screen.send(Message::Text(text));
        }
        let colour = if exit_code == exit::SUCCESS { GOOD } else { BAD };
        let (label, rest) = closing(&results, not_run, &console.artifacts.summary());
        console.screen.line(colour, &label, &rest);
    }
    console.screen.finish()?;
    // The transcript has the reason. Do not print it twice on the same terminal.
    let is_shown = console.form == OutputForm::Transcript
        && std::io::stdout().is_terminal()
        && std::io::stderr().is_terminal();
    for result in &results {
        if let (StopReason::Failed { message, causes, .. }, false) = (&result.stop, is_shown) {
            failure::print(message, causes.iter().cloned(), None);
        }
    }
    if let Some(error) = console.artifacts.failure() {
        failure::print(&error.message, error.causes.iter().cloned(), None);
        exit_code = exit::INTERNAL;
    }
    if let Some(error) = recording_error {
        failure::print(&with_causes(&error), std::iter::empty(), None);
        exit_code = exit::INTERNAL;
    }
    if json {
        results.iter_mut().for_each(|result| add_files(result, console));
        print_json(&match results.as_slice() {
            [result] if not_run == 0 => JsonResult::Chat { result, exit_code },
            chats => JsonResult::Sequence { chats, exit_code },
        })?;
    }
    Ok(exit_code)
}

/// Adds the files that artifacts were written to.
fn add_files(result: &mut ChatResult, console: &ChatConsole) {
    for message in &mut result.history {
        for artifact in &mut message.artifacts {
            artifact.file = console.file(&result.id, &message.name, &artifact.path);
        }
    }
}

/// Returns the exit status of a chat.
fn code(result: &ChatResult) -> u8 {
    match &result.stop {
        // The only answer that the turns allowed is empty.
        StopReason::MaxTurns { .. }
            if result.history.last().is_some_and(|last| last.is_empty()) =>
        {
            exit::FAILED
        }
        stop if stop.is_success() => exit::SUCCESS,
        StopReason::EmptyMessages { .. } | StopReason::SameFailure { .. } => exit::FAILED,
        StopReason::Budget(BudgetExhausted::Time { .. }) => exit::TIMEOUT,
        StopReason::Budget(_) => exit::REFUSED,
        StopReason::Cancelled => exit::INTERRUPTED,
        _ => exit::INTERNAL,
    }
}

/// Returns the summaries that differ from the last message, which the transcript has already.
fn summaries(results: &[ChatResult]) -> String {
    let mut text = String::new();
    for (index, result) in results.iter().enumerate() {
        let last = result
            .history
            .last()
            .map(|last| last.text().replace("TERMINATE", ""))
            .unwrap_or_default();
        let summary = result.summary.trim();
        if summary.is_empty() || summary == last.trim() {
            continue;
        }
        let of = match results.len() {
            0 | 1 => String::new(),
            _ => format!(" OF CHAT {}", index + 1),
        };
        let summary = Sanitizer::default().push(summary.as_bytes());
        text.push_str(&format!("\n>>>>>>>> SUMMARY{of}:\n\n{summary}\n"));
    }
    text
}

/// Returns the closing line in two parts, such as `4 messages:` and `591 tokens, $0.0001; 2 files
/// in out`.
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

/// Prints the JSON of a chat that could not start.
///
/// # Errors
/// If standard output cannot be written.
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
    print_json(&JsonResult::Chat { result: &result, exit_code: failure::code(error) })
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
    fn each_stop_reason_has_its_exit_status() {
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
        let max_turns = || StopReason::MaxTurns { turns: 1 };
        assert_eq!(code(&ended(max_turns(), &["Why?", " "], "")), 1, "no answer at all");
        assert_eq!(code(&ended(max_turns(), &[" ", "Because."], "")), 0);
    }

    #[test]
    fn the_closing_line_has_no_empty_parts() {
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
    fn a_summary_is_shown_if_it_differs_from_the_last_message() {
        let stop = || StopReason::NoSpeaker;
        let last = ended(stop(), &["Why?", "So. TERMINATE"], "So. ");
        assert_eq!(summaries(&[last.clone(), ended(stop(), &["Why?"], "")]), "");
        let other = ended(stop(), &["Why?", "So."], "They agree.\u{1b}[2J\n");
        assert_eq!(summaries(std::slice::from_ref(&other)), "\n>>>>>>>> SUMMARY:\n\nThey agree.\n");
        assert_eq!(summaries(&[last, other]), "\n>>>>>>>> SUMMARY OF CHAT 2:\n\nThey agree.\n");
    }
}
