//! A chat as a person or a program follows it.

use std::{
    io::IsTerminal as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use cellblock_agents::{Event, EventSink, Transcript};
use cellblock_exec::Artifact;

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
    /// A follower whose artifacts go to `out`.
    pub fn new(form: Form, screen: Arc<Screen>, out: PathBuf) -> Self {
        let stdout = std::io::stdout();
        let colour = stdout.is_terminal()
            && anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        let pictures = (form == Form::Transcript && stdout.is_terminal())
            .then(Pictures::of_terminal)
            .flatten();
        let transcript = Mutex::new(Transcript::default().coloured(colour));
        Self {
            form,
            screen,
            artifacts: Artifacts::new(out),
            transcript,
            pictures,
            sessions: Mutex::default(),
        }
    }

    /// Where a chat's events go.
    pub fn sink(self: &Arc<Self>) -> EventSink {
        let follower = self.clone();
        Arc::new(move |event| follower.follow(event))
    }

    fn follow(&self, event: &Event) {
        match self.form {
            Form::Silent => {}
            Form::Events => {
                if let Ok(line) = serde_json::to_string(event) {
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
            }
        }
        if let Event::BlockFinished { chat, agent, report } = event {
            for artifact in &report.artifacts {
                self.store(chat, agent, artifact);
            }
            if self.form == Form::Transcript {
                for refused in &report.refused {
                    self.screen.line(
                        NOTE,
                        "not taken:",
                        &format!("{}: {}", refused.path, refused.reason),
                    );
                }
            }
        }
    }

    fn store(&self, chat: &str, agent: &str, artifact: &Artifact) {
        let shown = (self.form == Form::Transcript).then_some(&*self.screen);
        match self.session(chat, agent) {
            0 => self.artifacts.store(artifact, shown),
            number => {
                // Two sessions may make files of one name.
                let path = format!("session-{}/{}", number + 1, artifact.path);
                self.artifacts.store(&Artifact { path, ..artifact.clone() }, shown);
            }
        }
        if let Some(picture) = self.pictures.as_ref().and_then(|pictures| pictures.show(artifact)) {
            self.screen.send(Message::Text(picture));
        }
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
