//! The oracles, on texts made of what matters to each reader.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// Questions that are nearly right.
fn question_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = select(vec![
        "l", "c", "[", "]", "{", "}", "\"echo\"", "\"a\"", ",", ":", "1", "null", "\\", "\u{e9}",
    ]);
    let pieces = vec(piece, 0..16).prop_map(|pieces| pieces.concat().into_bytes());
    let call =
        "[a-z]{0,4}".prop_map(|value| format!("c[\"echo\",{{\"a\":\"{value}\"}}]").into_bytes());
    prop_oneof![pieces, call, vec(any::<u8>(), 0..40)]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn safe_paths_never_escape(
        path in "[a./\\\\: ~\0-]{0,12}|\\PC{0,20}|(\\.\\.?/|a/|/){0,6}[a.]{0,3}",
    ) {
        file_name(&path);
    }

    #[test]
    fn questions_reach_only_what_is_offered(bytes in question_bytes()) {
        question(&bytes);
    }
}

/// The controls: the oracles above see names and calls, not only refusals.
#[test]
fn the_oracles_reach_what_they_check() {
    assert_eq!(workspace_path("./a//b").as_deref(), Ok("a/b"));
    let tools = Arc::new(Offered::default());
    let calls = HostCalls::new(Some(tools.clone()));
    let mut answer = pin!(calls.answer(b"c[\"echo\",{\"a\":1}]".to_vec()));
    let answer = answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(answer, Poll::Ready(b"v{\"a\":1}".to_vec()));
    assert_eq!(*tools.called.lock(), ["echo"]);
}
