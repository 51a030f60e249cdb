//! The person at the terminal: asked for answers, for agreement, and for who speaks next.

mod approve;
mod editor;
mod line;
mod picture_size;
pub mod pictures;
mod written_out;

use std::{
    fmt, io,
    io::IsTerminal as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use cellblock_agents::{Decision, EXIT, Human, Proposal, Question};
use tokio_util::sync::CancellationToken;

use crate::render::{sanitize::one_line, screen::Screen};
use line::{Answer, Line};

/// The person at the terminal. Questions come one after the other, each after all that was written before it.
pub struct TerminalHuman {
    screen: Arc<Screen>,
    /// Ends the chat: Ctrl-C, and Ctrl-D where nothing else could.
    cancel: CancellationToken,
    line: Arc<Mutex<Line>>,
}

impl fmt::Debug for TerminalHuman {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TerminalHuman")
    }
}

/// What a person who waits at a prompt is asked.
type Asking<T> = Box<dyn FnOnce(&mut Line) -> io::Result<T> + Send>;

impl TerminalHuman {
    /// A person who is asked below what `screen` shows.
    pub fn new(screen: Arc<Screen>, cancel: CancellationToken) -> Self {
        Self { screen, cancel, line: Arc::default() }
    }

    /// Asks what is to be done.
    ///
    /// # Errors
    /// When there is no terminal, or the person wants nothing.
    pub async fn task(&self) -> anyhow::Result<String> {
        let answer = self.ask(Box::new(|line| line.read("What is to be done?", ""))).await?;
        match answer {
            Answer::Text(text) => Ok(text),
            Answer::End | Answer::Interrupt => Err(crate::failure::Interrupted.into()),
        }
    }

    /// Asks on a thread of its own. When the future is dropped, the question is withdrawn.
    async fn ask<T: Send + 'static>(&self, asking: Asking<T>) -> io::Result<T> {
        if !io::stdin().is_terminal() {
            return Err(no_terminal(""));
        }
        let (screen, line) = (self.screen.clone(), self.line.clone());
        let mut withdrawal = Withdrawal { withdrawn: Arc::default(), answered: false };
        let withdrawn = withdrawal.withdrawn.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
            line.withdrawn = withdrawn;
            let _floor = screen.hold();
            // Withdrawn while it waited for its turn: nobody is shown what nobody is asked any more.
            if line.withdrawn.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            asking(&mut line)
        });
        let answer = asked.await;
        withdrawal.answered = true;
        answer.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Ends the chat at once, in the middle of the question.
    async fn leave<T>(&self) -> T {
        self.cancel.cancel();
        std::future::pending().await
    }
}

/// That nobody can be asked, and what to do about it.
fn no_terminal(advice: &str) -> io::Error {
    let why = format!("standard input is no terminal to ask a person at{advice}");
    io::Error::new(io::ErrorKind::NotConnected, why)
}

/// Withdraws a question when it is dropped before it was answered.
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
            return Err(no_terminal("; --human never asks nobody"));
        }
        match self.ask(Box::new(move |line| line.read(&text, ""))).await? {
            Answer::Text(text) => Ok(text),
            Answer::End => Ok(EXIT.to_owned()),
            Answer::Interrupt => self.leave().await,
        }
    }

    async fn approve(&self, proposal: &Proposal) -> io::Result<Decision> {
        let asked = proposal.clone();
        let decision = self.ask(Box::new(move |line| approve::ask(line, &asked))).await;
        match decision? {
            Some(decision) => Ok(decision),
            None => self.leave().await,
        }
    }

    async fn choose(&self, names: &[String]) -> io::Result<Option<String>> {
        let names = names.to_vec();
        let chosen = self.ask(Box::new(move |line| choose(line, &names))).await?;
        match chosen {
            Ok(name) => Ok(name),
            Err(()) => self.leave().await,
        }
    }
}

/// What is asked before an agent answers.
fn reply_text(question: &Question) -> String {
    let (agent, peer) = (one_line(&question.agent), one_line(&question.peer));
    match question.empty_ends {
        true => format!("Your answer to {peer} (only Enter, or `exit`: the chat ends)"),
        false => format!(
            "Your answer to {peer} (only Enter: {agent} answers by itself; `exit`: the chat ends)"
        ),
    }
}

/// Asks until one of the names is chosen, by name or number; nothing leaves it to the group, `Err` ends the chat.
fn choose(line: &mut Line, names: &[String]) -> io::Result<Result<Option<String>, ()>> {
    let list: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(at, name)| format!("{} {}", at + 1, one_line(name)))
        .collect();
    let text = format!("Who speaks next: {} (only Enter: the next one in turn)", list.join(", "));
    loop {
        match line.read(&text, "")? {
            Answer::End | Answer::Interrupt => return Ok(Err(())),
            Answer::Text(answer) if answer.trim().is_empty() => return Ok(Ok(None)),
            Answer::Text(answer) => {
                if let Some(name) = named(&answer, names) {
                    return Ok(Ok(Some(name)));
                }
                line.show(&format!("{} is none of them", one_line(&answer)));
            }
        }
    }
}

fn named(answer: &str, names: &[String]) -> Option<String> {
    let answer = answer.trim();
    let by_number =
        answer.parse::<usize>().ok().and_then(|number| names.get(number.checked_sub(1)?));
    names.iter().find(|name| name.as_str() == answer).or(by_number).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speakers_are_named_or_numbered() {
        let names = ["ann".to_owned(), "2".to_owned()];
        for (answer, chosen) in [
            ("ann", Some("ann")),
            (" 1 ", Some("ann")),
            ("2", Some("2")),
            ("0", None),
            ("3", None),
            ("bob", None),
        ] {
            assert_eq!(named(answer, &names).as_deref(), chosen, "{answer}");
        }
    }

    #[test]
    fn a_question_says_what_nothing_means() {
        let message = cellblock_agents::Message::new("assistant", "Done. TERMINATE");
        let mut question =
            Question { agent: "user".into(), peer: "assistant".into(), message, empty_ends: true };
        assert!(reply_text(&question).contains("only Enter, or `exit`: the chat ends"));
        question.empty_ends = false;
        assert!(reply_text(&question).contains("only Enter: user answers by itself"));
    }
}
