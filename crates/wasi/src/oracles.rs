//! Oracles: the invariants of a guest's files and of the control device.
//!
//! Each function takes any bytes and panics if an invariant is broken. The tests of this crate call
//! them with bytes from proptest, the targets in `fuzz/` with bytes from libFuzzer.
#![allow(clippy::unwrap_used, reason = "an oracle panics when an invariant is broken")]

use std::sync::Arc;

use cellblock_exec::python::HostCalls;

use crate::host::{GuestMemory, TurnState, TurnStatus};

pub(crate) mod files;
#[cfg(test)]
mod tests;

pub use files::{file_system, file_system_as_linux};

/// Checks the control device, with reads and writes of a guest and answers of the host in any
/// order.
///
/// - The guest reads first the block, each byte once; then the answer to its newest question, each
///   byte once, and never the answer to an older question.
/// - A message is either a status or a question, as its first byte says.
/// - Without a grant only the first byte of a question is kept.
pub fn control(bytes: &[u8]) {
    let mut script = Script(bytes);
    let granted = script.byte() & 1 == 1;
    let request = script.piece();
    let calls = granted.then(|| Arc::new(HostCalls::default()));
    let mut turn = TurnState { request: request.clone(), calls, ..TurnState::default() };
    // The bytes that the guest has still to read, its question, and its status.
    let (mut unread, mut answer) = (request, Vec::new());
    let (mut question, mut status): (Option<Vec<u8>>, Option<TurnStatus>) = (None, None);
    while !script.0.is_empty() {
        match script.byte() % 3 {
            0 => {
                let message = script.piece();
                turn.write_control(&message);
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
                    turn.set_answer(answer.clone());
                }
            }
        }
        assert_eq!(turn.status, status);
    }
}

/// Checks that only the reference counts of the given objects become immortal. The first 64 bytes
/// are the memory, the others the addresses.
///
/// Only the words at these addresses change, to the value of the first one. An address outside the
/// memory is an error.
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

/// Bytes that choose the steps.
struct Script<'b>(&'b [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    /// Reads a byte with a length, then as many bytes.
    fn piece(&mut self) -> Vec<u8> {
        let count = usize::from(self.byte()).min(self.0.len());
        let (piece, rest) = self.0.split_at(count);
        self.0 = rest;
        piece.to_vec()
    }
}
