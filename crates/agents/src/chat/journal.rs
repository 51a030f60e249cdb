//! What is kept of a chat beside its messages: what people said and tools that were called, in it and in the chats within it,
//! and its log, if it has one.
//!
//! It is shared by all that happens in the chat, so that a call out of code, and what is spent deep below, is kept when it
//! happens and not when a message tells of it: the process may end in between, and a chat within this one may be cut off.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    StopReason,
    log::{Begun, Calling, Kept, Log},
};
use crate::{budget::Ledger, error::Result, message::Message, tool::ToolRecord};

/// The journal of a chat.
#[derive(Debug)]
pub(crate) struct Journal {
    /// What the chat has spent.
    ledger: Arc<Ledger>,
    /// That of the chat that this one is in.
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
    pub(crate) fn new(ledger: Arc<Ledger>, above: Option<Arc<Journal>>) -> Self {
        Self { ledger, above, pages: Mutex::default() }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This journal and those above it, from within.
    fn all(&self) -> impl Iterator<Item = &Journal> {
        std::iter::successors(Some(self), |journal| journal.above.as_deref())
    }

    /// From here on, all is also written to a log.
    pub(super) fn keep(&self, log: Log) {
        self.pages().log = Some(log);
    }

    /// From here on, nothing is written any more.
    pub(super) fn drop_log(&self) {
        self.pages().log = None;
    }

    /// Goes on from what was kept before.
    pub(super) fn go_on(&self, human_input: Vec<String>, tool_calls: Vec<ToolRecord>) {
        let mut pages = self.pages();
        (pages.human_input, pages.tool_calls) = (human_input, tool_calls);
    }

    /// Saves a message, if there is a log; `kept` goes with it.
    pub(super) fn message(&self, message: &Message, kept: impl FnOnce() -> Kept) -> Result<()> {
        match &mut self.pages().log {
            Some(log) => log.spent(&self.ledger.cost()).and_then(|()| log.message(message, kept())),
            None => Ok(()),
        }
    }

    /// Saves that something begins that must not be done twice.
    pub(super) fn begin(&self, begun: Begun) -> Result<()> {
        self.pages().log.as_mut().map_or(Ok(()), |log| log.begun(begun))
    }

    /// Saves what was spent, here and above. What cannot be written is written with the next message, or ends the chat then.
    pub(crate) fn spent(&self) {
        for journal in self.all() {
            if let Some(log) = &mut journal.pages().log {
                // Read under the lock: of two calls that end at once, the later line has both.
                let _ = log.spent(&journal.ledger.cost());
            }
        }
    }

    /// Keeps what the person behind an agent said; above, with the agent's name before it.
    pub(crate) fn heard(&self, agent: &str, text: &str) {
        let mut pages = self.pages();
        pages.human_input.push(text.to_owned());
        if let Some(log) = &mut pages.log {
            log.human(text);
        }
        drop(pages);
        for journal in self.all().skip(1) {
            let marked = format!("{agent}: {text}");
            let mut pages = journal.pages();
            if let Some(log) = &mut pages.log {
                let _ = log.said_within(&marked);
            }
            pages.human_input.push(marked);
        }
    }

    /// Saves that running code is about to call a tool.
    pub(crate) fn calling(&self, calling: &Calling) -> Result<()> {
        self.all().try_for_each(|journal| {
            journal.pages().log.as_mut().map_or(Ok(()), |log| log.calling(calling))
        })
    }

    /// Keeps tool calls, here and above.
    pub(crate) fn called(&self, records: Vec<ToolRecord>) -> Result<()> {
        for journal in self.all().skip(1) {
            journal.pages().add(records.clone())?;
        }
        self.pages().add(records)
    }

    /// Ends it, and gives what people said and which tools were called.
    pub(super) fn close(&self, stop: &StopReason) -> (Vec<String>, Vec<ToolRecord>) {
        let mut pages = self.pages();
        if let Some(mut log) = pages.log.take() {
            // The chat is over; what cannot be written now changes nothing of its result.
            let _ = log.spent(&self.ledger.cost()).and_then(|()| log.stopped(stop));
        }
        (std::mem::take(&mut pages.human_input), std::mem::take(&mut pages.tool_calls))
    }
}

impl Pages {
    fn add(&mut self, records: Vec<ToolRecord>) -> Result<()> {
        if let Some(log) = &mut self.log {
            records.iter().try_for_each(|record| log.tool(record))?;
        }
        self.tool_calls.extend(records);
        Ok(())
    }
}
