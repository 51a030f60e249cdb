//! The text of a chat, as AutoGen 0.2 writes it on the console.
//!
//! ```text
//! user (to assistant):
//!
//! Plot a chart.
//!
//! --------------------------------------------------------------------------------
//!
//! >>>>>>>> EXECUTING CODE BLOCK 0 (inferred language is python)...
//! ```
//!
//! It is only text: the subscriber decides where to write it. Text of models, programs and people
//! is made harmless for a terminal (see [`sanitize`](crate::sanitize)). Nested chats are indented.
//! If several chats run at once, one message is shown at a time, and the events of other chats wait
//! until it is complete.

mod lines;
mod order;

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{
    event::{Event, EventSink},
    message::Message,
    sanitize::{Sanitizer, one_line},
};
use lines::Lines;
use order::Order;

/// Converts events to the text of a console.
///
/// ```
/// use std::sync::Arc;
/// use cellblock_agents::{Agent, Chat, ModelClient, Transcript};
///
/// # async fn example(model: Arc<dyn ModelClient>) -> cellblock_agents::Result<()> {
/// let events = Some(Transcript::default().sink(|text| print!("{text}")));
/// let (user, assistant) = (Agent::user_proxy("user"), Agent::assistant("assistant", model));
/// let chat = Chat { events, ..Chat::between(user, assistant) };
/// chat.run("Tell me a joke about stock prices.").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Transcript {
    colour: bool,
    order: Order,
    open: Option<OpenMessage>,
    lines: Lines,
}

/// A message whose text is arriving.
#[derive(Debug)]
struct OpenMessage {
    chat: String,
    from: String,
    /// The text so far, to compare with the whole message.
    text: String,
    sanitizer: Sanitizer,
}

/// AutoGen's colours, by the numbers of ECMA-48.
const YELLOW: u8 = 33;
const RED: u8 = 31;
const GREEN: u8 = 32;

impl Transcript {
    /// Sets whether names and marks have AutoGen's colours. Without them there are no control
    /// sequences.
    #[must_use]
    pub fn coloured(self, colour: bool) -> Self {
        Self { colour, ..self }
    }

    /// Creates a sink that passes each new text to `write`.
    pub fn sink(self, write: impl Fn(&str) + Send + Sync + 'static) -> EventSink {
        let transcript = Mutex::new(self);
        Arc::new(move |event| {
            // Written under the lock, so that texts of two threads keep their order.
            let mut transcript = transcript.lock();
            let text = transcript.push(event);
            if !text.is_empty() {
                write(&text);
            }
        })
    }

    /// Returns the text that an event adds; empty while a message of another chat is open.
    pub fn push(&mut self, event: &Event) -> String {
        let open = self.open.as_ref().map(|open| open.chat.as_str());
        if !self.order.may_show(event, open) {
            self.order.hold(event);
            return String::new();
        }
        self.show(event);
        // Waiting events follow as far as they can; one of them may open a message.
        while let Some(next) = self.order.next(self.open.as_ref().map(|open| open.chat.as_str())) {
            self.show(&next);
        }
        self.lines.take()
    }

    fn show(&mut self, event: &Event) {
        if let Event::ChatStarted { chat, parent, .. } = event {
            self.order.start(chat, parent.as_deref());
        }
        self.lines.set_depth(self.order.depth(event.chat()));
        match event {
            Event::Text { chat, from, to, text, .. } => self.text(chat, from, to, text),
            Event::Message { chat, to, message, .. } => self.message(chat, to, message),
            Event::TextWithdrawn { chat, from } => self.withdraw(chat, from),
            Event::ChatStopped { chat, reason, .. } => {
                self.break_off();
                self.mark(&format!("TERMINATING RUN ({chat}): {reason}"));
                self.order.end(chat);
            }
            _ => {
                self.break_off();
                self.mention(event);
            }
        }
    }

    /// Shows an event that takes a line or two.
    fn mention(&mut self, event: &Event) {
        match event {
            Event::ChatStarted { parent: Some(_), agents, .. } => {
                let agents = one_line(&agents.join(", "));
                self.lines.set_off(&format!("{STARS}\nStarting a new chat: {agents}\n{STARS}\n"));
            }
            Event::SpeakerSelected { speaker, .. } => {
                let next = self.paint(GREEN, &format!("Next speaker: {}", one_line(speaker)));
                self.lines.set_off(&format!("{next}\n\n"));
            }
            Event::HumanAnswered { text: None, .. } => self.mark("USING AUTO REPLY..."),
            Event::BlockStarted { index, language, .. } => {
                self.mark(&format!(
                    "EXECUTING CODE BLOCK {index} (inferred language is {language})..."
                ));
            }
            Event::Installing { packages, .. } => {
                self.mark(&format!("INSTALLING {}...", packages.join(", ")))
            }
            Event::Installed { packages, .. } if !packages.is_empty() => {
                self.mark(&format!("INSTALLED {}", packages.join(", ")));
            }
            Event::ToolStarted { call, from_code, .. } => {
                let who = if *from_code { ", called by code" } else { "" };
                self.mark(&format!("EXECUTING FUNCTION {}{who}...", call.name));
            }
            Event::Notice { text, .. } => self.mark(&format!("NOTE: {text}")),
            _ => {}
        }
    }

