//! A guest that is only a memory. The WASI calls are made from here, with their records in that
//! memory.

use std::{collections::BTreeMap, sync::OnceLock};

use wasmtime::{Engine, Func, Linker, Memory, MemoryType, Store, Val, ValType};

use crate::{
    calls, engine,
    fs::{
        Errno, Fs,
        abi::{FileType, LOOKUP_SYMLINK_FOLLOW, rights},
    },
    host::{Host, WASI_P1},
};

/// Addresses in the guest's memory.
pub const OUT: u32 = 0;
pub const VECTOR: u32 = 256;
pub const FIRST_PATH: u32 = 0x1000;
pub const SECOND_PATH: u32 = 0x4000;
pub const BUFFER: u32 = 0x8000;
/// The length of the buffer, which ends with the memory.
pub const BUFFER_LEN: u32 = 0x8000;

/// A guest.
pub struct Guest {
    store: Store<Host>,
    memory: Memory,
    calls: BTreeMap<&'static str, Func>,
}

/// The flags of `path_open`.
#[derive(Debug, Clone, Copy)]
pub struct OpenHow {
    pub follow: bool,
    pub oflags: u32,
    pub rights: u64,
    pub fdflags: u32,
}

impl OpenHow {
    pub const READ: Self = Self { follow: true, oflags: 0, rights: rights::FD_READ, fdflags: 0 };
    pub const WRITE: Self = Self { rights: rights::FD_READ | rights::FD_WRITE, ..Self::READ };
    pub const CREATE: Self = Self { oflags: crate::fs::abi::oflags::CREATE, ..Self::WRITE };
}

/// The kind and size in a `filestat` record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestStat {
    pub kind: u8,
    pub size: u64,
}

impl Guest {
    pub fn new(fs: Fs) -> Self {
        static LINKER: OnceLock<(Engine, Linker<Host>)> = OnceLock::new();
        let (engine, linker) = LINKER.get_or_init(|| {
            let engine = Engine::new(&engine::config(false)).unwrap();
            let mut linker = Linker::new(&engine);
            // Without the other `imports`: there, reading can wait for the host, which needs a
            // guest that can be suspended.
            calls::add_to_linker(&mut linker).unwrap();
            (engine, linker)
        });
        let mut store = Store::new(engine, Host::new());
        let memory = Memory::new(&mut store, MemoryType::new(1, Some(1))).unwrap();
        store.data_mut().memory = Some(memory);
        store.data_mut().fs = fs;
        let calls: Vec<(&str, Func)> = linker
            .iter(&mut store)
            .filter(|(module, name, _)| {
                *module == WASI_P1 && (name.starts_with("fd_") || name.starts_with("path_"))
            })
            .map(|(_, name, call)| (name, call.into_func().unwrap()))
            .collect();
        Self { store, memory, calls: calls.into_iter().collect() }
    }

    pub fn fs(&mut self) -> &mut Fs {
        &mut self.store.data_mut().fs
    }

    pub fn bytes(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }

    /// Makes a call with any numbers.
    pub fn call(&mut self, name: &str, arguments: &[u64]) -> Result<(), Errno> {
        let call = self.calls[name];
        let parameters = call.ty(&self.store);
        assert_eq!(parameters.params().len(), arguments.len(), "{name}");
        let values: Vec<Val> = parameters
            .params()
            .zip(arguments)
            .map(|(parameter, argument)| match parameter {
                ValType::I64 => Val::I64(*argument as i64),
                _ => Val::I32(u32::try_from(*argument).unwrap() as i32),
            })
            .collect();
        let mut results = [Val::I32(-1)];
        call.call(&mut self.store, &values, &mut results).unwrap();
        let number = results[0].unwrap_i32();
        match Errno::ALL.iter().find(|errno| **errno as i32 == number) {
            Some(Errno::Success) => Ok(()),
            Some(errno) => Err(*errno),
            None => panic!("{name} returned {number}"),
        }
    }

