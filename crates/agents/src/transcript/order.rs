//! The order of events if several chats run at once: one message is shown at a time.

use std::collections::{HashMap, VecDeque};

use crate::event::Event;

/// The running chats, and the events that wait.
#[derive(Debug, Default)]
pub struct Order {
    /// The parent of each chat.
    parents: HashMap<String, Option<String>>,
    /// Events that happened while a message of another chat was open, in their order.
    held: VecDeque<Event>,
}

impl Order {
    pub fn start(&mut self, chat: &str, parent: Option<&str>) {
        self.parents.insert(chat.to_owned(), parent.map(str::to_owned));
    }

    pub fn end(&mut self, chat: &str) {
        self.parents.remove(chat);
    }

    /// The chats that contain a chat, from the inside out.
    fn above<'o>(&'o self, chat: &'o str) -> impl Iterator<Item = &'o str> {
        std::iter::successors(Some(chat), |chat| self.parents.get(*chat)?.as_deref()).skip(1)
    }

    /// The depth of nesting of a chat.
    pub fn depth(&self, chat: &str) -> usize {
        self.above(chat).count()
    }

    /// True if an event may be shown while a message of the chat `open` is open.
    pub fn may_show(&self, event: &Event, open: Option<&str>) -> bool {
        let Some(open) = open else { return true };
        let continues =
            matches!(event, Event::Message { .. } | Event::Text { .. } | Event::ChatStopped { .. });
        if event.chat() == open {
            return continues || matches!(event, Event::TextWithdrawn { .. });
        }
        // A chat that continues contains no other any more: the open one was ended without an
        // event.
        continues && self.above(open).any(|above| above == event.chat())
    }

    pub fn hold(&mut self, event: &Event) {
        self.held.push_back(event.clone());
    }

    /// Takes the next waiting event that may be shown.
    pub fn next(&mut self, open: Option<&str>) -> Option<Event> {
        let place = self.held.iter().position(|event| self.may_show(event, open))?;
        self.held.remove(place)
    }
}
