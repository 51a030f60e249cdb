//! The thread that writes.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::{Mutex, PoisonError, mpsc::Receiver},
};

use cellblock_exec::Stream;

use super::{sanitize::Sanitizer, screen::Message};

/// One of our streams as programs write to it.
struct Outlet {
    stream: Box<dyn Write>,
    /// Present on a terminal.
    sanitizer: Option<Sanitizer>,
    /// Whether the last line on it has no end yet.
    mid_line: bool,
}

impl Outlet {
    fn new(stream: Box<dyn Write>, terminal: bool) -> Self {
        Self { stream, sanitizer: terminal.then(Sanitizer::default), mid_line: false }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let shown = match &mut self.sanitizer {
            Some(sanitizer) => sanitizer.push(bytes).into_bytes(),
            None => bytes.to_vec(),
        };
        self.write_harmless(&shown)
    }

    fn write_harmless(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(last) = bytes.last() {
            self.mid_line = *last != b'\n';
        }
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }
}

/// Writes all messages until the queue closes, each while it holds `floor`.
///
/// # Errors
/// When standard output cannot be written. A standard error that cannot be written is borne: there is nobody to tell.
pub fn write_all(queue: Receiver<Message>, floor: &Mutex<()>) -> io::Result<()> {
    let terminal = io::stdout().is_terminal();
    let mut stdout = Outlet::new(Box::new(io::stdout()), terminal);
    let mut stderr = Outlet::new(Box::new(io::stderr()), io::stderr().is_terminal());
    for message in queue {
        let _floor = floor.lock().unwrap_or_else(PoisonError::into_inner);
        match message {
            Message::Output(Stream::Stdout, bytes) => stdout.write(&bytes)?,
            Message::Text(text) => stdout.write_harmless(text.as_bytes())?,
            Message::Output(Stream::Stderr, bytes) => {
                let _ = stderr.write(&bytes);
            }
            Message::Line(colour, start, rest) => {
                // Our lines begin on a line of their own: on a terminal both streams write on the same screen.
                let mid_line = stderr.mid_line || (terminal && stdout.mid_line);
                let end = if mid_line { "\n" } else { "" };
                (stderr.mid_line, stdout.mid_line) = (false, stdout.mid_line && !terminal);
                let space = if rest.is_empty() { "" } else { " " };
                let _ = writeln!(anstream::stderr(), "{end}{colour}{start}{colour:#}{space}{rest}");
            }
            Message::Barrier(reached) => {
                // Who asked may have gone.
                let _ = reached.send(());
            }
            Message::Question(text) => {
                let _ = write!(anstream::stderr(), "{text}").and_then(|()| io::stderr().flush());
            }
        }
    }
    Ok(())
}
