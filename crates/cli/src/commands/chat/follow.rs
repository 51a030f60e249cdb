//! A chat as a person or a program follows it.

use std::{
    io::IsTerminal as _,
    sync::{Arc, Mutex, PoisonError},
};

use cellblock_agents::{Event, EventSink, Transcript};

use crate::{
    render::{
        NOTE,
        artifacts::Artifacts,
        screen::{Message, Screen},
    },
    terminal::pictures::Pictures,
};

/// What standard output gets while a chat goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The transcript.
    Transcript,
    /// Lines of JSON.
    Events,
    /// Nothing.
    Silent,
}

/// Shows a chat and stores its artifacts.
pub struct Follower {
    /// What is shown.
    pub form: Form,
    /// Where.
    pub screen: Arc<Screen>,
    /// Files that were made.
    pub artifacts: Artifacts,
    transcript: Mutex<Transcript>,
    pictures: Option<Pictures>,
    /// Who made files so far, by chat and agent: each has a session of its own.
    sessions: Mutex<Vec<(String, String)>>,
}

impl Follower {
    /// A follower that stores the artifacts.
    pub fn new(form: Form, screen: Arc<Screen>, artifacts: Artifacts) -> Self {
        let stdout = std::io::stdout();
        let colour = stdout.is_terminal()
            && anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        let pictures = (form == Form::Transcript && stdout.is_terminal())
            .then(Pictures::of_terminal)
            .flatten();
        let transcript = Mutex::new(Transcript::default().coloured(colour));
        Self { form, screen, artifacts, transcript, pictures, sessions: Mutex::default() }
    }

    /// Where a chat's events go.
    pub fn sink(self: &Arc<Self>) -> EventSink {
        let follower = self.clone();
        Arc::new(move |event| follower.follow(event))
    }

    fn follow(&self, event: &Event) {
        match self.form {
            Form::Silent => drop(self.store(event)),
            Form::Events => {
                let stored = self.store(event);
                if let Ok(line) = serde_json::to_string(stored.as_ref().unwrap_or(event)) {
                    self.screen.send(Message::Text(line + "\n"));
                }
            }
            Form::Transcript => {
                // Sent under the lock: what two chats say at once keeps its order.
                let mut transcript = self.transcript.lock().unwrap_or_else(PoisonError::into_inner);
                let text = transcript.push(event);
                if !text.is_empty() {
                    self.screen.send(Message::Text(text));
                }
                drop(transcript);
                self.store(event);
            }
        }
    }

    /// Stores the artifacts of a block that has ended. Returns the event with their files.
    fn store(&self, event: &Event) -> Option<Event> {
        let Event::BlockFinished { chat, agent, report } = event else { return None };
        let shown = (self.form == Form::Transcript).then_some(&*self.screen);
        let mut stored = report.clone();
        let subdirectory = match stored.artifacts.as_slice() {
            [] => String::new(),
            _ => subdirectory(self.session(chat, agent)),
        };
        let notes = self.artifacts.store(&mut stored, &subdirectory, shown);
        for artifact in &report.artifacts {
            let picture = self.pictures.as_ref().and_then(|pictures| pictures.show(artifact));
            picture.into_iter().for_each(|picture| self.screen.send(Message::Text(picture)));
        }
        if let Some(screen) = shown {
            for refused in &stored.refused {
                let rest = format!("{}: {}", refused.path, refused.reason);
                screen.line(NOTE, "not taken:", &rest);
            }
            notes.iter().for_each(|note| screen.line(NOTE, "note:", note));
        }
        stored.notes.extend(notes);
        let (chat, agent) = (chat.clone(), agent.clone());
        Some(Event::BlockFinished { chat, agent, report: stored })
    }

    /// The file that an artifact of an agent was written to.
    pub fn file(&self, chat: &str, agent: &str, path: &str) -> Option<String> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let number = sessions.iter().position(|(of, by)| of == chat && by == agent)?;
        self.artifacts.file(&format!("{}{path}", subdirectory(number)))
    }

    /// The number of a session among those that made files, from 0.
    fn session(&self, chat: &str, agent: &str) -> usize {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sessions.iter().position(|(of, by)| of == chat && by == agent);
        known.unwrap_or_else(|| {
            sessions.push((chat.to_owned(), agent.to_owned()));
            sessions.len() - 1
        })
    }
}

/// Where the files of a session go, by its number: two sessions may make files of one name.
fn subdirectory(session: usize) -> String {
    match session {
        0 => String::new(),
        number => format!("session-{}/", number + 1),
    }
}
