//! One call of a provider over HTTP: bounds, retries, the rate limit, the meaning of statuses and
//! error bodies, and answers that arrive whole or in pieces.
//!
//! A client describes a [`Call`] as data and implements [`Assemble`] for its provider's answers;
//! [`send`] does the rest.

mod address;
mod body;
mod call;
mod connection;
mod failure;
mod framing;
mod refusal;
mod secrets;
mod send;
mod transport;

pub use address::host;
pub use call::{Call, KeyPlace};
pub use connection::Connection;
pub use framing::{AnswerError, Assemble, Framing, OnText, StreamState};
pub use refusal::Refusal;
pub use send::send;
pub use transport::Transport;
