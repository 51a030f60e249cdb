//! The guard against loops: empty messages and equal failures in a row.

use super::turn::WorkOutcome;
use crate::{chat::Chat, message::Message, record::StopReason};

/// Counts repetitions.
#[derive(Debug, Default)]
pub struct LoopGuard {
    /// The empty messages of each agent in a row.
    empty: Vec<u32>,
    /// The output of the last failure of code or tools, and the number of equal ones in a row.
    failure: Option<(String, u32)>,
}

impl LoopGuard {
    /// Counts a message of the agent at `speaker`, and the outcome of the work that it reports.
    pub fn count(
        &mut self,
        chat: &Chat,
        speaker: usize,
        message: &Message,
        work: Option<WorkOutcome>,
    ) {
        self.empty.resize(chat.agents.len(), 0);
        self.empty[speaker] = if message.is_empty() { self.empty[speaker] + 1 } else { 0 };
        match work {
            None => {}
            Some(WorkOutcome::Succeeded) => self.failure = None,
            Some(WorkOutcome::Failed(output)) => {
                let output = without_block_numbers(&output);
                let times = match &self.failure {
                    Some((last, times)) if *last == output => times + 1,
                    _ => 1,
                };
                self.failure = Some((output, times));
            }
        }
    }

    /// The reason to end the chat, if a maximum was reached.
    pub fn stop_reason(&self, chat: &Chat) -> Option<StopReason> {
        if let Some(max) = chat.max_empty
            && let Some(speaker) = self.empty.iter().position(|times| *times >= max)
        {
            let agent = chat.agents[speaker].name.clone();
            return Some(StopReason::EmptyMessages { agent, times: self.empty[speaker] });
        }
        match (&self.failure, chat.max_same_failures) {
            (Some((_, times)), Some(max)) if *times >= max => {
                Some(StopReason::SameFailure { times: *times })
            }
            _ => None,
        }
    }
}

/// Removes the numbers of blocks from tracebacks. They rise in a session, and equal failures must
/// be equal.
fn without_block_numbers(output: &str) -> String {
    const BLOCK: &str = "<block ";
    let mut parts = output.split(BLOCK);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + BLOCK + part.trim_start_matches(|c: char| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::without_block_numbers;

    #[test]
    fn the_numbers_of_blocks_make_no_difference() {
        let failure = |block: u32| {
            format!("File \"<block {block}>\", line 12\nFile \"<block 1>\", line 3: 4 < 5")
        };
        assert_eq!(without_block_numbers(&failure(7)), without_block_numbers(&failure(8)));
        assert_eq!(
            without_block_numbers(&failure(7)),
            "File \"<block >\", line 12\nFile \"<block >\", line 3: 4 < 5"
        );
        assert_eq!(without_block_numbers("nothing of it"), "nothing of it");
    }
}
