//! The exit statuses of the command. Help texts and the manual page are made from the table below;
//! a test compares it with the pages of `docs/` that list them.

use std::fmt::Write as _;

/// Success: every block exited 0, or the chat ended as planned.
pub const SUCCESS: u8 = 0;
/// A block failed, a chat made no progress, or a check found a fault.
pub const FAILED: u8 = 1;
/// Invalid arguments or input.
pub const USAGE: u8 = 2;
/// Out of time, as with `timeout(1)`.
pub const TIMEOUT: u8 = 124;
/// A failure of cellblock, not of a program in the sandbox.
pub const INTERNAL: u8 = 125;
/// Refused by policy, unsupported, or over budget.
pub const REFUSED: u8 = 126;
/// Interrupted: 128 and the number of SIGINT.
pub const INTERRUPTED: u8 = 130;
/// The reader of our output has gone: 128 and the number of SIGPIPE.
pub const CLOSED_OUTPUT: u8 = 141;

/// An exit status, and its meaning for the commands that run blocks and for `chat`.
pub struct ExitStatus {
    code: u8,
    run: &'static str,
    chat: &'static str,
}

/// All exit statuses, in order.
pub const STATUSES: [ExitStatus; 8] = [
    ExitStatus {
        code: SUCCESS,
        run: "every block that ran exited 0",
        chat: "the chat ended as planned: an agent or you ended it, or it reached `--max-turns`",
    },
    ExitStatus {
        code: FAILED,
        run: "a block failed: exit code, crash, or a limit other than wall time",
        chat: "the chat made no progress: empty messages, or the same failure again and again",
    },
    ExitStatus {
        code: USAGE,
        run: "invalid arguments, or invalid input: not UTF-8, empty, or without a code block",
        chat: "invalid arguments, an invalid file, or no key for the model",
    },
    ExitStatus {
        code: TIMEOUT,
        run: "a block ran out of wall time (`--timeout`)",
        chat: "the chat ran out of time (`--max-time`)",
    },
    ExitStatus {
        code: INTERNAL,
        run: "cellblock itself failed",
        chat: "a model, a sandbox or cellblock itself failed",
    },
    ExitStatus {
        code: REFUSED,
        run: "refused by policy, or unsupported",
        chat: "the budget is spent (`--budget`, `--max-total-tokens`), or an option is unsupported",
    },
    ExitStatus { code: INTERRUPTED, run: "interrupted by Ctrl-C", chat: "interrupted by Ctrl-C" },
    ExitStatus {
        code: CLOSED_OUTPUT,
        run: "the reader of the output closed it",
        chat: "the reader of the output closed it",
    },
];

/// Returns the exit statuses of `run` and `exec` as a section of a help text.
pub fn help_for_run() -> String {
    help(|status| status.run)
}

/// Returns the exit statuses of `chat` as a section of a help text.
pub fn help_for_chat() -> String {
    help(|status| status.chat)
}

fn help(meaning: fn(&ExitStatus) -> &'static str) -> String {
    let mut text = "Exit status:".to_owned();
    for status in &STATUSES {
        let _ = write!(text, "\n  {:<4} {}", status.code, meaning(status));
    }
    text
}

#[cfg(test)]
mod tests {
    use cellblock_exec::{Limit, Outcome};

    use super::*;

    /// Rows of a Markdown table that begin with a number in the first column, as written.
    fn rows(page: &str) -> Vec<&str> {
        let is_status = |line: &&str| {
            let cell = line.strip_prefix("| ").and_then(|rest| rest.split(" |").next());
            cell.is_some_and(|cell| cell.parse::<u8>().is_ok())
        };
        page.lines().filter(is_status).collect()
    }

    #[test]
    fn the_documentation_lists_these_statuses() {
        let (run, chat) =
            (include_str!("../../../docs/run-answers.md"), include_str!("../../../docs/chat.md"));
        let expected = |meaning: fn(&ExitStatus) -> &'static str| {
            STATUSES.iter().map(move |status| format!("| {} | {} |", status.code, meaning(status)))
        };
        assert_eq!(rows(run), expected(|status| status.run).collect::<Vec<_>>());
        assert_eq!(rows(chat), expected(|status| status.chat).collect::<Vec<_>>());
    }

    #[test]
    fn outcomes_of_blocks_have_these_statuses() {
        for (outcome, expected) in [
            (Outcome::Exited { code: 0 }, SUCCESS),
            (Outcome::Skipped, SUCCESS),
            (Outcome::Exited { code: 7 }, FAILED),
            (Outcome::Signaled { signal: 11 }, FAILED),
            (Outcome::LimitExceeded { limit: Limit::Memory }, FAILED),
            (Outcome::LimitExceeded { limit: Limit::Wall }, TIMEOUT),
            (Outcome::Denied { what: String::new() }, REFUSED),
            (Outcome::Unsupported { what: String::new() }, REFUSED),
            (Outcome::Cancelled, INTERRUPTED),
        ] {
            assert_eq!(outcome.exit_code(), expected, "{outcome:?}");
        }
    }
}
