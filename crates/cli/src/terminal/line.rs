//! A line editor for answers of a person, whose questions can be withdrawn.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use cellblock_agents::sanitize::Sanitizer;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use parking_lot::Mutex;
use rustyline::{
    Behavior, Config, Editor, ExternalPrinter, error::ReadlineError, history::FileHistory,
};

use crate::render::text::HEADER;

/// Maximum number of lines in the history.
const MAX_HISTORY: usize = 1000;

/// The question that the person is answering, identified by its `withdrawn` flag. While there is
/// one, the line editor handles SIGINT.
static CURRENT_QUESTION: Mutex<Option<Arc<AtomicBool>>> = Mutex::new(None);

/// Withdraws a question. If the person is answering it, the prompt ends, and the terminal is as it
/// was before. A question that waits for the terminal does not interrupt the current one.
pub fn withdraw(question: &Arc<AtomicBool>) {
    let current = CURRENT_QUESTION.lock();
    question.store(true, Ordering::SeqCst);
    if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, question)) {
        // Fails only if the process may not signal itself; then the question waits for an answer.
        let _ = kill(Pid::this(), Signal::SIGINT);
    }
}

/// A line that a person typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypedLine {
    /// Text; empty if the person pressed Enter only.
    Text(String),
    /// Ctrl-D.
    End,
    /// Ctrl-C.
    Interrupt,
}

/// The line editor, which is created with the first question.
#[derive(Default)]
pub struct LineEditor {
    editor: Option<Editor<(), FileHistory>>,
    /// Makes the editor wait for signals as well as for keys, so that a question can be withdrawn.
    printer: Option<Box<dyn ExternalPrinter + Send>>,
    /// True if the current question is withdrawn.
    pub withdrawn: Arc<AtomicBool>,
}

impl LineEditor {
    /// Asks a question and reads a line. The person can edit `initial`.
    ///
    /// # Errors
    /// If the terminal cannot be read.
    pub fn read(&mut self, question: &str, initial: &str) -> io::Result<TypedLine> {
        let editor = match &mut self.editor {
            Some(editor) => editor,
            empty => {
                let editor = empty.insert(new_editor()?);
                self.printer =
                    editor.create_external_printer().ok().map(|printer| Box::new(printer) as _);
                editor
            }
        };
        {
            let mut current = CURRENT_QUESTION.lock();
            if self.withdrawn.load(Ordering::SeqCst) {
                return Ok(TypedLine::Interrupt);
            }
            *current = Some(self.withdrawn.clone());
        }
        print(&format!("\n{HEADER}{question}{HEADER:#}"));
        let line = match initial {
            "" => editor.readline("> "),
            initial => editor.readline_with_initial("> ", (initial, "")),
        };
        *CURRENT_QUESTION.lock() = None;
        match line {
            Ok(text) => {
                if initial.is_empty() && !text.trim().is_empty() {
                    add_to_history(editor, &text);
                }
                Ok(TypedLine::Text(text))
            }
            Err(ReadlineError::Eof) => Ok(TypedLine::End),
            Err(ReadlineError::Interrupted | ReadlineError::Signal(_)) => Ok(TypedLine::Interrupt),
            Err(ReadlineError::Io(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Shows sanitized text above a question.
    pub fn show(&self, text: &str) {
        print(Sanitizer::default().push(text.as_bytes()).trim_end_matches('\n'));
    }
}

/// Prints to standard error: questions are not part of the transcript.
fn print(text: &str) {
    // There is no other place to report that standard error cannot be written.
    let _ = writeln!(anstream::stderr(), "{text}");
}

fn new_editor() -> io::Result<Editor<(), FileHistory>> {
    // On the terminal itself, because standard output may be a file or a pipe.
    let config = Config::builder().behavior(Behavior::PreferTerm).history_ignore_space(true);
    let config = config.max_history_size(MAX_HISTORY).map_err(io::Error::other)?.build();
    let lines = FileHistory::with_config(&config);
    let mut editor = Editor::with_history(config, lines).map_err(io::Error::other)?;
    if let Some(path) = history_path() {
        // Fails if there is no history yet; an unreadable one counts as empty.
        let _ = editor.load_history(&path);
    }
    Ok(editor)
}

/// Saves a line in the history. A failure is ignored: the answer itself is more important.
fn add_to_history(editor: &mut Editor<(), FileHistory>, text: &str) {
    let is_new = editor.add_history_entry(text).unwrap_or(false);
    if let Some(path) = history_path().filter(|_| is_new) {
        let _ = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        // Readable by this user only: answers can be confidential.
        let _ = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let _ = editor.append_history(&path);
    }
}

/// Returns the path of the history, in the user's cache directory.
fn history_path() -> Option<PathBuf> {
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
    async fn only_the_current_question_is_interrupted() {
        let mut interrupts = signal(SignalKind::interrupt()).unwrap();
        let (current, queued) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        *CURRENT_QUESTION.lock() = Some(current.clone());
        withdraw(&queued);
        assert!(queued.load(Ordering::SeqCst) && !current.load(Ordering::SeqCst));
        assert!(
            timeout(Duration::from_millis(300), interrupts.recv()).await.is_err(),
            "another question was interrupted"
        );
        // The control.
        withdraw(&current);
        assert!(timeout(Duration::from_secs(60), interrupts.recv()).await.is_ok());
        *CURRENT_QUESTION.lock() = None;
    }
}
