//! The queue to the one thread that writes.
//!
//! So a slow terminal or pipe holds up no program, and the order is kept.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
};

use anstyle::Style as Colour;
use cellblock_exec::Stream;
use tokio_util::sync::CancellationToken;

use super::{sanitize::one_line, writer};

/// What is to be written.
pub enum Message {
    /// What a program wrote.
    Output(Stream, Vec<u8>),
    /// Text for standard output that is harmless already, such as a transcript.
    Text(String),
    /// A line of ours for standard error: a coloured beginning and the rest.
    Line(Colour, String, String),
    /// A question, without a line end.
    Question(String),
    /// Asks to be told when all before it is written.
    Barrier(Sender<()>),
}

/// What is written to in order.
pub struct Screen {
    queue: Mutex<Option<Sender<Message>>>,
    writer: Mutex<Option<JoinHandle<io::Result<()>>>>,
    /// Held by whoever writes: the thread, or a question to a person.
    floor: Arc<Mutex<()>>,
}

impl Screen {
    /// Starts the thread that writes. It cancels `cancel` when nobody reads any more.
    pub fn start(cancel: CancellationToken) -> Self {
        let (sender, receiver): (_, Receiver<Message>) = channel();
        let floor = Arc::new(Mutex::new(()));
        let own = floor.clone();
        let writer = std::thread::spawn(move || {
            let result = writer::write_all(receiver, &own);
            if result.is_err() {
                cancel.cancel();
            }
            result
        });
        Self { queue: Mutex::new(Some(sender)), writer: Mutex::new(Some(writer)), floor }
    }

    /// Has something written.
    pub fn send(&self, message: Message) {
        if let Some(queue) = self.queue.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            // The writer is gone when nobody reads any more; it has cancelled the run.
            let _ = queue.send(message);
        }
    }

    /// Has a line written to standard error, made harmless.
    pub fn line(&self, colour: Colour, start: &str, rest: &str) {
        self.send(Message::Line(colour, one_line(start), one_line(rest)));
    }

    /// Waits until all so far is written.
    pub fn wait(&self) {
        let (sender, receiver) = channel();
        self.send(Message::Barrier(sender));
        // An error means that the writer has ended.
        let _ = receiver.recv();
    }

    /// Waits until all so far is written, and keeps everything else back while the result lives.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        self.wait();
        self.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all is written, and ends.
    ///
    /// # Errors
    /// When standard output could not be written.
    pub fn finish(&self) -> io::Result<()> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        match writer.map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Ok(()),
        }
    }
}
