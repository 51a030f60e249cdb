//! Recordings of exchanges with models, which answer instead of a server, and the client that makes them.
//!
//! A recording is a file of JSON Lines: a header, then one exchange per line, in the order in which they happened.
//!
//! ```json
//! {"cellblock_recording":1,"made":"by hand","note":"a joke"}
//! {"model":"gpt-4","provider":"openai","match":{"last":"joke"},"completion":{"content":"Why was 6 afraid of 7?"}}
//! ```
//!
//! What is recorded holds the whole `request` and is matched as a whole. What is written by hand may say with `match` what
//! the request has to contain ([`Match`]), may leave out fields of the completion, may give its content as a list of lines,
//! and may spread an exchange over several lines of the file.

mod format;
mod matching;
#[cfg(any(test, feature = "oracles"))]
pub mod oracles;
mod player;
mod recorder;

pub use format::{Exchange, Header, Made, Match, RecordedCompletion, RecordedError, VERSION};
pub use player::Replay;
pub use recorder::{Recording, RecordingFile};
