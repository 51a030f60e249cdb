//! How a chat ended: the closing line, the JSON, and the exit status.

use std::io::Write as _;

use anyhow::Result;
use cellblock_agents::{ChatResult, Cost, ModelError, Spent, StopReason};
use serde::Serialize;

use super::follow::{Follower, Form};
use crate::{
    failure,
    render::{BAD, GOOD},
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
    results: &[ChatResult],
    not_run: usize,
    follower: &Follower,
    unrecorded: Option<ModelError>,
    json: bool,
) -> Result<u8> {
    // The first chat that did not come to its end is why others did not run.
    let stops = results.iter().map(|result| &result.stop);
    let mut exit_code = stops.clone().map(code).find(|code| *code != 0).unwrap_or(0);
    if follower.form == Form::Transcript {
        let colour = if exit_code == 0 { GOOD } else { BAD };
        let (start, rest) = closing(results, not_run);
        follower.screen.line(colour, &start, &format!("{rest}{}", follower.artifacts.summary()));
    }
    follower.screen.finish()?;
    for stop in stops {
        if let StopReason::Failed { message, causes, .. } = stop {
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
        print(&match results {
            [result] if not_run == 0 => Output::One { result, exit_code },
            chats => Output::Several { chats, exit_code },
        })?;
    }
    Ok(exit_code)
}

/// The exit status of an end.
fn code(stop: &StopReason) -> u8 {
    match stop {
        stop if stop.is_success() => 0,
        StopReason::EmptyMessages { .. } | StopReason::SameFailure { .. } => WENT_NOWHERE,
        StopReason::Budget(Spent::Time { .. }) => OUT_OF_TIME,
        StopReason::Budget(_) => failure::REFUSED,
        StopReason::Cancelled => failure::INTERRUPTED,
        _ => failure::FAILED,
    }
}

/// What was said and spent, such as `4 messages, 591 tokens, $0.0001`.
fn closing(results: &[ChatResult], not_run: usize) -> (String, String) {
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let messages = results.iter().map(|result| result.history.len()).sum();
    let mut cost = Cost::default();
    results.iter().for_each(|result| cost.merge(&result.cost));
    let (all, paid) = (cost.including_cached.tokens(), cost.excluding_cached.tokens());
    let mut rest = String::new();
    if all > 0 {
        let cached = if all > paid { format!(" ({} from the cache)", all - paid) } else { String::new() };
        rest = format!("{all} tokens{cached}");
    }
    if cost.excluding_cached.total_cost > 0.0 {
        rest = format!("{rest}, ${:.4}", cost.excluding_cached.total_cost);
    }
    if not_run > 0 {
        let chats = count(not_run, "chat");
        rest = format!("{rest}{}{chats} did not run", if rest.is_empty() { "" } else { ", " });
    }
    let start = match rest.is_empty() {
        true => count(messages, "message"),
        false => format!("{}:", count(messages, "message")),
    };
    (start, rest)
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

    #[test]
    fn exit_statuses_tell_ends_apart() {
        let agent = || "user".to_owned();
        for (stop, expected) in [
            (StopReason::MaxTurns { turns: 2 }, 0),
            (StopReason::Termination { agent: agent() }, 0),
            (StopReason::Human { agent: agent() }, 0),
            (StopReason::EmptyMessages { agent: agent(), times: 3 }, 1),
            (StopReason::SameFailure { times: 3 }, 1),
            (StopReason::Budget(Spent::Time { limit: 1.0 }), 124),
            (StopReason::Failed { message: String::new(), causes: vec![], partial: None }, 125),
            (StopReason::Budget(Spent::Cost { limit: 1.0, spent: 2.0 }), 126),
            (StopReason::Budget(Spent::Tokens { limit: 1, spent: 2 }), 126),
            (StopReason::Cancelled, 130),
        ] {
            assert_eq!(code(&stop), expected, "{stop}");
        }
    }
}
