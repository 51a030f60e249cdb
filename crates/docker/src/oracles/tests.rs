//! The oracle on frames that are nearly right.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0][..], &(content.len() as u32).to_be_bytes(), content].concat()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn frames_are_told_apart(
        how in any::<u8>(),
        frames in vec((select(vec![1, 1, 1, 2, 2, 0, 3]), vec(any::<u8>(), 0..20)), 0..8),
        cut in 0..6_usize,
    ) {
        let mut bytes = vec![how];
        frames.iter().for_each(|(kind, content)| bytes.extend(frame(*kind, content)));
        bytes.truncate(bytes.len() - cut.saturating_sub(2).min(bytes.len()));
        attached(&bytes);
    }
}

#[test]
fn half_a_frame_of_standard_error_is_no_output() {
    let whole = [frame(1, b"one"), frame(2, b"a complaint")].concat();
    assert_eq!(frames(&whole), (b"one".to_vec(), b"a complaint".to_vec()));
    for how in 0..6 {
        for length in 0..=whole.len() {
            attached(&[&[how], &whole[..length]].concat());
        }
    }
}
