//! Bringing a driver up.

use std::time::Duration;

use cellblock_exec::{Error, Result};

use crate::{Program, Stream, protocol, wire::Wire};

/// How long a driver may take to come up. A busy machine starts an interpreter in a second at most.
const PATIENCE: Duration = Duration::from_secs(30);

/// A driver that is up and has nothing to do yet.
#[derive(Debug)]
pub struct Driver {
    pub(crate) wire: Wire,
    /// The version of the cell's Python, such as `3.11.2`.
    pub python: String,
    /// The languages that blocks can have, Python first.
    pub languages: Vec<String>,
}

impl Driver {
    /// Sends the program to a process that was started with [`command`](crate::command), and waits until it is up.
    ///
    /// # Errors
    /// [`Error::Start`] when it ends before, or takes longer than half a minute.
    pub async fn start(stream: Stream, program: &Program) -> Result<Self> {
        let mut wire = Wire::new(stream);
        wire.put(&program.opening());
        let up = async {
            loop {
                let message = wire.next().await?;
                match message.kind {
                    protocol::PROGRAM => program.keep(message.field(0)),
                    protocol::HELLO => return std::io::Result::Ok(message),
                    _ => {}
                }
            }
        };
        let failed = |source| Error::Start { what: "the driver of the cell".to_owned(), source };
        let hello = match tokio::time::timeout(PATIENCE, up).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(error)) => {
                // If it was the compiled program that did not fit, the next start compiles it anew.
                program.forget();
                return Err(failed(error.into()));
            }
            Err(_) => {
                return Err(failed(format!("it said nothing for {} s", PATIENCE.as_secs()).into()));
            }
        };
        let others = (1..hello.fields.len()).map(|index| hello.text(index));
        let languages = std::iter::once("python".to_owned()).chain(others).collect();
        Ok(Self { python: hello.text(0), languages, wire })
    }

    /// Whether it still lives, as far as can be seen without waiting.
    pub fn is_alive(&mut self) -> bool {
        self.wire.is_open()
    }
}
