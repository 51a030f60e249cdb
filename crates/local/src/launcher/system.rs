//! What programs find where they see the host's root: the name `python`, and what Python needs in
//! place of `/dev/shm`, which Landlock closes because it is everybody's.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::{AsFd as _, BorrowedFd},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, openat},
    sys::stat::Mode,
    unistd::symlinkat,
};

use super::directory::make_in;

/// The directory's name in a cell's own.
pub(crate) const NAME: &str = "system";

/// Python imports this module by itself when it starts.
const MODULE: (&str, &str) = ("sitecustomize.py", include_str!("shared_memory.py"));

/// Programs of a cell, to be found after all others.
pub(crate) fn programs(cell: &Path) -> PathBuf {
    cell.join(NAME).join("bin")
}

/// Modules for Python, to be found before all others.
pub(crate) fn modules(cell: &Path) -> PathBuf {
    cell.join(NAME).join("modules")
}

/// Fills the directory.
pub(super) fn fill(directory: BorrowedFd<'_>, python: Option<&Path>) -> io::Result<()> {
    let bin = make_in(directory, "bin", 0o755)?;
    if let Some(python) = python {
        symlinkat(python, &bin, "python")?;
    }
    let modules = make_in(directory, "modules", 0o755)?;
    let (name, text) = MODULE;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let file = openat(modules.as_fd(), name, flags, Mode::from_bits_truncate(0o644))?;
    File::from(file).write_all(text.as_bytes())
}
