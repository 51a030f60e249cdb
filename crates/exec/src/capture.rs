//! Captures a stream in bounded memory: head and tail are kept, the bytes between are counted.

use crate::{limits::FLOOD_FACTOR, result::Captured};

/// A stream being captured. It never holds more than its limit, however much is written.
#[derive(Debug, Clone, Default)]
pub struct Capture {
    limit: usize,
    head: Vec<u8>,
    /// A ring buffer once it is full; `oldest` is its start.
    tail: Vec<u8>,
    oldest: usize,
    total: u64,
}

impl Capture {
    /// Creates a capture that keeps at most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), ..Self::default() }
    }

    /// Adds written bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let room = self.head_limit() - self.head.len();
        let (head, rest) = bytes.split_at(bytes.len().min(room));
        self.head.extend_from_slice(head);
        self.push_tail(rest);
    }

    /// Returns the number of bytes written in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns the number of bytes that fit before something is dropped.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(usize::try_from(self.total).unwrap_or(usize::MAX))
    }

    /// True if so much was written that the program should be stopped.
    pub fn is_flood(&self) -> bool {
        self.total / FLOOD_FACTOR > self.limit as u64
    }

    /// Returns the kept bytes, with a line in the gap that says how many were dropped. The cuts are
    /// at character boundaries.
    pub fn finish(self) -> Captured {
        let Self { mut head, mut tail, oldest, total, .. } = self;
        tail.rotate_left(oldest);
        if total == (head.len() + tail.len()) as u64 {
            head.append(&mut tail);
            return Captured { bytes: head, dropped: 0 };
        }
        head.truncate(complete_utf8(&head));
        let start = tail.iter().take(3).take_while(|byte| is_continuation(**byte)).count();
        let tail = &tail[start..];
        let dropped = total - (head.len() + tail.len()) as u64;
        head.extend_from_slice(format!("\n[... {dropped} bytes dropped ...]\n").as_bytes());
        head.extend_from_slice(tail);
        Captured { bytes: head, dropped }
    }

    fn head_limit(&self) -> usize {
        self.limit - self.limit / 2
    }

    fn push_tail(&mut self, bytes: &[u8]) {
        let capacity = self.limit / 2;
        // Only the last `capacity` bytes are kept, so a huge write costs no more than that.
        let bytes = &bytes[bytes.len().saturating_sub(capacity)..];
        let (filling, wrapping) = bytes.split_at(bytes.len().min(capacity - self.tail.len()));
        self.tail.extend_from_slice(filling);
        if wrapping.is_empty() {
            return;
        }
        let until_end = wrapping.len().min(capacity - self.oldest);
        let (first, second) = wrapping.split_at(until_end);
        self.tail[self.oldest..self.oldest + first.len()].copy_from_slice(first);
        self.tail[..second.len()].copy_from_slice(second);
        self.oldest = (self.oldest + wrapping.len()) % capacity;
    }
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

/// Returns the length of `bytes` without a character that is cut at the end. Bytes that are not
/// UTF-8 stay.
fn complete_utf8(bytes: &[u8]) -> usize {
    let back = bytes.iter().rev().take(3).take_while(|byte| is_continuation(**byte)).count();
    match bytes.len().checked_sub(back + 1) {
        Some(at) if back + 1 < width(bytes[at]) => at,
        _ => bytes.len(),
    }
}

/// Returns the length of a UTF-8 character with this first byte.
fn width(lead: u8) -> usize {
    match lead {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xFF => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(limit: u64, writes: &[&[u8]]) -> Captured {
        let mut capture = Capture::new(limit);
        writes.iter().for_each(|write| capture.push(write));
        capture.finish()
    }

    #[test]
    fn what_fits_is_kept_whole() {
        assert_eq!(
            captured(10, &[b"hello", b"world"]),
            Captured { bytes: b"helloworld".to_vec(), dropped: 0 }
        );
        assert_eq!(captured(0, &[]), Captured::default());
    }

    #[test]
    fn head_and_tail_survive_and_the_gap_is_counted() {
        let expected =
            Captured { bytes: b"ab\n[... 6 bytes dropped ...]\nij".to_vec(), dropped: 6 };
        assert_eq!(captured(4, &[b"abcdefghij"]), expected);
        assert_eq!(captured(4, &[b"a", b"bcd", b"e", b"fgh", b"i", b"j"]), expected);
    }

    #[test]
    fn a_limit_of_zero_keeps_nothing() {
        assert_eq!(captured(0, &[b"abc"]).dropped, 3);
    }

    #[test]
    fn cuts_fall_between_characters() {
        let text = "\u{1F600}".repeat(50);
        let captured = captured(30, &[text.as_bytes()]);
        assert!(std::str::from_utf8(&captured.bytes).is_ok());
        assert_eq!(captured.dropped, 200 - 24);
    }

    #[test]
    fn any_split_of_the_same_bytes_gives_the_same_capture() {
        let bytes: Vec<u8> = (0..1000u32).map(|n| (n % 26) as u8 + b'a').collect();
        let whole = captured(64, &[&bytes]);
        for size in [1, 3, 7, 31, 32, 33, 64, 65, 999] {
            assert_eq!(
                captured(64, &bytes.chunks(size).collect::<Vec<_>>()),
                whole,
                "chunks of {size}"
            );
        }
    }
}
