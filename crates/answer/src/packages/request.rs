//! Install commands in a block: `pip install x` in a shell block or a Python cell is a request for
//! a package, not a command to run.
//!
//! Install commands are `pip install`, `pip3 install`, `python -m pip install` (any Python, also as
//! a path, also after `sudo`, `!`, `%` or a `$` prompt), `uv pip install` and `uv add`.
//! `conda install` is none, because conda's names are not PyPI's: in a shell block it is an
//! ordinary command, in a Python cell it is refused.
//!
//! All requests of a block are fulfilled before the rest of it runs, also those that stand later:
//! `pip install x && python y.py` installs `x` and then runs `true && python y.py`, so the exit
//! status is right. A request under an `if` is fulfilled in any case.

mod pip;
mod python;
mod shell;
mod split;

use cellblock_exec::Language;
pub use split::{InstallRequest, RequestRefused, Split};

/// Splits a block into install requests and the code that remains.
///
/// Blocks in bash, sh and Python are split. A block in another shell (zsh, fish, PowerShell, batch)
/// is split only if it consists of install commands, which look the same in all shells.
///
/// # Errors
/// [`RequestRefused`] for an install command with more than packages of the index, such as a
/// requirements file, a URL or another index.
pub fn split_installs(language: &Language, code: &str) -> Result<Split, RequestRefused> {
    let untouched = || Split { requests: Vec::new(), code: Some(code.to_owned()) };
    match language.as_str() {
        "bash" | "sh" => shell::split(code),
        "python" => python::split(code),
        "zsh" | "fish" | "powershell" | "batch" => Ok(shell::split(code)
            .ok()
            .filter(|split| split.code.is_none())
            .unwrap_or_else(untouched)),
        _ => Ok(untouched()),
    }
}
