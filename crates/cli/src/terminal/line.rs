//! Lines that a person types.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustyline::{
    Behavior, Config, Editor, ExternalPrinter, error::ReadlineError, history::FileHistory,
};

use crate::render::{HEADER, sanitize::Sanitizer};

/// The most lines that are remembered.
const REMEMBERED: usize = 1000;

/// The question that somebody is at right now, by what tells that its answer is no longer wanted. The line editor then has the
/// handler of SIGINT.
static AT_PROMPT: Mutex<Option<Arc<AtomicBool>>> = Mutex::new(None);

fn at_prompt() -> MutexGuard<'static, Option<Arc<AtomicBool>>> {
    AT_PROMPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Withdraws a question. If somebody is at it, it ends, so that the terminal is as it was before; one that waits for its turn
/// does not disturb the one that has it.
pub fn withdraw(question: &Arc<AtomicBool>) {
    let at = at_prompt();
    question.store(true, Ordering::SeqCst);
    if at.as_ref().is_some_and(|at| Arc::ptr_eq(at, question)) {
        // It can only fail if we may not send ourselves a signal; then the question stands until it is answered.
        let _ = kill(Pid::this(), Signal::SIGINT);
    }
}

/// What a person answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A line; empty for only Enter.
    Text(String),
    /// Ctrl-D.
    End,
    /// Ctrl-C.
    Interrupt,
}

/// The line editor, made when it is needed.
#[derive(Default)]
pub struct Line {
    editor: Option<Editor<(), FileHistory>>,
    /// While it lives, the editor waits for signals as well as for keys. Otherwise no question could be withdrawn.
    printer: Option<Box<dyn ExternalPrinter + Send>>,
    /// Whether the answer to the question in hand is no longer wanted.
    pub withdrawn: Arc<AtomicBool>,
}

impl Line {
    /// Asks for a line below a question; `initial` is there to be edited.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    pub fn read(&mut self, question: &str, initial: &str) -> io::Result<Answer> {
        let editor = match &mut self.editor {
            Some(editor) => editor,
            empty => {
                let editor = empty.insert(editor()?);
                self.printer =
                    editor.create_external_printer().ok().map(|printer| Box::new(printer) as _);
                editor
            }
        };
        {
            let mut at = at_prompt();
            if self.withdrawn.load(Ordering::SeqCst) {
                return Ok(Answer::Interrupt);
            }
            *at = Some(self.withdrawn.clone());
        }
        say(&format!("\n{HEADER}{question}{HEADER:#}"));
        let line = match initial {
            "" => editor.readline("> "),
            initial => editor.readline_with_initial("> ", (initial, "")),
        };
        *at_prompt() = None;
        match line {
            Ok(text) => {
                if initial.is_empty() && !text.trim().is_empty() {
                    remember(editor, &text);
                }
                Ok(Answer::Text(text))
            }
            Err(ReadlineError::Eof) => Ok(Answer::End),
            Err(ReadlineError::Interrupted | ReadlineError::Signal(_)) => Ok(Answer::Interrupt),
            Err(ReadlineError::Io(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Shows lines above a question, made harmless.
    pub fn show(&self, text: &str) {
        say(Sanitizer::default().push(text.as_bytes()).trim_end_matches('\n'));
    }
}

/// Questions are ours and not part of the transcript.
fn say(text: &str) {
    // A standard error that cannot be written leaves nobody to tell.
    let _ = writeln!(anstream::stderr(), "{text}");
}

fn editor() -> io::Result<Editor<(), FileHistory>> {
    // At the terminal itself: standard output may be a file or a pipe.
    let config = Config::builder().behavior(Behavior::PreferTerm).history_ignore_space(true);
    let config = config.max_history_size(REMEMBERED).map_err(io::Error::other)?.build();
    let lines = FileHistory::with_config(&config);
    let mut editor = Editor::with_history(config, lines).map_err(io::Error::other)?;
    if let Some(path) = history() {
        // A history that cannot be read is none.
        let _ = editor.load_history(&path);
    }
    Ok(editor)
}

/// Keeps a line for next time. That it cannot be kept is no reason to bother anybody.
fn remember(editor: &mut Editor<(), FileHistory>, text: &str) {
    let is_new = editor.add_history_entry(text).unwrap_or(false);
    if let Some(path) = history().filter(|_| is_new) {
        let _ = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        // What a person says is nobody else's business.
        let _ = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let _ = editor.append_history(&path);
    }
}

/// Where lines are kept: the user's cache directory.
fn history() -> Option<PathBuf> {
    cellblock_cache::user_directory().ok().map(|directory| directory.join("chat-history"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        signal::unix::{SignalKind, signal},
        time::timeout,
    };

    use super::*;

    #[tokio::test]
    async fn only_the_question_at_the_prompt_is_woken() {
        let mut interrupts = signal(SignalKind::interrupt()).unwrap();
        let (asked, queued) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        *at_prompt() = Some(asked.clone());
        withdraw(&queued);
        assert!(queued.load(Ordering::SeqCst) && !asked.load(Ordering::SeqCst));
        assert!(
            timeout(Duration::from_millis(300), interrupts.recv()).await.is_err(),
            "somebody else was disturbed"
        );
        // The control.
        withdraw(&asked);
        assert!(timeout(Duration::from_secs(60), interrupts.recv()).await.is_ok());
        *at_prompt() = None;
    }
}
