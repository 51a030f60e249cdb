//! The start of a driver.

use std::{io, time::Duration};

use cellblock_exec::{BoxFuture, Error, Result};

use crate::{
    DriverProgram, DriverStream,
    protocol::{DriverMessage, MessageKind},
    wire::Wire,
};

/// The maximum time for a driver to come up. A busy machine starts an interpreter in a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// A driver that is up and idle.
#[derive(Debug)]
pub struct Driver {
    pub(crate) wire: Wire,
    /// The version of the cell's Python, such as `3.11.2`.
    pub python: String,
    /// The languages that blocks can have, Python first.
    pub languages: Vec<String>,
}

impl Driver {
    /// Sends the program to a process that was started with [`command`](crate::command), and waits
    /// until the driver is up.
    ///
    /// # Errors
    /// [`Error::Start`] when the process ends before that, or takes longer than half a minute.
    pub fn start(stream: DriverStream, program: &DriverProgram) -> BoxFuture<'_, Result<Self>> {
        Box::pin(async move {
            let mut wire = Wire::new(stream);
            wire.put(&program.opening());
            let hello = tokio::time::timeout(PATIENCE, hello(&mut wire, program)).await;
            let hello = match hello {
                Ok(Ok(hello)) => hello,
                Ok(Err(error)) => {
                    // If the compiled program did not fit, the next start compiles it anew.
                    program.forget();
                    return Err(not_started(error));
                }
                Err(_) => {
                    let why = format!("it sent nothing for {} s", PATIENCE.as_secs());
                    return Err(not_started(io::Error::other(why)));
                }
            };
            let others = (1..hello.fields.len()).map(|index| hello.text(index));
            let languages = std::iter::once("python".to_owned()).chain(others).collect();
            Ok(Self { python: hello.text(0), languages, wire })
        })
    }

    /// Returns false if the driver has ended, as far as can be seen without waiting.
    pub fn is_alive(&mut self) -> bool {
        self.wire.is_open()
    }
}

/// Waits for a driver's first greeting, and keeps the program that it has compiled.
async fn hello(wire: &mut Wire, program: &DriverProgram) -> io::Result<DriverMessage> {
    loop {
        let message = wire.next().await?;
        match message.kind {
            MessageKind::Program => program.keep(message.field(0)),
            MessageKind::Hello => return Ok(message),
            _ => {}
        }
    }
}

fn not_started(error: io::Error) -> Error {
    Error::Start { what: "the driver of the cell".to_owned(), source: error.into() }
}