    fn put(&mut self, at: u32, bytes: &[u8]) -> u64 {
        self.bytes()[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        u64::from(at)
    }

    /// Writes a path to memory; returns its pointer and length.
    fn path(&mut self, at: u32, path: &str) -> (u64, u64) {
        (self.put(at, path.as_bytes()), path.len() as u64)
    }

    fn u32(&mut self) -> u32 {
        self.u64() as u32
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes()[..8].try_into().unwrap())
    }

    pub fn open(&mut self, base: u32, path: &str, how: OpenHow) -> Result<u32, Errno> {
        let (pointer, len) = self.path(FIRST_PATH, path);
        let (lookup, oflags, fdflags) =
            (u64::from(how.follow), u64::from(how.oflags), u64::from(how.fdflags));
        assert_eq!(LOOKUP_SYMLINK_FOLLOW, 1);
        let rights = how.rights;
        self.call(
            "path_open",
            &[base.into(), lookup, pointer, len, oflags, rights, rights, fdflags, OUT.into()],
        )?;
        Ok(self.u32())
    }

    pub fn close(&mut self, fd: u32) -> Result<(), Errno> {
        self.call("fd_close", &[fd.into()])
    }

    pub fn read(&mut self, fd: u32, len: u32, at: Option<u64>) -> Result<Vec<u8>, Errno> {
        let vector = [BUFFER.to_le_bytes(), len.to_le_bytes()].concat();
        let vector = self.put(VECTOR, &vector);
        match at {
            None => self.call("fd_read", &[fd.into(), vector, 1, OUT.into()])?,
            Some(at) => self.call("fd_pread", &[fd.into(), vector, 1, at, OUT.into()])?,
        }
        let count = self.u32() as usize;
        Ok(self.bytes()[BUFFER as usize..BUFFER as usize + count].to_vec())
    }

    pub fn write(&mut self, fd: u32, bytes: &[u8], at: Option<u64>) -> Result<u32, Errno> {
        self.put(BUFFER, bytes);
        let vector = [BUFFER.to_le_bytes(), (bytes.len() as u32).to_le_bytes()].concat();
        let vector = self.put(VECTOR, &vector);
        match at {
            None => self.call("fd_write", &[fd.into(), vector, 1, OUT.into()])?,
            Some(at) => self.call("fd_pwrite", &[fd.into(), vector, 1, at, OUT.into()])?,
        }
        Ok(self.u32())
    }

    pub fn seek(&mut self, fd: u32, offset: i64, whence: u32) -> Result<u64, Errno> {
        self.call("fd_seek", &[fd.into(), offset as u64, whence.into(), OUT.into()])?;
        Ok(self.u64())
    }

    pub fn set_len(&mut self, fd: u32, len: u64) -> Result<(), Errno> {
        self.call("fd_filestat_set_size", &[fd.into(), len])
    }

    fn stat_record(&mut self) -> GuestStat {
        let record = &self.bytes()[..64];
        GuestStat { kind: record[16], size: u64::from_le_bytes(record[32..40].try_into().unwrap()) }
    }

    pub fn stat(&mut self, fd: u32) -> Result<GuestStat, Errno> {
        self.call("fd_filestat_get", &[fd.into(), OUT.into()])?;
        Ok(self.stat_record())
    }

    pub fn stat_path(&mut self, base: u32, path: &str, follow: bool) -> Result<GuestStat, Errno> {
        let (pointer, len) = self.path(FIRST_PATH, path);
        self.call(
            "path_filestat_get",
            &[base.into(), u64::from(follow), pointer, len, OUT.into()],
        )?;
        Ok(self.stat_record())
    }

