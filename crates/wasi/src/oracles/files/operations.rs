//! Operations on a file system, and their results.

use super::guest::{BUFFER_LEN, DIRECTORY, Entry, Guest, LINK, OpenHow};
use crate::fs::{
    Errno,
    abi::{FDFLAG_APPEND, oflags, rights},
    descriptors::ROOT,
};

/// The number of descriptors that a sequence uses at once, besides the root directory.
pub const SLOTS: usize = 4;

/// The names in paths: few, so that they often meet.
pub const NAMES: [&str; 10] = ["a", "a", "a", "b", "b", "c", "d", ".", "..", ""];

/// The flags that files are opened with.
pub const FLAGS: [u32; 7] = [
    0,
    oflags::CREATE,
    oflags::CREATE,
    oflags::CREATE | oflags::EXCLUSIVE,
    oflags::CREATE | oflags::TRUNCATE,
    oflags::TRUNCATE,
    oflags::DIRECTORY,
];

/// The access that files are opened for.
pub const ACCESS: [u64; 4] = [
    rights::FD_READ,
    rights::FD_WRITE,
    rights::FD_READ | rights::FD_WRITE,
    rights::FD_READ | rights::FD_WRITE,
];

/// A path, relative to the descriptor in a slot, or to the root if that is closed.
#[derive(Debug, Clone)]
pub struct PathAt {
    pub base: Option<usize>,
    pub path: String,
}

#[derive(Debug, Clone)]
pub enum Operation {
    Open { slot: usize, at: PathAt, how: OpenHow },
    Close { slot: usize },
    Read { slot: usize, len: u32, offset: Option<u64> },
    Write { slot: usize, bytes: Vec<u8>, offset: Option<u64> },
    Seek { slot: usize, offset: i64, whence: u32 },
    SetLen { slot: usize, len: u64 },
    Stat { slot: usize },
    List { slot: usize },
    MakeDirectory { at: PathAt },
    RemoveDirectory { at: PathAt },
    Unlink { at: PathAt },
    Rename { from: PathAt, to: PathAt },
    Link { target: String, at: PathAt },
    ReadLink { at: PathAt },
    StatPath { at: PathAt, follow: bool },
}

/// The result of a successful operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationResult {
    Nothing,
    Number(u64),
    Bytes(Vec<u8>),
    Text(String),
    /// The kind, and the size unless it is a directory.
    Stat(u8, u64),
    /// Names, sorted.
    Names(Vec<String>),
    /// The operation does not apply, on either side.
    Skipped,
}

/// Reads operations from bytes, a byte for each choice.
pub fn operations_in(bytes: &[u8]) -> Vec<Operation> {
    let mut choices = Choices(bytes);
    let mut operations = Vec::new();
    while !choices.0.is_empty() && operations.len() < MAX_OPERATIONS {
        operations.push(choices.operation());
    }
    operations
}

/// The maximum number of operations that are read from bytes.
const MAX_OPERATIONS: usize = 100;

