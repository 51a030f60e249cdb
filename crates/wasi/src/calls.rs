//! The WASI preview 1 calls on descriptors and paths, in front of [`Fs`](crate::fs::Fs).
//!
//! Pointers and lengths come from the guest and are checked against its memory: a wrong one is
//! `EFAULT`.

mod data;
mod descriptors;
mod paths;
#[cfg(test)]
mod tests;

use wasmtime::Linker;

use crate::{
    fs::Errno,
    host::{Host, WASI_P1},
};

pub use data::read_call;

/// Adds the calls to `linker`.
pub fn add_to_linker(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    descriptors::add_to_linker(linker)?;
    data::add_to_linker(linker)?;
    paths::add_to_linker(linker)?;
    for name in ["sock_accept", "sock_recv", "sock_send", "sock_shutdown"] {
        add_missing_socket_call(linker, name)?;
    }
    Ok(())
}

/// Adds a call on sockets, which fails: there are no sockets, but the guest's C library imports the
/// calls.
fn add_missing_socket_call(linker: &mut Linker<Host>, name: &str) -> wasmtime::Result<()> {
    let parameters = match name {
        "sock_accept" => 3,
        "sock_recv" => 6,
        "sock_send" => 5,
        _ => 2,
    };
    let i32s = std::iter::repeat_n(wasmtime::ValType::I32, parameters);
    let signature = wasmtime::FuncType::new(linker.engine(), i32s, [wasmtime::ValType::I32]);
    linker.func_new(WASI_P1, name, signature, |_, _, results| {
        results[0] = wasmtime::Val::I32(Errno::Notsup as i32);
        Ok(())
    })?;
    Ok(())
}
