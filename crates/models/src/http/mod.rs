//! One request to a provider, as every provider's client makes it: bounds, repetition, rate limit, what statuses and error bodies
//! mean, and answers that come whole or piece by piece.
//!
//! A client builds a [`Call`] and says with [`Assemble`] how its provider's answers are put together; [`ask`] does the rest.

mod address;
mod ask;
mod connection;
mod cut;
mod headers;
mod pieces;
mod refusal;
mod secrets;
mod transport;

pub(crate) use address::{endpoint, host};
pub(crate) use ask::{Call, Framing, ask};
pub use connection::Connection;
pub(crate) use headers::HeaderValues;
pub use headers::KeyPlace;
pub(crate) use pieces::{Assemble, Fault, Flow, Say};
pub(crate) use refusal::Refusal;
pub use transport::Transport;