    /// Adds a marked line of the transcript itself.
    fn mark(&mut self, text: &str) {
        let line = self.paint(RED, &format!(">>>>>>>> {}", harmless(text)));
        self.lines.set_off(&format!("{line}\n"));
    }

    fn text(&mut self, chat: &str, from: &str, to: &str, text: &str) {
        if self.open.as_ref().is_none_or(|open| open.chat != chat || open.from != from) {
            self.break_off();
            self.head(from, to);
            let (chat, from) = (chat.to_owned(), from.to_owned());
            self.open = Some(OpenMessage {
                chat,
                from,
                text: String::new(),
                sanitizer: Sanitizer::default(),
            });
        }
        if let Some(open) = &mut self.open {
            open.text.push_str(text);
            let shown = open.sanitizer.push(text.as_bytes());
            self.lines.push(&shown);
        }
    }

    fn message(&mut self, chat: &str, to: &str, message: &Message) {
        match self.open.take_if(|open| open.chat == chat && open.from == message.name) {
            Some(open) if open.text == *message.text() => {
                self.lines.push("\n");
                self.extras(message);
            }
            Some(_) => {
                // A hook changed it after it was streamed.
                self.lines.push("\n");
                self.mark("THE MESSAGE WAS CHANGED BEFORE IT WAS SENT:");
                self.lines.push("\n");
                self.body(message);
            }
            None => {
                self.break_off();
                self.head(&message.name, to);
                self.body(message);
            }
        }
        self.lines.push(&format!("\n{RULE}\n"));
    }

    fn withdraw(&mut self, chat: &str, from: &str) {
        if self.open.as_ref().is_some_and(|open| open.chat == chat && open.from == from) {
            self.break_off();
        }
    }

    /// Ends a message that will not be complete.
    fn break_off(&mut self) {
        if let Some(open) = self.open.take() {
            // The next event may be of a chat at another depth.
            let depth = self.lines.set_depth(self.order.depth(&open.chat));
            self.lines.push("\n");
            self.mark("THE ANSWER BROKE OFF. IGNORE THE TEXT ABOVE");
            self.lines.push(&format!("\n{RULE}\n"));
            self.lines.set_depth(depth);
        }
    }

    fn head(&mut self, from: &str, to: &str) {
        let name = self.paint(YELLOW, &one_line(from));
        self.lines.push(&format!("{name} (to {}):\n\n", one_line(to)));
    }

    fn body(&mut self, message: &Message) {
        let text = message.text();
        // An agent that only calls tools has no text.
        if !text.is_empty() || message.tool_calls.is_empty() && message.tool_results.is_empty() {
            self.lines.push(&format!("{}\n", harmless(&text)));
        }
        self.extras(message);
    }

    /// Adds the images, tool calls and tool results of a message.
    fn extras(&mut self, message: &Message) {
        for image in message.content.images() {
            let size = size(image.data.len());
            self.lines.push(&format!("<image {}, {size}>\n", one_line(&image.media_type)));
        }
        for call in &message.tool_calls {
            let arguments = format!("Arguments: \n{}", harmless(&call.arguments));
            self.framed(&format!("Suggested tool call ({}): {}", call.id, call.name), &arguments);
        }
        for result in &message.tool_results {
            self.framed(
                &format!("Response from calling tool ({})", result.id),
                &harmless(&result.content),
            );
        }
    }

    fn framed(&mut self, title: &str, content: &str) {
        let title = format!("***** {} *****", one_line(title));
        let stars = self.paint(GREEN, &"*".repeat(title.chars().count()));
        let title = self.paint(GREEN, &title);
        self.lines.push(&format!("{title}\n{content}\n{stars}\n"));
    }

    fn paint(&self, colour: u8, text: &str) -> String {
        if self.colour { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The line below a message: 80 dashes.
const RULE: &str =
    "--------------------------------------------------------------------------------";

/// The lines around the announcement of a nested chat: 80 stars.
const STARS: &str =
    "********************************************************************************";

/// Makes a whole text harmless for a terminal.
fn harmless(text: &str) -> String {
    Sanitizer::default().push(text.as_bytes())
}

/// Formats a number of bytes, such as `53.9 KiB`.
fn size(bytes: usize) -> String {
    // Precise enough for one decimal.
    #[allow(clippy::cast_precision_loss)]
    let kibi = bytes as f64 / 1024.0;
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{kibi:.1} KiB"),
        _ => format!("{:.1} MiB", kibi / 1024.0),
    }
}

#[cfg(test)]
mod tests;
