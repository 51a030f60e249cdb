//! Files arrive whole, checked and bounded, or not at all.

use super::*;

fn message(kind: MessageKind, fields: &[&[u8]]) -> DriverMessage {
    DriverMessage {
        kind,
        fields: fields.iter().map(|field| Bytes::copy_from_slice(field)).collect(),
    }
}

#[test]
fn files_arrive_in_pieces() {
    use MessageKind::{Artifact, Content};
    let mut arriving = ArrivingFiles::new(1 << 20, u32::MAX);
    for (kind, field) in [
        (Artifact, b"a.txt".as_slice()),
        (Content, b"one"),
        (Content, b"two"),
        (Artifact, b"d/empty"),
    ] {
        arriving.take(&message(kind, &[field]));
    }
    arriving.complete();
    let paths: Vec<_> =
        arriving.artifacts.iter().map(|file| (file.path.as_str(), file.bytes)).collect();
    assert_eq!(paths, [("a.txt", 6), ("d/empty", 0)]);
    assert_eq!(*arriving.artifacts[0].content, b"onetwo");
}

#[test]
fn half_a_file_is_no_artifact() {
    use MessageKind::{Artifact, Content, Refused};
    let mut arriving = ArrivingFiles::new(1 << 20, u32::MAX);
    for (kind, fields) in [
        (Artifact, [b"whole".as_slice(), b""]),
        (Content, [b"all".as_slice(), b""]),
        (Refused, [b"another".as_slice(), b"a pipe"]),
        (Artifact, [b"half".as_slice(), b""]),
        (Content, [b"some".as_slice(), b""]),
        (Refused, [b"half".as_slice(), b"cannot be read"]),
        (Artifact, [b"last".as_slice(), b""]),
        (Content, [b"some".as_slice(), b""]),
    ] {
        arriving.take(&message(kind, &fields));
    }
    // The driver has ended here.
    arriving.cut_off();
    arriving.complete();
    let paths: Vec<_> = arriving.artifacts.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["whole"]);
    let refused: Vec<_> = arriving.refused.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(refused, ["another", "half", "last"]);
}

#[test]
fn names_that_no_host_takes_are_refused_once_and_with_their_reasons() {
    let mut arriving = ArrivingFiles::new(1 << 20, u32::MAX);
    for name in [".git/config", ".git/objects/x", "a\\b", "a:b.csv", "tab\t", "HEAD"] {
        arriving.take(&message(MessageKind::Artifact, &[name.as_bytes()]));
        arriving.take(&message(MessageKind::Content, &[b"content"]));
    }
    arriving.complete();
    let taken: Vec<_> = arriving.artifacts.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(taken, ["a:b.csv"]);
    assert_eq!(*arriving.artifacts[0].content, b"content");
    let refused: Vec<_> = arriving.refused.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(refused, [".git", "a\\b", "tab\t", "HEAD"]);
    assert!(arriving.refused[1].reason.contains("backslash"), "{:?}", arriving.refused);
}

#[test]
fn a_driver_that_lies_gains_nothing() {
    let mut arriving = ArrivingFiles::new(10, u32::MAX);
    for name in ["/etc/passwd", "../up", "a/../../b", "", ".", "a//b", "nul\0", "same", "same"] {
        arriving.take(&message(MessageKind::Artifact, &[name.as_bytes()]));
    }
    arriving.take(&message(MessageKind::Artifact, &[b"\xff\xfe"]));
    arriving.take(&message(MessageKind::Content, &[b"belongs to none"]));
    arriving.take(&message(MessageKind::Artifact, &[b"large"]));
    arriving.take(&message(MessageKind::Content, &[b"more than ten bytes"]));
    arriving.take(&message(MessageKind::Content, &[b"and more"]));
    arriving.complete();
    let paths: Vec<_> = arriving.artifacts.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["same"]);
    assert_eq!(arriving.refused.len(), 10, "{:?}", arriving.refused);
}
