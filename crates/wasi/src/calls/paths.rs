//! The calls on paths.

use wasmtime::{Caller, Linker};

use crate::{
    fs::{Errno, InodeKind, abi::LOOKUP_SYMLINK_FOLLOW, path},
    host::{GuestMemory, Host, WASI_P1, guest_call},
};

/// Adds the calls to `linker`.
pub fn add_to_linker(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    add_file_calls(linker)?;
    add_entry_calls(linker)
}

/// Adds the calls on the file at a path.
fn add_file_calls(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    type C<'a> = Caller<'a, Host>;
    linker.func_wrap(
        WASI_P1,
        "path_open",
        |mut caller: C<'_>,
         fd: u32,
         lookup: u32,
         path: u32,
         len: u32,
         oflags: u32,
         rights: u64,
         _inheriting: u64,
         fdflags: u32,
         out: u32| {
            guest_call(&mut caller, |host, memory| {
                let base = host.fs.node(fd)?;
                let follow = lookup & LOOKUP_SYMLINK_FOLLOW != 0;
                let opened =
                    host.fs.open(base, memory.path(path, len)?, follow, oflags, rights, fdflags)?;
                memory.write(out, &opened.to_le_bytes()).inspect_err(|_| {
                    // The guest has not received the number, so it could not close it.
                    let _ = host.fs.close_descriptor(opened);
                })
            })
        },
    )?;
    linker.func_wrap(
        WASI_P1,
        "path_filestat_get",
        |mut caller: C<'_>, fd: u32, lookup: u32, path: u32, len: u32, out: u32| {
            guest_call(&mut caller, |host, memory| {
                let follow = lookup & LOOKUP_SYMLINK_FOLLOW != 0;
                let node = host.fs.lookup(host.fs.node(fd)?, memory.path(path, len)?, follow)?;
                memory.write(out, &host.fs.stat(node)?.encode())
            })
        },
    )?;
    linker.func_wrap(
        WASI_P1,
        "path_filestat_set_times",
        |mut caller: C<'_>,
         fd: u32,
         lookup: u32,
         path: u32,
         len: u32,
         accessed: u64,
         modified: u64,
         flags: u32| {
            guest_call(&mut caller, |host, memory| {
                let follow = lookup & LOOKUP_SYMLINK_FOLLOW != 0;
                let node = host.fs.lookup(host.fs.node(fd)?, memory.path(path, len)?, follow)?;
                host.fs.set_times_by_flags(node, accessed, modified, flags)
            })
        },
    )?;
    linker.func_wrap(
        WASI_P1,
        "path_readlink",
        |mut caller: C<'_>,
         fd: u32,
         path: u32,
         len: u32,
         buffer: u32,
         buffer_len: u32,
         out: u32| {
            guest_call(&mut caller, |host, memory| {
                let node = host.fs.lookup(host.fs.node(fd)?, memory.path(path, len)?, false)?;
                let Some(InodeKind::Link { target }) = host.fs.inode(node).map(|inode| &inode.kind)
                else {
                    return Err(Errno::Inval);
                };
                let count = target.len().min(buffer_len as usize);
                memory.write(buffer, &target.as_bytes()[..count])?;
                memory.write(out, &(count as u32).to_le_bytes())
            })
        },
    )?;
    Ok(())
}

/// Adds the calls that create, remove and move directory entries.
fn add_entry_calls(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    type C<'a> = Caller<'a, Host>;
    linker.func_wrap(
        WASI_P1,
        "path_create_directory",
        |mut caller: C<'_>, fd: u32, path: u32, len: u32| {
            guest_call(&mut caller, |host, memory| {
                let place = host.fs.place(host.fs.node(fd)?, memory.path(path, len)?)?;
                host.fs
                    .add(place.directory, place.name, InodeKind::directory(place.directory))
                    .map(drop)
            })
        },
    )?;
    linker.func_wrap(
        WASI_P1,
        "path_remove_directory",
        |mut caller: C<'_>, fd: u32, path: u32, len: u32| {
            guest_call(&mut caller, |host, memory| {
                let place = host.fs.place(host.fs.node(fd)?, memory.path(path, len)?)?;
                host.fs.remove(&place, true)
            })
        },
    )?;
    linker.func_wrap(
        WASI_P1,
        "path_unlink_file",
        |mut caller: C<'_>, fd: u32, path: u32, len: u32| {
            guest_call(&mut caller, |host, memory| {
                let place = host.fs.place(host.fs.node(fd)?, memory.path(path, len)?)?;
                host.fs.remove(&place, false)
            })
        },
    )?;
    linker.func_wrap(
        WASI_P1,
        "path_rename",
        |mut caller: C<'_>,
         from_fd: u32,
         from: u32,
         from_len: u32,
         to_fd: u32,
         to: u32,
         to_len: u32| {
            guest_call(&mut caller, |host, memory| {
                let from = host.fs.place(host.fs.node(from_fd)?, memory.path(from, from_len)?)?;
                let to = host.fs.place(host.fs.node(to_fd)?, memory.path(to, to_len)?)?;
                host.fs.rename(&from, &to)
            })
        },
    )?;
    linker.func_wrap(
        WASI_P1,
        "path_symlink",
        |mut caller: C<'_>, target: u32, target_len: u32, fd: u32, path: u32, len: u32| {
            guest_call(&mut caller, |host, memory| {
                let target = memory.path(target, target_len)?;
                if target.is_empty() {
                    return Err(Errno::Noent);
                }
                let place = host.fs.place(host.fs.node(fd)?, memory.path(path, len)?)?;
                if place.must_be_directory && host.fs.child(place.directory, place.name).is_err() {
                    return Err(Errno::Noent);
                }
                host.fs.link(place.directory, place.name, target)
            })
        },
    )?;
    linker.func_wrap(
        WASI_P1,
        "path_link",
        |_: C<'_>,
         _fd: u32,
         _lookup: u32,
         _from: u32,
         _len: u32,
         _to_fd: u32,
         _to: u32,
         _to_len: u32| {
            // Each file has one name, so that directory entries count what a session holds.
            Errno::Notsup as i32
        },
    )?;
    Ok(())
}

impl GuestMemory<'_> {
    fn path(&self, pointer: u32, len: u32) -> Result<&str, Errno> {
        path::parse(self.slice(pointer, len)?)
    }
}
