//! A driver that is lost: why, and what takes its place.

use std::io::{self, ErrorKind};

use cellblock_exec::{Error, Limit};

use crate::{
    Cell, DriverSession,
    wire::{Failed, visible},
};

/// The end of a driver that was not asked for.
#[derive(Debug)]
pub(crate) struct Loss {
    /// The limit that ended it, if one did.
    pub(crate) limit: Option<Limit>,
    /// Why it ended, and what that means for the session.
    pub(crate) why: String,
    /// Why there is no new driver; `None` where one takes its place.
    pub(crate) end: Option<Error>,
}

impl From<Loss> for Error {
    fn from(loss: Loss) -> Self {
        loss.end.unwrap_or_else(|| Error::Lost {
            what: "the driver of the cell".to_owned(),
            source: loss.why.into(),
        })
    }
}

impl<C: Cell> DriverSession<C> {
    /// Ends a driver whose wire has failed. The next call gets a new one, where the files outlive
    /// it.
    pub(crate) async fn replace(&mut self, error: io::Error) -> Loss {
        self.live = None;
        self.cell.kill();
        let mut limit = self.cell.limit_hit();
        let mut why = match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
                "the driver of the cell was killed, or ended without a word".to_owned()
            }
            _ => error.to_string(),
        };
        let failed = Failed::behind(&error);
        if failed.is_some_and(|failed| failed.out_of_memory) {
            limit = Some(Limit::Memory);
        }
        let words = visible(&self.cell.last_words());
        if failed.is_none() && !words.trim().is_empty() {
            why = format!("{why}: {}", words.trim());
        }
        let end = match self.cell.restart().await {
            Ok(stream) => {
                self.next = Some(stream);
                why.push_str("; a new one has taken its place, and all variables are lost");
                None
            }
            Err(restart) => {
                // Some cells know it only once they have ended.
                limit = limit.or_else(|| self.cell.limit_hit());
                let end = match restart {
                    // The engine or the launcher knows of the cell's end, the driver why it ended.
                    Error::Lost { what, source } if failed.is_some() => {
                        Error::Lost { what, source: format!("{why}; {source}").into() }
                    }
                    _ if error.kind() == ErrorKind::InvalidData => Error::Lost {
                        what: "what came from the cell is not from its driver".to_owned(),
                        source: error.into(),
                    },
                    restart => restart,
                };
                why.push_str("; the session has ended with it: open a new one");
                Some(end)
            }
        };
        Loss { limit, why, end }
    }
}
