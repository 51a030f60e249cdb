//! The directory `system` of a cell that sees the host's root: the program `python`, and a Python
//! module in place of `/dev/shm`, which Landlock closes because it belongs to everybody.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use nix::{
    fcntl::{OFlag, openat},
    sys::stat::Mode,
    unistd::symlinkat,
};

use crate::{beneath, layout};

/// The module that Python imports by itself when it starts: its name and text.
const MODULE: (&str, &str) = ("sitecustomize.py", include_str!("shared_memory.py"));

/// Fills the directory.
pub fn fill(directory: BorrowedFd<'_>, python: Option<&Path>) -> io::Result<()> {
    let programs = beneath::make_directory(directory, layout::SYSTEM_PROGRAMS, 0o755)?;
    if let Some(python) = python {
        symlinkat(python, &programs, "python")?;
    }
    let modules = beneath::make_directory(directory, layout::SYSTEM_MODULES, 0o755)?;
    let (name, text) = MODULE;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let file = openat(modules.as_fd(), name, flags, Mode::from_bits_truncate(0o644))?;
    File::from(file).write_all(text.as_bytes())
}
