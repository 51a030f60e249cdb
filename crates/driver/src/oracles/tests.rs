//! The oracles on messages that are nearly right.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// Returns a message as a driver sends it.
fn encoded(kind: u8, fields: &[Vec<u8>]) -> Vec<u8> {
    let body: Vec<u8> = fields
        .iter()
        .flat_map(|field| [&(field.len() as u32).to_le_bytes()[..], field.as_slice()].concat())
        .collect();
    [&[kind][..], &(body.len() as u32).to_le_bytes(), &body].concat()
}

/// A stream of messages, sometimes cut off or with other bytes among them.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        4 => select(vec!["a", "b/c", "../x", "/x", "a//b", "", "0", "137", "-1", "cpu", "files"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..12),
    ];
    use MessageKind as Kind;
    let files = [Kind::Artifact, Kind::Content, Kind::Refused].map(MessageKind::byte);
    let others = [
        Kind::Ended,
        Kind::Hello,
        Kind::Stdout,
        Kind::Stderr,
        Kind::Program,
        Kind::Done,
        Kind::Question,
        Kind::Connect,
        Kind::Data,
        Kind::Passed,
        Kind::Closed,
    ]
    .map(MessageKind::byte);
    let kind = prop_oneof![3 => select(files.to_vec()), 2 => select(others.to_vec())];
    let message = (kind, vec(field, 0..4)).prop_map(|(kind, fields)| encoded(kind, &fields));
    let piece = prop_oneof![12 => message, 1 => vec(any::<u8>(), 0..6)];
    (any::<u8>(), vec(piece, 0..20), 0..8_usize).prop_map(|(how, pieces, cut)| {
        let mut bytes = pieces.concat();
        bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(5)));
        bytes.insert(0, how);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_a_cell_sends_is_read_as_it_was_written(bytes in stream()) {
        received(&bytes);
    }

    #[test]
    fn what_the_host_posts_is_read_as_it_was_written(bytes in vec(any::<u8>(), 0..200)) {
        posted(&bytes);
    }
}

/// The control: the oracles see messages and files, not only invalid streams.
#[test]
fn the_oracles_reach_what_they_check() {
    let (artifact, content) = (MessageKind::Artifact.byte(), MessageKind::Content.byte());
    let file = [encoded(artifact, &["a".into()]), encoded(content, &["one".into()])].concat();
    let (messages, end) = read(&file);
    assert_eq!((messages.len(), end), (2, StreamEnd::Closed));
    assert_eq!(read(b"a\xff\xff\xff\xff").1, StreamEnd::Invalid);
    assert_eq!(read(b"a\x05\0\0\0\x02\0\0\0x").1, StreamEnd::Invalid);
    let (mut wire, _) = wire(Some(&file), 0);
    let arrived = [next(&mut wire, false).unwrap(), next(&mut wire, false).unwrap()];
    let mut arriving = ArrivingFiles::new(10, 2);
    arrived.iter().for_each(|message| arriving.take(message));
    arriving.complete();
    assert_eq!(arriving.artifacts.len(), 1);
    assert_eq!(messages_in(b"r\x01\x02xyw").len(), 2);
}

/// The control: a file whose content was not sent breaks the oracle.
#[test]
#[should_panic(expected = "was not sent like this")]
fn content_that_was_not_sent_is_seen() {
    let named = |kind, field: &'static [u8]| DriverMessage { kind, fields: vec![field.into()] };
    let messages = [named(MessageKind::Artifact, b"file"), named(MessageKind::Content, b"one")];
    let mut arriving = ArrivingFiles::new(10, 2);
    messages.iter().for_each(|message| arriving.take(message));
    arriving.complete();
    check(&arriving, vec![(b"file".to_vec(), b"two".to_vec())], 10, 2);
}

/// Found by the target `wire`.
#[test]
fn a_driver_may_say_that_it_cannot_continue() {
    received(b"\x01l\x07\0\0\0\x03\0\0\0d/ey\0\0\0\0");
}
