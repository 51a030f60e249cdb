//! Random operations on a file system, and what they give.

use proptest::{collection, option, prelude::*, sample};

use super::guest::{BUFFER_LEN, DIRECTORY, Entry, Guest, How, LINK};
use crate::fs::{
    Errno,
    abi::{FDFLAG_APPEND, oflags, rights},
    descriptors::ROOT,
};

/// How many descriptors a sequence uses at once, besides the root directory.
pub(super) const SLOTS: usize = 4;

/// At least this many cases; `PROPTEST_CASES` asks for more.
pub(super) fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(cases), failure_persistence: None, ..default }
}

/// A path and what it is relative to: the descriptor in a slot, or the root if that is closed.
#[derive(Debug, Clone)]
pub(super) struct At {
    pub(super) base: Option<usize>,
    pub(super) path: String,
}

#[derive(Debug, Clone)]
pub(super) enum Operation {
    Open { slot: usize, at: At, how: How },
    Close { slot: usize },
    Read { slot: usize, len: u32, offset: Option<u64> },
    Write { slot: usize, bytes: Vec<u8>, offset: Option<u64> },
    Seek { slot: usize, offset: i64, whence: u32 },
    SetLen { slot: usize, len: u64 },
    Stat { slot: usize },
    List { slot: usize },
    MakeDirectory { at: At },
    RemoveDirectory { at: At },
    Unlink { at: At },
    Rename { from: At, to: At },
    Link { target: String, at: At },
    ReadLink { at: At },
    StatPath { at: At, follow: bool },
}

/// What an operation gives when it succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    Nothing,
    Number(u64),
    Bytes(Vec<u8>),
    Text(String),
    /// Kind, and the size of what is not a directory.
    Stat(u8, u64),
    /// Names in order.
    Names(Vec<String>),
    /// It did not apply, for a reason that both sides see.
    Skipped,
}

/// Paths of a few names, so that they often meet, with everything that paths can have.
pub(super) fn path() -> impl Strategy<Value = String> {
    let name = sample::select(vec!["a", "a", "a", "b", "b", "c", "d", ".", "..", ""]);
    let slash = sample::select(vec!["", "", "", "", "/"]);
    (slash.clone(), collection::vec(name, 1..5), slash)
        .prop_map(|(first, names, last)| format!("{first}{}{last}", names.join("/")))
}

fn at() -> impl Strategy<Value = At> {
    (option::weighted(0.4, 0..SLOTS), path()).prop_map(|(base, path)| At { base, path })
}

fn how() -> impl Strategy<Value = How> {
    let flags = sample::select(vec![
        0,
        oflags::CREATE,
        oflags::CREATE,
        oflags::CREATE | oflags::EXCLUSIVE,
        oflags::CREATE | oflags::TRUNCATE,
        oflags::TRUNCATE,
        oflags::DIRECTORY,
    ]);
    let access = sample::select(vec![
        rights::FD_READ,
        rights::FD_WRITE,
        rights::FD_READ | rights::FD_WRITE,
        rights::FD_READ | rights::FD_WRITE,
    ]);
    (prop::bool::weighted(0.8), flags, access, prop::bool::weighted(0.2)).prop_map(
        |(follow, oflags, rights, append)| How {
            follow,
            oflags,
            rights,
            fdflags: if append { FDFLAG_APPEND } else { 0 },
        },
    )
}

