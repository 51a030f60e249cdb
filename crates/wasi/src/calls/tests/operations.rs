//! Random operations on a file system.

use proptest::{collection, option, prelude::*, sample};

use crate::{
    fs::abi::FDFLAG_APPEND,
    oracles::files::{
        guest::OpenHow,
        operations::{ACCESS, FLAGS, NAMES, Operation, PathAt, SLOTS},
    },
};

/// Returns a configuration for at least `cases` cases; `PROPTEST_CASES` can ask for more.
pub fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(cases), failure_persistence: None, ..default }
}

/// Paths of a few names, so that they often meet, with slashes and dots everywhere.
fn path() -> impl Strategy<Value = String> {
    let name = sample::select(&NAMES);
    let slash = sample::select(vec!["", "", "", "", "/"]);
    (slash.clone(), collection::vec(name, 1..5), slash)
        .prop_map(|(first, names, last)| format!("{first}{}{last}", names.join("/")))
}

fn at() -> impl Strategy<Value = PathAt> {
    (option::weighted(0.4, 0..SLOTS), path()).prop_map(|(base, path)| PathAt { base, path })
}

fn how() -> impl Strategy<Value = OpenHow> {
    let (flags, access) = (sample::select(&FLAGS), sample::select(&ACCESS));
    (prop::bool::weighted(0.8), flags, access, prop::bool::weighted(0.2)).prop_map(
        |(follow, oflags, rights, append)| OpenHow {
            follow,
            oflags,
            rights,
            fdflags: if append { FDFLAG_APPEND } else { 0 },
        },
    )
}

pub fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let slot = 0..SLOTS;
    let offset = || option::weighted(0.3, 0..120u64);
    prop_oneof![
        6 => (slot.clone(), at(), how()).prop_map(|(slot, at, how)| Open { slot, at, how }),
        2 => slot.clone().prop_map(|slot| Close { slot }),
        2 => (slot.clone(), 1..64u32, offset())
            .prop_map(|(slot, len, offset)| Read { slot, len, offset }),
        3 => (slot.clone(), collection::vec(any::<u8>(), 0..40), offset())
            .prop_map(|(slot, bytes, offset)| Write { slot, bytes, offset }),
        2 => (slot.clone(), -40..120i64, 0..4u32)
            .prop_map(|(slot, offset, whence)| Seek { slot, offset, whence }),
        2 => (slot.clone(), 0..100u64).prop_map(|(slot, len)| SetLen { slot, len }),
        1 => slot.clone().prop_map(|slot| Stat { slot }),
        1 => slot.prop_map(|slot| List { slot }),
        4 => at().prop_map(|at| MakeDirectory { at }),
        2 => at().prop_map(|at| RemoveDirectory { at }),
        2 => at().prop_map(|at| Unlink { at }),
        3 => (at(), at()).prop_map(|(from, to)| Rename { from, to }),
        3 => (path(), at()).prop_map(|(target, at)| Link { target, at }),
        1 => at().prop_map(|at| ReadLink { at }),
        2 => (at(), any::<bool>()).prop_map(|(at, follow)| StatPath { at, follow }),
    ]
}
