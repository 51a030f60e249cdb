//! The person at the terminal: answers for agents, approves code, and chooses speakers.

mod approve;
mod editor;
mod hidden;
mod line;

use std::{
    fmt,
    io::{self, IsTerminal as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use cellblock_agents::{Decision, EXIT, Human, Proposal, Question, sanitize::one_line};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{failure::Interrupted, render::screen::Screen};
use line::{LineEditor, TypedLine};

/// The person at the terminal. Gets one question at a time, each below all output before it.
pub struct TerminalHuman {
    screen: Arc<Screen>,
    /// Ends the chat, on Ctrl-C, and on Ctrl-D if nothing else can.
    cancel: CancellationToken,
    editor: Arc<Mutex<LineEditor>>,
}

impl fmt::Debug for TerminalHuman {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TerminalHuman")
    }
}

/// Asks a question with a line editor.
type AskFunction<T> = Box<dyn FnOnce(&mut LineEditor) -> io::Result<T> + Send>;

impl TerminalHuman {
    /// Returns a person who is asked below the output of `screen`.
    pub fn new(screen: Arc<Screen>, cancel: CancellationToken) -> Self {
        Self { screen, cancel, editor: Arc::default() }
    }

    /// Asks for the task of a chat.
    ///
    /// # Errors
    /// If there is no terminal, or the person presses Ctrl-C or Ctrl-D.
    pub async fn task(&self) -> anyhow::Result<String> {
        let question = "What is the task?";
        match self.ask(Box::new(|editor| editor.read(question, ""))).await? {
            TypedLine::Text(text) => Ok(text),
            TypedLine::End | TypedLine::Interrupt => Err(Interrupted.into()),
        }
    }

    /// Asks a question on its own thread. Withdraws the question if the future is dropped.
    async fn ask<T: Send + 'static>(&self, ask: AskFunction<T>) -> io::Result<T> {
        if !io::stdin().is_terminal() {
            return Err(no_terminal(""));
        }
        let (screen, editor) = (self.screen.clone(), self.editor.clone());
        let mut withdrawal = Withdrawal { withdrawn: Arc::default(), answered: false };
        let withdrawn = withdrawal.withdrawn.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let mut editor = editor.lock();
            editor.withdrawn = withdrawn;
            let _guard = screen.hold();
            // It may have been withdrawn while it waited for the terminal; then it is not shown.
            if editor.withdrawn.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            ask(&mut editor)
        });
        let answer = asked.await;
        withdrawal.answered = true;
        answer.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Cancels the chat, and never returns: the chat drops this future.
    async fn cancel_chat<T>(&self) -> T {
        self.cancel.cancel();
        std::future::pending().await
    }
}

/// Returns the error that there is no person to ask, with advice.
fn no_terminal(advice: &str) -> io::Error {
    let message = format!("cannot ask a person: standard input is not a terminal{advice}");
    io::Error::new(io::ErrorKind::NotConnected, message)
}

/// Withdraws a question when it is dropped before the answer.
struct Withdrawal {
    withdrawn: Arc<AtomicBool>,
    answered: bool,
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        if !self.answered {
            line::withdraw(&self.withdrawn);
        }
    }
}

#[async_trait]
impl Human for TerminalHuman {
    async fn reply(&self, question: &Question) -> io::Result<String> {
        let text = reply_text(question);
        if !io::stdin().is_terminal() {
            return Err(no_terminal("; use --human never"));
        }
        match self.ask(Box::new(move |editor| editor.read(&text, ""))).await? {
            TypedLine::Text(text) => Ok(text),
            TypedLine::End => Ok(EXIT.to_owned()),
            TypedLine::Interrupt => self.cancel_chat().await,
        }
    }

    async fn approve(&self, proposal: &Proposal) -> io::Result<Decision> {
        let asked = proposal.clone();
        let decision = self.ask(Box::new(move |editor| approve::ask(editor, &asked))).await;
        match decision? {
            Some(decision) => Ok(decision),
            None => self.cancel_chat().await,
        }
    }

    async fn choose(&self, names: &[String]) -> io::Result<Option<String>> {
        let names = names.to_vec();
        let choice = self.ask(Box::new(move |editor| choose(editor, &names))).await?;
        match choice {
            SpeakerChoice::Named(name) => Ok(Some(name)),
            SpeakerChoice::NextInTurn => Ok(None),
            SpeakerChoice::EndChat => self.cancel_chat().await,
        }
    }
}

/// Returns the question that a person gets before an agent answers.
fn reply_text(question: &Question) -> String {
    let (agent, peer) = (one_line(&question.agent), one_line(&question.peer));
    match question.empty_ends {
        true => format!("Your answer to {peer} (Enter or `exit` ends the chat)"),
        false => format!(
            "Your answer to {peer} (Enter lets {agent} answer by itself; `exit` ends the chat)"
        ),
    }
}

/// The answer to the question who speaks next.
enum SpeakerChoice {
    Named(String),
    NextInTurn,
    EndChat,
}

/// Asks until the person chooses one of the names, by name or number, or leaves the choice.
fn choose(editor: &mut LineEditor, names: &[String]) -> io::Result<SpeakerChoice> {
    let list: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(index, name)| format!("{} {}", index + 1, one_line(name)))
        .collect();
    let text = format!("Who speaks next: {} (Enter: the next one in turn)", list.join(", "));
    loop {
        match editor.read(&text, "")? {
            TypedLine::End | TypedLine::Interrupt => return Ok(SpeakerChoice::EndChat),
            TypedLine::Text(answer) if answer.trim().is_empty() => {
                return Ok(SpeakerChoice::NextInTurn);
            }
            TypedLine::Text(answer) => {
                if let Some(name) = speaker(&answer, names) {
                    return Ok(SpeakerChoice::Named(name));
                }
                editor.show(&format!("There is no `{}`.", one_line(&answer)));
            }
        }
    }
}

/// Returns the speaker of this name or number.
fn speaker(answer: &str, names: &[String]) -> Option<String> {
    let answer = answer.trim();
    let by_number =
        answer.parse::<usize>().ok().and_then(|number| names.get(number.checked_sub(1)?));
    names.iter().find(|name| name.as_str() == answer).or(by_number).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speakers_are_chosen_by_name_or_number() {
        let names = ["ann".to_owned(), "2".to_owned()];
        for (answer, chosen) in [
            ("ann", Some("ann")),
            (" 1 ", Some("ann")),
            ("2", Some("2")),
            ("0", None),
            ("3", None),
            ("bob", None),
        ] {
            assert_eq!(speaker(answer, &names).as_deref(), chosen, "{answer}");
        }
    }

    #[test]
    fn a_question_says_what_an_empty_answer_means() {
        let message = cellblock_agents::Message::new("assistant", "Done. TERMINATE");
        let mut question =
            Question { agent: "user".into(), peer: "assistant".into(), message, empty_ends: true };
        assert!(reply_text(&question).contains("Enter or `exit` ends the chat"));
        question.empty_ends = false;
        assert!(reply_text(&question).contains("Enter lets user answer by itself"));
    }
}
