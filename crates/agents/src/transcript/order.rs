//! Whose turn it is to be shown, where several chats go on at once.

use std::collections::{HashMap, VecDeque};

use super::chat_of;
use crate::event::Event;

/// The chats that are going on, and the events that wait.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// For each chat the one that it is nested in.
    parents: HashMap<String, Option<String>>,
    /// Events that came while another chat was speaking, in the order in which they came.
    held: VecDeque<Event>,
}

impl Order {
    pub(super) fn begin(&mut self, chat: &str, parent: Option<&str>) {
        self.parents.insert(chat.to_owned(), parent.map(str::to_owned));
    }

    pub(super) fn end(&mut self, chat: &str) {
        self.parents.remove(chat);
    }

    /// The chats that a chat is nested in, from within.
    fn above<'o>(&'o self, chat: &'o str) -> impl Iterator<Item = &'o str> {
        std::iter::successors(Some(chat), |chat| self.parents.get(*chat)?.as_deref()).skip(1)
    }

    /// How deep a chat is nested.
    pub(super) fn depth(&self, chat: &str) -> usize {
        self.above(chat).count()
    }

    /// Whether an event may be shown while a chat `speaks`.
    pub(super) fn may_pass(&self, event: &Event, speaks: Option<&str>) -> bool {
        let Some(speaks) = speaks else { return true };
        let moves_on =
            matches!(event, Event::Message { .. } | Event::Text { .. } | Event::ChatStopped { .. });
        if chat_of(event) == speaks {
            return moves_on || matches!(event, Event::TextWithdrawn { .. });
        }
        // A chat that goes on has no other within it any more: the one that spoke was ended without a word.
        moves_on && self.above(speaks).any(|above| above == chat_of(event))
    }

    pub(super) fn hold(&mut self, event: &Event) {
        self.held.push_back(event.clone());
    }

    /// The next event that has waited long enough.
    pub(super) fn next(&mut self, speaks: Option<&str>) -> Option<Event> {
        let place = self.held.iter().position(|event| self.may_pass(event, speaks))?;
        self.held.remove(place)
    }
}