/// Bytes that choose. After the last byte, every choice is the first one.
struct Choices<'b>(&'b [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    fn slot(&mut self) -> usize {
        usize::from(self.byte()) % SLOTS
    }

    /// Reads an offset, or none.
    fn offset(&mut self) -> Option<u64> {
        Some(u64::from(self.byte())).filter(|offset| *offset < 120)
    }

    fn path(&mut self) -> String {
        let how = self.byte();
        let names: Vec<&str> = (0..=how % 4).map(|_| self.of(&NAMES)).collect();
        let slash = |bit: u8| if how & bit == 0 { "" } else { "/" };
        format!("{}{}{}", slash(64), names.join("/"), slash(128))
    }

    fn at(&mut self) -> PathAt {
        let base = Some(usize::from(self.byte())).filter(|slot| *slot < SLOTS);
        PathAt { base, path: self.path() }
    }

    fn how(&mut self) -> OpenHow {
        let (oflags, rights, how) = (self.of(&FLAGS), self.of(&ACCESS), self.byte());
        let fdflags = if how & 2 == 0 { 0 } else { FDFLAG_APPEND };
        OpenHow { follow: how & 1 == 0, oflags, rights, fdflags }
    }

    fn operation(&mut self) -> Operation {
        use Operation::*;
        match self.byte() % 15 {
            0 => Open { slot: self.slot(), at: self.at(), how: self.how() },
            1 => Close { slot: self.slot() },
            2 => Read { slot: self.slot(), len: 1 + u32::from(self.byte()), offset: self.offset() },
            3 => {
                let (slot, offset) = (self.slot(), self.offset());
                let count = usize::from(self.byte() % 40);
                Write { slot, bytes: (0..count).map(|_| self.byte()).collect(), offset }
            }
            4 => Seek {
                slot: self.slot(),
                offset: i64::from(self.byte()) - 40,
                whence: u32::from(self.byte() % 4),
            },
            5 => SetLen { slot: self.slot(), len: self.byte().into() },
            6 => Stat { slot: self.slot() },
            7 => List { slot: self.slot() },
            8 => MakeDirectory { at: self.at() },
            9 => RemoveDirectory { at: self.at() },
            10 => Unlink { at: self.at() },
            11 => Rename { from: self.at(), to: self.at() },
            12 => Link { target: self.path(), at: self.at() },
            13 => ReadLink { at: self.at() },
            _ => StatPath { at: self.at(), follow: self.byte() & 1 == 0 },
        }
    }
}

/// A guest with descriptors in slots.
pub struct GuestFs {
    pub guest: Guest,
    pub slots: [Option<u32>; SLOTS],
}

impl GuestFs {
    pub fn new(guest: Guest) -> Self {
        Self { guest, slots: [None; SLOTS] }
    }

    /// Returns all paths, each with a text for its content.
    pub fn tree(&mut self) -> Vec<(String, String)> {
        let mut tree = Vec::new();
        let mut directories = vec![String::new()];
        while let Some(directory) = directories.pop() {
            let fd = self.guest.open(ROOT, &format!("{directory}/"), OpenHow::READ).unwrap();
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
                        let fd = self.guest.open(ROOT, &path, OpenHow::READ).unwrap();
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

    fn base(&self, at: &PathAt) -> u32 {
        at.base.and_then(|slot| self.slots[slot]).unwrap_or(ROOT)
    }

    pub fn run(&mut self, operation: &Operation) -> Result<OperationResult, Errno> {
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
            Some(None) => return Ok(OperationResult::Skipped),
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
                OperationResult::Nothing
            }
            Operation::Close { slot } => {
                self.slots[*slot] = None;
                guest.close(fd)?;
                OperationResult::Nothing
            }
            Operation::Read { len, offset, .. } => {
                OperationResult::Bytes(guest.read(fd, *len, *offset)?)
            }
            Operation::Write { bytes, offset, .. } => {
                OperationResult::Number(guest.write(fd, bytes, *offset)?.into())
            }
            Operation::Seek { offset, whence, .. } => {
                OperationResult::Number(guest.seek(fd, *offset, *whence)?)
            }
            Operation::SetLen { len, .. } => {
                guest.set_len(fd, *len)?;
                OperationResult::Nothing
            }
            Operation::Stat { .. } => stat(guest.stat(fd)?),
            Operation::List { .. } => {
                let names = guest.list(fd, 100)?.into_iter().map(|entry| entry.name);
                let mut names: Vec<String> =
                    names.filter(|name| name != "." && name != "..").collect();
                names.sort();
                OperationResult::Names(names)
            }
            _ => return self.run_on_path(operation),
        })
    }

    fn run_on_path(&mut self, operation: &Operation) -> Result<OperationResult, Errno> {
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
                return self.guest.readlink(self.base(at), &at.path).map(OperationResult::Text);
            }
            Operation::StatPath { at, follow } => {
                return self.guest.stat_path(self.base(at), &at.path, *follow).map(stat);
            }
            _ => unreachable!("{operation:?}"),
        }
        Ok(OperationResult::Nothing)
    }
}

fn stat(stat: super::guest::GuestStat) -> OperationResult {
    OperationResult::Stat(stat.kind, if stat.kind == DIRECTORY { 0 } else { stat.size })
}
