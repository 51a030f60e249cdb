//! The loss of a driver: its reason, and the driver that replaces it.

use std::io::{self, ErrorKind};

use cellblock_exec::{Error, Limit};

use crate::{
    Cell, DriverStream,
    protocol::{DriverFailure, visible},
};

/// The unexpected end of a driver.
#[derive(Debug)]
pub struct DriverLoss {
    /// The limit that ended it, if one did.
    pub limit: Option<Limit>,
    /// Why it ended, and what that means for the session.
    pub why: String,
    /// Why no new driver could be started; `None` if one replaces it.
    pub end: Option<Error>,
}

impl From<DriverLoss> for Error {
    fn from(loss: DriverLoss) -> Self {
        loss.end.unwrap_or_else(|| Error::Lost {
            what: "the driver of the cell".to_owned(),
            source: loss.why.into(),
        })
    }
}

/// Ends a driver whose wire failed with `error`. Returns the reason and the stream of the new
/// driver, if the cell's files outlive the old one.
pub async fn replace(cell: &mut dyn Cell, error: io::Error) -> (DriverLoss, Option<DriverStream>) {
    cell.kill();
    let mut limit = cell.limit_hit();
    let mut why = match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
            "the driver of the cell was killed, or ended without a message".to_owned()
        }
        _ => error.to_string(),
    };
    let failure = DriverFailure::behind(&error);
    if failure.is_some_and(|failure| failure.out_of_memory) {
        limit = Some(Limit::Memory);
    }
    let words = visible(&cell.last_words());
    if failure.is_none() && !words.trim().is_empty() {
        why = format!("{why}: {}", words.trim());
    }
    match cell.restart().await {
        Ok(stream) => {
            why.push_str("; a new one replaces it, and all variables are lost");
            (DriverLoss { limit, why, end: None }, Some(stream))
        }
        Err(restart) => {
            // Some cells know the limit only once they have ended.
            limit = limit.or_else(|| cell.limit_hit());
            let end = match restart {
                // The engine or the launcher knows that the cell has ended, the driver knows why.
                Error::Lost { what, source } if failure.is_some() => {
                    Error::Lost { what, source: format!("{why}; {source}").into() }
                }
                _ if error.kind() == ErrorKind::InvalidData => Error::Lost {
                    what: "the cell sent an invalid message".to_owned(),
                    source: error.into(),
                },
                restart => restart,
            };
            why.push_str("; the session has ended with it: open a new one");
            (DriverLoss { limit, why, end: Some(end) }, None)
        }
    }
}
