//! Recordings of exchanges with models: a client that makes them, and one that answers from them.
//!
//! A recording is a file of JSON Lines: a header, then one exchange per line, in the order in which
//! they happened.
//!
//! ```json
//! {"cellblock_recording":1,"made":"by hand","note":"a joke"}
//! {"model":"gpt-4","match":{"last":"joke"},"completion":{"content":"Why was 6 afraid of 7?"}}
//! ```
//!
//! A recorded exchange holds the whole `request` and answers only an equal one. An exchange that
//! was written by hand may have a `match` instead, which names texts that the request must contain
//! ([`RequestPattern`]). It may omit fields of the completion, give its content as a list of lines,
//! and spread over several lines of the file.

mod format;
mod matching;
#[cfg(any(test, feature = "oracles"))]
pub mod oracles;
mod parse;
mod player;
mod recorder;

pub use format::{
    Exchange, RecordedCompletion, RecordedError, RecordingHeader, RecordingOrigin, RequestPattern,
    VERSION,
};
pub use player::Replay;
pub use recorder::{Recording, RecordingFile};
