//! The output of blocks as text, with characters cut anywhere.

use cellblock_answer::run::BlockReport;
use cellblock_exec::Outcome;

use super::*;
use crate::human::Nobody;

/// The texts in the events for pieces of the two streams.
fn emitted(pieces: &[(Stream, &[u8])]) -> (String, String) {
    let (events, mut received) = crate::event::channel();
    let context = Context::new(
        "chat".into(),
        Default::default(),
        Some(events),
        Default::default(),
        Default::default(),
    );
    let observer = RunObserver::new("user", context, Approval::Never, Arc::new(Nobody));
    for (stream, bytes) in pieces {
        observer.output(*stream, bytes);
    }
    observer
        .finished(&mut BlockReport::not_run(&CodeBlock::default(), Outcome::Exited { code: 0 }));
    let (mut out, mut err) = (String::new(), String::new());
    while let Ok(event) = received.try_recv() {
        if let Event::BlockOutput { stream, text, .. } = event {
            assert!(!text.is_empty());
            if stream == Stream::Stdout { &mut out } else { &mut err }.push_str(&text);
        }
    }
    (out, err)
}

#[test]
fn characters_may_be_cut_anywhere() {
    let text = "aé🦀世\n";
    let (one, two): (Vec<_>, Vec<_>) =
        (text.bytes().map(|byte| [byte]).collect(), "é🦀".bytes().map(|byte| [byte]).collect());
    // The two streams alternate: each keeps its own partial character.
    let mut pieces: Vec<(Stream, &[u8])> = Vec::new();
    for (place, piece) in one.iter().enumerate() {
        pieces.push((Stream::Stdout, piece));
        pieces.extend(two.get(place).map(|piece| (Stream::Stderr, &piece[..])));
    }
    assert_eq!(emitted(&pieces), (text.to_owned(), "é🦀".to_owned()));
}

#[test]
fn invalid_utf8_is_replaced() {
    let (out, err) = emitted(&[
        (Stream::Stdout, b"a\xffb"),
        (Stream::Stdout, b"c"),
        (Stream::Stderr, "é".as_bytes()),
    ]);
    assert_eq!((out.as_str(), err.as_str()), ("a\u{fffd}bc", "é"));
    // A character whose end never arrives.
    assert_eq!(emitted(&[(Stream::Stdout, b"x\xf0\x9f")]).0, "x\u{fffd}");
}
