//! Oracles: what holds of everything that a guest does to its files and says to the control device.
//!
//! Each function takes any bytes and panics when an invariant is broken. The tests of this crate call them with bytes that
//! proptest makes, the targets in `fuzz/` with bytes that libFuzzer makes.
#![allow(clippy::unwrap_used, reason = "an oracle panics when an invariant is broken")]

use std::sync::Arc;

use cellblock_exec::python::HostCalls;

pub use crate::fs::oracles::{file_system, file_system_as_linux};
use crate::host::{GuestMemory, Status, Turn};

#[cfg(test)]
mod tests;

/// What a guest writes to the control device and reads from it, and what the host answers, in any order.
///
/// - The block is read first, each byte once; then the answer to the newest question, each byte once, and never one that was
///   given to an older question.
/// - A message that begins as a status is no question, and the other way round.
/// - Without a grant a question is kept as one byte.
pub fn control(bytes: &[u8]) {
    let mut script = Script(bytes);
    let granted = script.byte() & 1 == 1;
    let request = script.piece();
    let calls = granted.then(|| Arc::new(HostCalls::default()));
    let mut turn = Turn { request: request.clone(), calls, ..Turn::default() };
    // What has to be read from now on, and what was asked and said.
    let (mut unread, mut answer) = (request, Vec::new());
    let (mut question, mut status): (Option<Vec<u8>>, Option<Status>) = (None, None);
    while !script.0.is_empty() {
        match script.byte() % 3 {
            0 => {
                let message = script.piece();
                turn.control(&message);
                if message.starts_with(b"{") {
                    status = serde_json::from_slice(&message).ok();
                } else {
                    let kept = if granted { message.len() } else { message.len().min(1) };
                    question = Some(message[..kept].to_vec());
                    answer.clear();
                }
            }
            1 => {
                let mut buffer = vec![0xAA; usize::from(script.byte())];
                let source = if unread.is_empty() { &mut answer } else { &mut unread };
                let expected: Vec<u8> = source.drain(..source.len().min(buffer.len())).collect();
                let count = turn.read_control(&mut buffer);
                assert_eq!(buffer[..count], expected);
                assert!(buffer[count..].iter().all(|byte| *byte == 0xAA));
            }
            _ => {
                assert_eq!(turn.question, question);
                if turn.question.take().is_some() {
                    question = None;
                    answer = script.piece();
                    turn.give_answer(answer.clone());
                }
            }
        }
        assert_eq!(turn.status, status);
    }
}

/// The addresses of objects that a guest wants to be immortal, in a small memory; the first bytes are the memory.
///
/// Only words at these addresses change, to the first one's; an address outside changes nothing.
pub fn immortal_objects(bytes: &[u8]) {
    let Some((memory, addresses)) = bytes.split_at_checked(64) else { return };
    let mut changed = memory.to_vec();
    let given = GuestMemory(&mut changed).immortalize(addresses);
    assert_eq!(changed.len(), memory.len());
    let (words, _) = addresses.as_chunks::<4>();
    let words: Vec<usize> = words.iter().map(|word| u32::from_le_bytes(*word) as usize).collect();
    let covered = |at: usize| words.iter().any(|word| (*word..*word + 4).contains(&at));
    for (at, (old, new)) in memory.iter().zip(&changed).enumerate() {
        assert!(old == new || covered(at), "byte {at}");
    }
    assert_eq!(given.is_ok(), !words.is_empty() && words.iter().all(|word| word + 4 <= 64));
}

/// Bytes that decide what is done.
struct Script<'b>(&'b [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    /// Some bytes, after a byte that is their number.
    fn piece(&mut self) -> Vec<u8> {
        let count = usize::from(self.byte()).min(self.0.len());
        let (piece, rest) = self.0.split_at(count);
        self.0 = rest;
        piece.to_vec()
    }
}
