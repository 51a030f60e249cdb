//! The journal of a chat: human input and tool calls, in it and in the chats within it, and its log
//! if it has one.
//!
//! Everything in the chat shares it. So a call that code makes, or a cost deep below, is recorded
//! when it happens, not with the next message: the process may end in between, and a nested chat
//! may be cut off.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{
    budget::Ledger,
    calls::{PendingCall, ToolRecord},
    format::{Checkpoint, PendingWork},
    log::Log,
    result::StopReason,
};
use crate::{error::Result, message::Message};

/// The journal of a chat.
#[derive(Debug)]
pub struct Journal {
    ledger: Arc<Ledger>,
    /// The journal of the chat that contains this one.
    above: Option<Arc<Journal>>,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    log: Option<Log>,
    human_input: Vec<String>,
    tool_calls: Vec<ToolRecord>,
}

impl Journal {
    pub fn new(ledger: Arc<Ledger>, above: Option<Arc<Journal>>) -> Self {
        Self { ledger, above, pages: Mutex::default() }
    }

    /// This journal and those above it, from the inside out.
    fn all(&self) -> impl Iterator<Item = &Journal> {
        std::iter::successors(Some(self), |journal| journal.above.as_deref())
    }

    /// Starts to write everything to a log, too.
    pub fn attach_log(&self, log: Log) {
        self.pages.lock().log = Some(log);
    }

    /// Closes the log without an end, so that the chat can be resumed.
    pub fn detach_log(&self) {
        self.pages.lock().log = None;
    }

    /// Sets the records of a resumed chat.
    pub fn restore(&self, human_input: Vec<String>, tool_calls: Vec<ToolRecord>) {
        let mut pages = self.pages.lock();
        (pages.human_input, pages.tool_calls) = (human_input, tool_calls);
    }

    /// Saves a message with the state of the chat, which is only computed if there is a log.
    pub fn record_message(
        &self,
        message: &Message,
        checkpoint: impl FnOnce() -> Checkpoint,
    ) -> Result<()> {
        match &mut self.pages.lock().log {
            Some(log) => {
                log.cost(&self.ledger.cost())?;
                log.message(message, checkpoint())
            }
            None => Ok(()),
        }
    }

    /// Saves that work starts which must not happen twice.
    pub fn record_work_start(&self, work: PendingWork) -> Result<()> {
        self.pages.lock().log.as_mut().map_or(Ok(()), |log| log.work_start(work))
    }

    /// Saves the cost, here and above. If that fails, the next message fails too and ends the chat.
    pub fn record_cost(&self) {
        for journal in self.all() {
            if let Some(log) = &mut journal.pages.lock().log {
                // Read under the lock: of two calls that end at once, the later line has both.
                let _ = log.cost(&journal.ledger.cost());
            }
        }
    }

    /// Records words of the person behind an agent; above, after the name of the agent.
    pub fn record_human_input(&self, agent: &str, text: &str) {
        let mut pages = self.pages.lock();
        pages.human_input.push(text.to_owned());
        if let Some(log) = &mut pages.log {
            log.human_input(text);
        }
        drop(pages);
        for journal in self.all().skip(1) {
            let marked = format!("{agent}: {text}");
            let mut pages = journal.pages.lock();
            if let Some(log) = &mut pages.log {
                let _ = log.nested_human_input(&marked);
            }
            pages.human_input.push(marked);
        }
    }

    /// Saves that running code is about to call a tool.
    pub fn record_call_start(&self, call: &PendingCall) -> Result<()> {
        self.all().try_for_each(|journal| {
            journal.pages.lock().log.as_mut().map_or(Ok(()), |log| log.call_start(call))
        })
    }

    /// Records tool calls, here and above.
    pub fn record_tool_calls(&self, records: Vec<ToolRecord>) -> Result<()> {
        for journal in self.all().skip(1) {
            journal.pages.lock().add(records.clone())?;
        }
        self.pages.lock().add(records)
    }

    /// Ends the record. Returns the human input and the tool calls.
    pub fn close(&self, stop: &StopReason) -> (Vec<String>, Vec<ToolRecord>) {
        let mut pages = self.pages.lock();
        if let Some(mut log) = pages.log.take() {
            // The chat is over; a failure to write changes nothing about its result.
            let _ = log.cost(&self.ledger.cost()).and_then(|()| log.stop(stop));
        }
        (std::mem::take(&mut pages.human_input), std::mem::take(&mut pages.tool_calls))
    }
}

impl Pages {
    fn add(&mut self, records: Vec<ToolRecord>) -> Result<()> {
        if let Some(log) = &mut self.log {
            records.iter().try_for_each(|record| log.tool_call(record))?;
        }
        self.tool_calls.extend(records);
        Ok(())
    }
}