pub(super) fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let slot = 0..SLOTS;
    let offset = || option::weighted(0.3, 0..120u64);
    prop_oneof![
        6 => (slot.clone(), at(), how()).prop_map(|(slot, at, how)| Open { slot, at, how }),
        2 => slot.clone().prop_map(|slot| Close { slot }),
        2 => (slot.clone(), 1..64u32, offset()).prop_map(|(slot, len, offset)| Read { slot, len, offset }),
        3 => (slot.clone(), collection::vec(any::<u8>(), 0..40), offset())
            .prop_map(|(slot, bytes, offset)| Write { slot, bytes, offset }),
        2 => (slot.clone(), -40..120i64, 0..4u32).prop_map(|(slot, offset, whence)| Seek { slot, offset, whence }),
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

/// A guest, with descriptors in slots.
pub(super) struct Ours {
    pub(super) guest: Guest,
    pub(super) slots: [Option<u32>; SLOTS],
}

impl Ours {
    pub(super) fn new(guest: Guest) -> Self {
        Self { guest, slots: [None; SLOTS] }
    }

    /// Every path, with what is there.
    pub(super) fn tree(&mut self) -> Vec<(String, String)> {
        let mut tree = Vec::new();
        let mut directories = vec![String::new()];
        while let Some(directory) = directories.pop() {
            let fd = self.guest.open(ROOT, &format!("{directory}/"), How::READ).unwrap();
            let entries = self.guest.list(fd, 300).unwrap();
            self.guest.close(fd).unwrap();
            for Entry { name, kind, .. } in entries {
                let path = format!("{directory}/{name}");
                let content = match kind {
                    _ if name == "." || name == ".." => continue,
                    DIRECTORY => {
                        directories.push(path.clone());
                        "directory".to_owned()
                    }
                    LINK => format!("link to {}", self.guest.readlink(ROOT, &path).unwrap()),
                    _ => {
                        let fd = self.guest.open(ROOT, &path, How::READ).unwrap();
                        let content = self.guest.read(fd, BUFFER_LEN, None).unwrap();
                        self.guest.close(fd).unwrap();
                        format!("{content:?}")
                    }
                };
                tree.push((path, content));
            }
        }
        tree.sort();
        tree
    }

    fn base(&self, at: &At) -> u32 {
        at.base.and_then(|slot| self.slots[slot]).unwrap_or(ROOT)
    }

    pub(super) fn run(&mut self, operation: &Operation) -> Result<Given, Errno> {
        let slot = match operation {
            Operation::Open { .. } => None,
            Operation::Close { slot }
            | Operation::Read { slot, .. }
            | Operation::Write { slot, .. }
            | Operation::Seek { slot, .. }
            | Operation::SetLen { slot, .. }
            | Operation::Stat { slot }
            | Operation::List { slot } => Some(*slot),
            _ => None,
        };
        let fd = match slot.map(|slot| self.slots[slot]) {
            None => 0,
            Some(None) => return Ok(Given::Skipped),
            Some(Some(fd)) => fd,
        };
        let guest = &mut self.guest;
        Ok(match operation {
            Operation::Open { slot, at, how } => {
                if let Some(old) = self.slots[*slot].take() {
                    guest.close(old)?;
                }
                let base = self.base(at);
                self.slots[*slot] = Some(self.guest.open(base, &at.path, *how)?);
                Given::Nothing
            }
            Operation::Close { slot } => {
                self.slots[*slot] = None;
                guest.close(fd)?;
                Given::Nothing
            }
            Operation::Read { len, offset, .. } => Given::Bytes(guest.read(fd, *len, *offset)?),
            Operation::Write { bytes, offset, .. } => {
                Given::Number(guest.write(fd, bytes, *offset)?.into())
            }
            Operation::Seek { offset, whence, .. } => {
                Given::Number(guest.seek(fd, *offset, *whence)?)
            }
            Operation::SetLen { len, .. } => {
                guest.set_len(fd, *len)?;
                Given::Nothing
            }
            Operation::Stat { .. } => stat(guest.stat(fd)?),
            Operation::List { .. } => {
                let names = guest.list(fd, 100)?.into_iter().map(|entry| entry.name);
                let mut names: Vec<String> =
                    names.filter(|name| name != "." && name != "..").collect();
                names.sort();
                Given::Names(names)
            }
            _ => return self.run_on_path(operation),
        })
    }

    fn run_on_path(&mut self, operation: &Operation) -> Result<Given, Errno> {
        match operation {
            Operation::MakeDirectory { at } => self.guest.mkdir(self.base(at), &at.path)?,
            Operation::RemoveDirectory { at } => self.guest.rmdir(self.base(at), &at.path)?,
            Operation::Unlink { at } => self.guest.unlink(self.base(at), &at.path)?,
            Operation::Rename { from, to } => {
                self.guest.rename((self.base(from), &from.path), (self.base(to), &to.path))?;
            }
            Operation::Link { target, at } => {
                self.guest.symlink(target, self.base(at), &at.path)?
            }
            Operation::ReadLink { at } => {
                return self.guest.readlink(self.base(at), &at.path).map(Given::Text);
            }
            Operation::StatPath { at, follow } => {
                return self.guest.stat_path(self.base(at), &at.path, *follow).map(stat);
            }
            _ => unreachable!("{operation:?}"),
        }
        Ok(Given::Nothing)
    }
}

fn stat(stat: super::guest::Stat) -> Given {
    Given::Stat(stat.kind, if stat.kind == DIRECTORY { 0 } else { stat.size })
}
