//! A chat as a person or a program watches it.

use std::{io::IsTerminal as _, sync::Arc};

use cellblock_agents::{Event, EventSink, Transcript};
use parking_lot::Mutex;

use crate::{
    artifacts::Artifacts,
    render::{
        pictures::PictureProtocol,
        screen::{Message, Screen},
        text::NOTE,
    },
};

/// The form of standard output while a chat runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputForm {
    /// The transcript.
    Transcript,
    /// Events as lines of JSON.
    Events,
    /// Nothing.
    Silent,
}

/// Shows a chat and stores its artifacts.
pub struct ChatConsole {
    pub form: OutputForm,
    pub screen: Arc<Screen>,
    pub artifacts: Artifacts,
    transcript: Mutex<Transcript>,
    pictures: Option<PictureProtocol>,
    /// The sessions that created files so far, by chat and agent: each agent has its own.
    sessions: Mutex<Vec<(String, String)>>,
}

impl ChatConsole {
    /// Returns a console that stores the artifacts.
    pub fn new(form: OutputForm, screen: Arc<Screen>, artifacts: Artifacts) -> Self {
        let stdout = std::io::stdout();
        let colour = stdout.is_terminal()
            && anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        let pictures = (form == OutputForm::Transcript && stdout.is_terminal())
            .then(PictureProtocol::of_terminal)
            .flatten();
        let transcript = Mutex::new(Transcript::default().coloured(colour));
        Self { form, screen, artifacts, transcript, pictures, sessions: Mutex::default() }
    }

    /// Returns the subscriber for the events of a chat.
    pub fn sink(self: &Arc<Self>) -> EventSink {
        let console = self.clone();
        Arc::new(move |event| console.show(event))
    }

    fn show(&self, event: &Event) {
        match self.form {
            OutputForm::Silent => drop(self.store(event)),
            OutputForm::Events => {
                let stored = self.store(event);
                if let Ok(line) = serde_json::to_string(stored.as_ref().unwrap_or(event)) {
                    self.screen.send(Message::Text(line + "\n"));
                }
            }
            OutputForm::Transcript => {
                // Sent under the lock, which keeps the order of chats that run at the same time.
                let mut transcript = self.transcript.lock();
                let text = transcript.push(event);
                if !text.is_empty() {
                    self.screen.send(Message::Text(text));
                }
                drop(transcript);
                self.store(event);
            }
        }
    }

    /// Stores the artifacts of a finished block. Returns the event with the files of the artifacts;
    /// `None` for other events.
    fn store(&self, event: &Event) -> Option<Event> {
        let Event::BlockFinished { chat, agent, report } = event else { return None };
        let screen = (self.form == OutputForm::Transcript).then_some(&*self.screen);
        let mut stored = report.clone();
        let subdirectory = match stored.artifacts.as_slice() {
            [] => String::new(),
            _ => subdirectory(self.session(chat, agent)),
        };
        let notes = self.artifacts.store(&mut stored, &subdirectory, screen);
        for artifact in &report.artifacts {
            let picture = self.pictures.and_then(|protocol| protocol.encode(artifact));
            picture.into_iter().for_each(|picture| self.screen.send(Message::Text(picture)));
        }
        if let Some(screen) = screen {
            for refused in &stored.refused {
                let rest = format!("{}: {}", refused.path, refused.reason);
                screen.line(NOTE, "refused:", &rest);
            }
            notes.iter().for_each(|note| screen.line(NOTE, "note:", note));
        }
        stored.notes.extend(notes);
        let (chat, agent) = (chat.clone(), agent.clone());
        Some(Event::BlockFinished { chat, agent, report: stored })
    }

    /// Returns the file that an artifact of an agent was written to.
    pub fn file(&self, chat: &str, agent: &str, path: &str) -> Option<String> {
        let sessions = self.sessions.lock();
        let number = sessions.iter().position(|(of, by)| of == chat && by == agent)?;
        self.artifacts.file(&format!("{}{path}", subdirectory(number)))
    }

    /// Returns the number of an agent's session among those that created files, from 0.
    fn session(&self, chat: &str, agent: &str) -> usize {
        let mut sessions = self.sessions.lock();
        let known = sessions.iter().position(|(of, by)| of == chat && by == agent);
        known.unwrap_or_else(|| {
            sessions.push((chat.to_owned(), agent.to_owned()));
            sessions.len() - 1
        })
    }
}

/// Returns the directory for the files of a session, below the output directory. Files of two
/// sessions may have the same name.
fn subdirectory(session: usize) -> String {
    match session {
        0 => String::new(),
        number => format!("session-{}/", number + 1),
    }
}
