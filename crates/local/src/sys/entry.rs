//! The constructor that turns a new process of the embedding program into the launcher.
//!
//! A library has no `main` of its own, and embedders would forget to call a hook in theirs. So a
//! constructor looks at the first argument of the process before `main` runs. It runs once in each
//! start of the program and costs a comparison.

use std::ffi::{CStr, c_char, c_int};

/// The first argument of a process that is to become the launcher.
pub const LAUNCHER: &CStr = c"cellblock-launcher";

/// Makes the linker keep the constructor: it drops objects of a library that nothing refers to.
pub fn keep_constructor() {
    std::hint::black_box(&CONSTRUCTOR);
}

/// A constructor. glibc passes it the arguments of `main`.
#[cfg(target_env = "gnu")]
type Constructor = extern "C" fn(c_int, *const *const c_char, *const *const c_char);
#[cfg(not(target_env = "gnu"))]
type Constructor = extern "C" fn();

// SAFETY: the section holds pointers to functions of this type. The loader calls each once, after
// it has set up the C library and before `main`, on the only thread there is.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: Constructor = enter;

#[cfg(target_env = "gnu")]
extern "C" fn enter(
    count: c_int,
    arguments: *const *const c_char,
    _environment: *const *const c_char,
) {
    if count < 1 || arguments.is_null() {
        return;
    }
    // SAFETY: the loader passes the argument vector of the process, which has `count` > 0 entries.
    let first = unsafe { *arguments };
    if first.is_null() {
        return;
    }
    // SAFETY: an argument ends with a zero byte and lives as long as the process.
    if unsafe { CStr::from_ptr(first) } == LAUNCHER {
        become_launcher();
    }
}

#[cfg(not(target_env = "gnu"))]
extern "C" fn enter() {
    let arguments = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    if arguments.split_inclusive(|byte| *byte == 0).next() == Some(LAUNCHER.to_bytes_with_nul()) {
        become_launcher();
    }
}

fn become_launcher() {
    // A set-user-id program must not lend its rights to a caller who sets its first argument.
    // SAFETY: no preconditions.
    if unsafe { libc::getauxval(libc::AT_SECURE) } != 0 {
        return;
    }
    let code = std::panic::catch_unwind(crate::launcher::keep::main).unwrap_or(101);
    // SAFETY: ends the process at once. Nothing of the embedding program has run, so nothing needs
    // to be cleaned up.
    unsafe { libc::_exit(code) }
}