    /// Makes a call that takes a descriptor and a path: `path_create_directory`,
    /// `path_remove_directory` or `path_unlink_file`.
    pub fn on_path(&mut self, name: &str, base: u32, path: &str) -> Result<(), Errno> {
        let (pointer, len) = self.path(FIRST_PATH, path);
        self.call(name, &[base.into(), pointer, len])
    }

    pub fn mkdir(&mut self, base: u32, path: &str) -> Result<(), Errno> {
        self.on_path("path_create_directory", base, path)
    }

    pub fn rmdir(&mut self, base: u32, path: &str) -> Result<(), Errno> {
        self.on_path("path_remove_directory", base, path)
    }

    pub fn unlink(&mut self, base: u32, path: &str) -> Result<(), Errno> {
        self.on_path("path_unlink_file", base, path)
    }

    pub fn rename(&mut self, from: (u32, &str), to: (u32, &str)) -> Result<(), Errno> {
        let (from_pointer, from_len) = self.path(FIRST_PATH, from.1);
        let (to_pointer, to_len) = self.path(SECOND_PATH, to.1);
        self.call(
            "path_rename",
            &[from.0.into(), from_pointer, from_len, to.0.into(), to_pointer, to_len],
        )
    }

    pub fn symlink(&mut self, target: &str, base: u32, path: &str) -> Result<(), Errno> {
        let (target, target_len) = self.path(SECOND_PATH, target);
        let (pointer, len) = self.path(FIRST_PATH, path);
        self.call("path_symlink", &[target, target_len, base.into(), pointer, len])
    }

    pub fn readlink(&mut self, base: u32, path: &str) -> Result<String, Errno> {
        let (pointer, len) = self.path(FIRST_PATH, path);
        let (buffer, buffer_len) = (u64::from(BUFFER), u64::from(BUFFER_LEN));
        self.call("path_readlink", &[base.into(), pointer, len, buffer, buffer_len, OUT.into()])?;
        let count = self.u32() as usize;
        Ok(String::from_utf8(self.bytes()[BUFFER as usize..BUFFER as usize + count].to_vec())
            .unwrap())
    }

    /// Makes one `fd_readdir` with a buffer of `len` bytes. Returns the complete entries, and true
    /// if there can be more.
    pub fn list_some(
        &mut self,
        fd: u32,
        cookie: u64,
        len: u32,
    ) -> Result<(Vec<Entry>, bool), Errno> {
        self.call("fd_readdir", &[fd.into(), BUFFER.into(), len.into(), cookie, OUT.into()])?;
        let count = self.u32();
        let mut rest = &self.bytes()[BUFFER as usize..][..count as usize];
        let mut entries = Vec::new();
        while let Some((head, tail)) = rest.split_at_checked(24) {
            let name_len = u32::from_le_bytes(head[16..20].try_into().unwrap()) as usize;
            let Some((name, tail)) = tail.split_at_checked(name_len) else { break };
            let next = u64::from_le_bytes(head[..8].try_into().unwrap());
            entries.push(Entry {
                next,
                name: String::from_utf8(name.to_vec()).unwrap(),
                kind: head[20],
            });
            rest = tail;
        }
        Ok((entries, count == len))
    }

    /// Lists a directory like the C library, with a buffer of `len` bytes.
    pub fn list(&mut self, fd: u32, len: u32) -> Result<Vec<Entry>, Errno> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let cookie = entries.last().map_or(0, |entry| entry.next);
            let (some, more) = self.list_some(fd, cookie, len)?;
            let got_none = some.is_empty();
            entries.extend(some);
            if !more {
                return Ok(entries);
            }
            assert!(!got_none, "the buffer is too small for one entry");
        }
    }
}

/// A directory entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub next: u64,
    pub name: String,
    pub kind: u8,
}

pub const DIRECTORY: u8 = FileType::Directory as u8;
pub const FILE: u8 = FileType::RegularFile as u8;
pub const LINK: u8 = FileType::SymbolicLink as u8;
pub const DEVICE: u8 = FileType::CharacterDevice as u8;
