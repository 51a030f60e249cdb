//! The oracles, on random scripts.

use proptest::{collection::vec, prelude::*, sample::select};

use super::{control, immortal_objects};

/// Returns scripts of writes, reads and answers.
fn script() -> impl Strategy<Value = Vec<u8>> {
    let message = select(vec!["{\"code\": 1}", "{\"code\": \"x\"}", "{", "l", "c[\"a\",{}]", ""])
        .prop_map(|text| [&[text.len() as u8][..], text.as_bytes()].concat());
    let piece = prop_oneof![message, vec(any::<u8>(), 0..5)];
    let step = (0..3_u8, piece).prop_map(|(kind, piece)| [&[kind][..], &piece].concat());
    (any::<u8>(), vec(step, 0..20))
        .prop_map(|(granted, steps)| [&[granted, 2, 7, 7][..], &steps.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_control_device_keeps_its_invariants(bytes in script()) {
        control(&bytes);
    }

    #[test]
    fn only_objects_that_were_named_become_immortal(
        memory in vec(any::<u8>(), 64),
        addresses in vec(prop_oneof![4 => 0..64_u32, 1 => any::<u32>()], 0..5),
    ) {
        let addresses = addresses.iter().flat_map(|address| address.to_le_bytes());
        immortal_objects(&memory.into_iter().chain(addresses).collect::<Vec<_>>());
    }
}
