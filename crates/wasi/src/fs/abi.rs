//! Constants and record layouts of WASI preview 1 (`wasi_snapshot_preview1`, witx of 2020-12).

/// Defines [`Errno`] and the list of its values from one table.
macro_rules! errnos {
    ($($name:ident = $number:literal,)*) => {
        /// An error number of WASI preview 1; the names are those of POSIX.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Errno {
            $($name = $number,)*
        }

        #[cfg(any(test, feature = "oracles"))]
        impl Errno {
            /// All error numbers that a call here can return.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

errnos! {
    Success = 0,
    Again = 6,
    Badf = 8,
    Exist = 20,
    Fault = 21,
    Fbig = 22,
    Ilseq = 25,
    Inval = 28,
    Isdir = 31,
    Loop = 32,
    Mfile = 33,
    Nametoolong = 37,
    Noent = 44,
    Nospc = 51,
    Notdir = 54,
    Notempty = 55,
    Notsup = 58,
    Rofs = 69,
    Spipe = 70,
}

/// The kind of a node: `filetype` of WASI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FileType {
    CharacterDevice = 2,
    Directory = 3,
    RegularFile = 4,
    SymbolicLink = 7,
}

/// The `lookupflags` bit that follows a symbolic link at the end of a path.
pub const LOOKUP_SYMLINK_FOLLOW: u32 = 1;

/// `oflags` of `path_open`.
pub mod oflags {
    pub const CREATE: u32 = 1;
    pub const DIRECTORY: u32 = 2;
    pub const EXCLUSIVE: u32 = 4;
    pub const TRUNCATE: u32 = 8;
}

/// The only bit of `fdflags` that has an effect here.
pub const FDFLAG_APPEND: u32 = 1;

/// The `rights` that carry the access mode of an `open`.
pub mod rights {
    pub const FD_READ: u64 = 1 << 1;
    pub const FD_WRITE: u64 = 1 << 6;
    /// All rights that preview 1 defines.
    pub const ALL: u64 = (1 << 30) - 1;
}

/// `fstflags` of the calls that set times.
pub mod fstflags {
    pub const ATIME: u32 = 1;
    pub const ATIME_NOW: u32 = 2;
    pub const MTIME: u32 = 4;
    pub const MTIME_NOW: u32 = 8;
}

/// The metadata of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub inode: u64,
    pub kind: FileType,
    pub size: u64,
    /// Nanoseconds since the epoch.
    pub accessed: u64,
    /// Nanoseconds since the epoch.
    pub modified: u64,
}

impl Stat {
    /// Encodes a `filestat` record.
    pub fn encode(&self) -> [u8; 64] {
        let mut record = [0; 64];
        record[0..8].copy_from_slice(&1u64.to_le_bytes());
        record[8..16].copy_from_slice(&self.inode.to_le_bytes());
        record[16] = self.kind as u8;
        record[24..32].copy_from_slice(&1u64.to_le_bytes());
        record[32..40].copy_from_slice(&self.size.to_le_bytes());
        record[40..48].copy_from_slice(&self.accessed.to_le_bytes());
        record[48..56].copy_from_slice(&self.modified.to_le_bytes());
        record[56..64].copy_from_slice(&self.modified.to_le_bytes());
        record
    }
}

/// Encodes the head of a `dirent` record; the name follows it.
pub fn encode_dirent(next: u64, inode: u64, name: &str, kind: FileType) -> [u8; 24] {
    let mut record = [0; 24];
    record[0..8].copy_from_slice(&next.to_le_bytes());
    record[8..16].copy_from_slice(&inode.to_le_bytes());
    record[16..20].copy_from_slice(&(name.len() as u32).to_le_bytes());
    record[20] = kind as u8;
    record
}

/// Encodes an `fdstat` record.
pub fn encode_fdstat(kind: FileType, flags: u16, rights: u64) -> [u8; 24] {
    let mut record = [0; 24];
    record[0] = kind as u8;
    record[2..4].copy_from_slice(&flags.to_le_bytes());
    record[8..16].copy_from_slice(&rights.to_le_bytes());
    record[16..24].copy_from_slice(&rights.to_le_bytes());
    record
}
