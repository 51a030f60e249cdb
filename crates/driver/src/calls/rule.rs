//! The parts of a rule: the calls that it denies, where, with which arguments and which error.

/// System calls that are denied together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Their names.
    pub calls: &'static [&'static str],
    /// The cells in which they are denied.
    pub cells: CellSet,
    /// The arguments with which they are denied.
    pub arguments: Arguments,
    /// The error of a denied call.
    pub denial: Denial,
    /// The reason, for people.
    pub why: &'static str,
}

/// The cells that a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellSet {
    /// All cells.
    All,
    /// Cells of the local executor.
    Local,
    /// Cells without granted hosts.
    WithoutHosts,
    /// Cells whose memory is watched because no control group counts it.
    UncountedMemory,
    /// Cells in which open files and sockets are counted by looking at descriptors: their root is
    /// the host's, or their memory is watched and no host is granted.
    WatchedDescriptors,
    /// Cells that see the host's root (level `landlock`).
    SharedRoot,
    /// Cells that see the host's root, and whose programs run as a user who owns files there.
    SharedOwner,
    /// Cells of [`CellSet::SharedOwner`] that may read files of this user, such as a virtual
    /// environment.
    ReadableOwner,
    /// Cells that see the host's root, under a Landlock that does not keep signals inside.
    UnscopedSignals,
}

/// The properties of one cell that rules depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CellTraits {
    /// True if hosts are granted, so that internet sockets may be used inside the cell.
    pub hosts: bool,
    /// True if a control group counts memory.
    pub counted_memory: bool,
    /// True if the cell sees the host's root.
    pub shared_root: bool,
    /// True if programs run as a user who owns files outside the cell.
    pub owner: bool,
    /// True if programs may read files of this user.
    pub readable: bool,
    /// True if something else keeps signals inside the cell.
    pub scoped_signals: bool,
}

impl CellSet {
    /// Returns true if the set contains a cell with these traits.
    pub fn contains(self, cell: &CellTraits) -> bool {
        match self {
            CellSet::All | CellSet::Local => true,
            CellSet::WithoutHosts => !cell.hosts,
            CellSet::UncountedMemory => !cell.counted_memory,
            CellSet::WatchedDescriptors => {
                cell.shared_root || (!cell.counted_memory && !cell.hosts)
            }
            CellSet::SharedRoot => cell.shared_root,
            CellSet::SharedOwner => cell.shared_root && cell.owner,
            CellSet::ReadableOwner => cell.shared_root && cell.owner && cell.readable,
            CellSet::UnscopedSignals => cell.shared_root && !cell.scoped_signals,
        }
    }

    /// Returns a phrase for people.
    pub fn describe(self) -> &'static str {
        match self {
            CellSet::All => "all, containers too",
            CellSet::Local => "local",
            CellSet::WithoutHosts => "local, without granted hosts",
            CellSet::UncountedMemory => "local, memory is watched",
            CellSet::WatchedDescriptors => {
                "`landlock`, or memory is watched and no host is granted"
            }
            CellSet::SharedRoot => "`landlock`",
            CellSet::SharedOwner => "`landlock`, ordinary user",
            CellSet::ReadableOwner => "`landlock`, ordinary user whose files can be read",
            CellSet::UnscopedSignals => "`landlock`, before version 6 of Landlock",
        }
    }
}

/// The arguments with which a call is denied. Arguments count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arguments {
    /// Any arguments.
    Any,
    /// An argument that has none of the values.
    NoneOf {
        /// The argument, of which 32 bits count.
        argument: u8,
        /// The allowed values.
        values: &'static [u32],
    },
    /// An argument that has one of the values.
    OneOf {
        /// The argument.
        argument: u8,
        /// The bits of it that are compared.
        mask: u32,
        /// The denied values.
        values: &'static [u32],
    },
    /// An argument that has at least one of the bits.
    AnyBit {
        /// The argument.
        argument: u8,
        /// The denied bits.
        bits: u64,
    },
    /// An argument that has all of the bits.
    AllBits {
        /// The argument.
        argument: u8,
        /// The bits that are denied together.
        bits: u64,
    },
    /// An argument that is not zero.
    NonZero {
        /// The argument.
        argument: u8,
    },
}

/// The error of a denied call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// `EPERM`: not permitted.
    NotPermitted,
    /// `ENOSYS`: no such call, so that libraries fall back to an older one.
    Missing,
    /// `EOPNOTSUPP`: the file system does not support it, which tools that copy files accept.
    NotSupported,
}

impl Denial {
    /// Returns the error number, which is the same on every supported machine.
    pub fn errno(self) -> u32 {
        match self {
            Denial::NotPermitted => 1,
            Denial::Missing => 38,
            Denial::NotSupported => 95,
        }
    }
}
