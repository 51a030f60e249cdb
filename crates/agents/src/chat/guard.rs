//! Loops that lead nowhere.

use super::{Chat, StopReason};
use crate::message::{Message, ToolResult};

/// What has come again and again.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// For each agent, how many empty messages in a row.
    empty: Vec<u32>,
    /// The last failure of code or tools, and how often it came in a row.
    failure: Option<(String, u32)>,
}

/// What came of the code or the tools that a message tells of. Whoever ran them says so: the text may have been changed since.
#[derive(Debug, Default)]
pub(super) enum Came {
    /// Nothing was run.
    #[default]
    Nothing,
    /// It went well, at least in part.
    Well,
    /// It failed, with this output.
    Failed(String),
}

impl Came {
    /// What came of tool calls.
    pub(super) fn of(results: &[ToolResult]) -> Self {
        if results.iter().any(|result| !result.is_error) {
            return Came::Well;
        }
        Came::Failed(
            results.iter().map(|result| format!("{}: {}\n", result.name, result.content)).collect(),
        )
    }
}

/// Tracebacks name a block by its number in the session, which rises: the same failure is to read the same.
fn without_numbers_of_blocks(output: &str) -> String {
    const BLOCK: &str = "<block ";
    let mut parts = output.split(BLOCK);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + BLOCK + part.trim_start_matches(|c: char| c.is_ascii_digit())
    })
}

impl Guard {
    /// Looks at a message of the agent at `speaker`.
    pub(super) fn see(&mut self, chat: &Chat, speaker: usize, message: &Message, came: Came) {
        self.empty.resize(chat.agents.len(), 0);
        self.empty[speaker] = if message.is_empty() { self.empty[speaker] + 1 } else { 0 };
        match came {
            Came::Nothing => {}
            Came::Well => self.failure = None,
            Came::Failed(output) => {
                let output = without_numbers_of_blocks(&output);
                let times = match &self.failure {
                    Some((last, times)) if *last == output => times + 1,
                    _ => 1,
                };
                self.failure = Some((output, times));
            }
        }
    }

    /// Why the chat is to end, if it is.
    pub(super) fn verdict(&self, chat: &Chat) -> Option<StopReason> {
        if let Some(most) = chat.max_empty
            && let Some(speaker) = self.empty.iter().position(|times| *times >= most)
        {
            let agent = chat.agents[speaker].name.clone();
            return Some(StopReason::EmptyMessages { agent, times: self.empty[speaker] });
        }
        match (&self.failure, chat.max_same_failures) {
            (Some((_, times)), Some(most)) if *times >= most => {
                Some(StopReason::SameFailure { times: *times })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::without_numbers_of_blocks;

    #[test]
    fn the_numbers_of_blocks_make_no_difference() {
        let failure = |block: u32| {
            format!("File \"<block {block}>\", line 12\nFile \"<block 1>\", line 3: 4 < 5")
        };
        assert_eq!(without_numbers_of_blocks(&failure(7)), without_numbers_of_blocks(&failure(8)));
        assert_eq!(
            without_numbers_of_blocks(&failure(7)),
            "File \"<block >\", line 12\nFile \"<block >\", line 3: 4 < 5"
        );
        assert_eq!(without_numbers_of_blocks("nothing of it"), "nothing of it");
    }
}
