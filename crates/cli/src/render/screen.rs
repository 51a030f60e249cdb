//! The screen: a queue of messages, and the one thread that writes them.
//!
//! The thread keeps the order of all output, and a slow terminal or pipe delays no program.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
};

use anstyle::Style;
use cellblock_agents::sanitize::{Sanitizer, one_line};
use cellblock_exec::Stream;
use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

/// A message to the screen.
pub enum Message {
    /// Output of a program.
    Output(Stream, Vec<u8>),
    /// Text for standard output that is already sanitized, such as a transcript.
    Text(String),
    /// A sanitized line for standard error: a coloured label, and the rest.
    Line(Style, String, String),
    /// A question for standard error, without a line end.
    Question(String),
    /// A request for a signal when all messages before it are written.
    Barrier(Sender<()>),
}

/// The screen. Messages are written in the order in which they are sent.
pub struct Screen {
    queue: Mutex<Option<Sender<Message>>>,
    writer: Mutex<Option<JoinHandle<io::Result<()>>>>,
    /// Held by the thread while it writes, and by a prompt while a person types.
    terminal: Arc<Mutex<()>>,
}

impl Screen {
    /// Starts the thread that writes. It cancels `cancel` if standard output is closed.
    pub fn start(cancel: CancellationToken) -> Self {
        let (sender, receiver) = channel();
        let terminal = Arc::new(Mutex::new(()));
        let shared = terminal.clone();
        let writer = std::thread::spawn(move || {
            let result = write_messages(receiver, &shared);
            if result.is_err() {
                cancel.cancel();
            }
            result
        });
        Self { queue: Mutex::new(Some(sender)), writer: Mutex::new(Some(writer)), terminal }
    }

    /// Queues a message.
    pub fn send(&self, message: Message) {
        if let Some(queue) = self.queue.lock().as_ref() {
            // Fails if the thread has ended; then it has cancelled the run.
            let _ = queue.send(message);
        }
    }

    /// Queues a line for standard error, after sanitizing it.
    pub fn line(&self, colour: Style, label: &str, rest: &str) {
        self.send(Message::Line(colour, one_line(label), one_line(rest)));
    }

    /// Waits until all messages so far are written.
    pub fn wait(&self) {
        let (sender, receiver) = channel();
        self.send(Message::Barrier(sender));
        // Fails if the thread has ended.
        let _ = receiver.recv();
    }

    /// Waits until all messages so far are written, and holds back the others while the guard
    /// lives.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        self.wait();
        self.terminal.lock()
    }

    /// Waits until all messages are written, and ends the thread.
    ///
    /// # Errors
    /// If standard output could not be written.
    pub fn finish(&self) -> io::Result<()> {
        self.queue.lock().take();
        let writer = self.writer.lock().take();
        match writer.map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Ok(()),
        }
    }
}

/// Writes all messages until the queue is closed. Holds `terminal` while it writes one.
///
/// # Errors
/// If standard output cannot be written. Failures of standard error are ignored: there is no other
/// place to report them.
fn write_messages(queue: Receiver<Message>, terminal: &Mutex<()>) -> io::Result<()> {
    let is_terminal = io::stdout().is_terminal();
    let mut stdout = ProgramStream::new(Box::new(io::stdout()), is_terminal);
    let mut stderr = ProgramStream::new(Box::new(io::stderr()), io::stderr().is_terminal());
    for message in queue {
        let _guard = terminal.lock();
        match message {
            Message::Output(Stream::Stdout, bytes) => stdout.write(&bytes)?,
            Message::Text(text) => stdout.write_sanitized(text.as_bytes())?,
            Message::Output(Stream::Stderr, bytes) => {
                let _ = stderr.write(&bytes);
            }
            Message::Line(colour, label, rest) => {
                // Our lines start at the left margin. On a terminal, both streams share the screen.
                let mid_line = stderr.mid_line || (is_terminal && stdout.mid_line);
                let end = if mid_line { "\n" } else { "" };
                (stderr.mid_line, stdout.mid_line) = (false, stdout.mid_line && !is_terminal);
                let space = if rest.is_empty() { "" } else { " " };
                let _ = writeln!(anstream::stderr(), "{end}{colour}{label}{colour:#}{space}{rest}");
            }
            Message::Barrier(reached) => {
                // Fails if the sender of the barrier no longer waits.
                let _ = reached.send(());
            }
            Message::Question(text) => {
                let _ = write!(anstream::stderr(), "{text}").and_then(|()| io::stderr().flush());
            }
        }
    }
    Ok(())
}

/// One of our streams, as programs write to it.
struct ProgramStream {
    stream: Box<dyn Write>,
    /// Set on a terminal.
    sanitizer: Option<Sanitizer>,
    /// True if the last line has no end yet.
    mid_line: bool,
}

impl ProgramStream {
    fn new(stream: Box<dyn Write>, is_terminal: bool) -> Self {
        Self { stream, sanitizer: is_terminal.then(Sanitizer::default), mid_line: false }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.sanitizer {
            Some(sanitizer) => {
                let text = sanitizer.push(bytes);
                self.write_sanitized(text.as_bytes())
            }
            None => self.write_sanitized(bytes),
        }
    }

    fn write_sanitized(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(last) = bytes.last() {
            self.mid_line = *last != b'\n';
        }
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }
}
