//! The directory of a cell that has no file system of its own: the names in it.
//!
//! ```text
//! cellblock-cell-…/      the launcher's: programs cannot make or move anything here
//! ├── workspace/         belongs to the programs
//! ├── tmp/               belongs to the programs
//! └── system/            the launcher's; programs can only read it (see `launcher/system.rs`)
//! ```

use std::path::{Path, PathBuf};

/// The directory that blocks run in.
pub const WORKSPACE: &str = "workspace";

/// The directory for temporary files.
pub const TEMPORARY: &str = "tmp";

/// The directories that belong to programs.
pub const WRITABLE: [&str; 2] = [WORKSPACE, TEMPORARY];

/// The directory for what programs miss where they see the host's root.
pub const SYSTEM: &str = "system";

/// The directory of programs in [`SYSTEM`].
pub const SYSTEM_PROGRAMS: &str = "bin";

/// The directory of Python modules in [`SYSTEM`].
pub const SYSTEM_MODULES: &str = "modules";

/// Returns the directory of a cell's own programs, which belongs at the end of `PATH`.
pub fn programs(cell: &Path) -> PathBuf {
    cell.join(SYSTEM).join(SYSTEM_PROGRAMS)
}

/// Returns the directory of a cell's own Python modules, which belongs before all others.
pub fn modules(cell: &Path) -> PathBuf {
    cell.join(SYSTEM).join(SYSTEM_MODULES)
}
