//! How a process of the embedding program becomes the launcher instead, before its `main` runs.
//!
//! A library has no `main` of its own, and asking every embedder to call a hook in theirs would be forgotten; so a
//! constructor looks at the first argument of the process. It runs once in each start of the program and costs a comparison.

use std::ffi::{CStr, c_char, c_int};

/// The first argument of a process that is to become the launcher.
pub(crate) const MARKER: &CStr = c"cellblock-launcher";

/// Makes the linker keep the constructor: it drops objects of a library that nothing refers to.
pub(crate) fn keep_entry() {
    std::hint::black_box(&ENTRY);
}

/// glibc gives constructors the arguments of `main`.
#[cfg(target_env = "gnu")]
type Constructor = extern "C" fn(c_int, *const *const c_char, *const *const c_char);
#[cfg(not(target_env = "gnu"))]
type Constructor = extern "C" fn();

// SAFETY: the section holds pointers to functions of this type, which the loader calls once, after it has set up the C
// library and before `main`, on the only thread there is.
#[used]
#[unsafe(link_section = ".init_array")]
static ENTRY: Constructor = enter;

#[cfg(target_env = "gnu")]
extern "C" fn enter(
    count: c_int,
    arguments: *const *const c_char,
    _environment: *const *const c_char,
) {
    if count < 1 || arguments.is_null() {
        return;
    }
    // SAFETY: the loader passes the argument vector of the process, which has `count` > 0 valid entries.
    let first = unsafe { *arguments };
    if first.is_null() {
        return;
    }
    // SAFETY: an argument is a string that ends with a zero byte and lives as long as the process.
    if unsafe { CStr::from_ptr(first) } == MARKER {
        become_launcher();
    }
}

#[cfg(not(target_env = "gnu"))]
extern "C" fn enter() {
    let arguments = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    if arguments.split_inclusive(|byte| *byte == 0).next() == Some(MARKER.to_bytes_with_nul()) {
        become_launcher();
    }
}

fn become_launcher() {
    // A program that runs with more rights than its caller must not hand them to whoever sets its first argument.
    // SAFETY: no preconditions.
    if unsafe { libc::getauxval(libc::AT_SECURE) } != 0 {
        return;
    }
    let code = std::panic::catch_unwind(crate::launcher::main).unwrap_or(101);
    // SAFETY: ends the process at once; nothing of the embedding program has run, so nothing is left to clean up.
    unsafe { libc::_exit(code) }
}
