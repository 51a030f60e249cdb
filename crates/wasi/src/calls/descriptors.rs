//! The calls on a descriptor as a whole: closing it, its metadata, its size.

use wasmtime::{Caller, Linker};

use crate::{
    fs::{
        Errno,
        abi::{FDFLAG_APPEND, FileType, Stat},
        descriptors::{Descriptor, DescriptorTarget, ROOT},
    },
    host::{Host, WASI_P1, guest_call},
};

/// Adds the calls to `linker`.
pub fn add_to_linker(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    add_table_calls(linker)?;
    add_metadata_calls(linker)?;
    add_storage_calls(linker)
}

/// Adds the calls on the table of descriptors.
fn add_table_calls(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    type C<'a> = Caller<'a, Host>;
    linker.func_wrap(WASI_P1, "fd_close", |mut caller: C<'_>, fd: u32| {
        guest_call(&mut caller, |host, _| host.fs.close_descriptor(fd))
    })?;
    linker.func_wrap(WASI_P1, "fd_renumber", |mut caller: C<'_>, from: u32, to: u32| {
        guest_call(&mut caller, |host, _| {
            if let Some(Descriptor { target: DescriptorTarget::Node(node), .. }) =
                host.fs.descriptors.renumber(from, to)?
            {
                host.fs.close(node);
            }
            Ok(())
        })
    })?;
    linker.func_wrap(WASI_P1, "fd_prestat_get", |mut caller: C<'_>, fd: u32, out: u32| {
        guest_call(&mut caller, |_, memory| {
            if fd != ROOT {
                return Err(Errno::Badf);
            }
            // Tag 0 is a directory; its name, `/`, has one byte.
            memory.write(out, &[0, 0, 0, 0, 1, 0, 0, 0])
        })
    })?;
    linker.func_wrap(
        WASI_P1,
        "fd_prestat_dir_name",
        |mut caller: C<'_>, fd: u32, out: u32, len: u32| {
            guest_call(&mut caller, |_, memory| match (fd, len) {
                (ROOT, 1..) => memory.write(out, b"/"),
                (ROOT, 0) => Err(Errno::Nametoolong),
                _ => Err(Errno::Badf),
            })
        },
    )?;
    Ok(())
}

/// Adds the calls that read and change metadata.
fn add_metadata_calls(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    type C<'a> = Caller<'a, Host>;
    linker.func_wrap(WASI_P1, "fd_fdstat_get", |mut caller: C<'_>, fd: u32, out: u32| {
        guest_call(&mut caller, |host, memory| memory.write(out, &host.fs.fdstat(fd)?))
    })?;
    linker.func_wrap(
        WASI_P1,
        "fd_fdstat_set_flags",
        |mut caller: C<'_>, fd: u32, flags: u32| {
            guest_call(&mut caller, |host, _| {
                host.fs.descriptors.get_mut(fd)?.append = flags & FDFLAG_APPEND != 0;
                Ok(())
            })
        },
    )?;
    linker.func_wrap(
        WASI_P1,
        "fd_fdstat_set_rights",
        |mut caller: C<'_>, fd: u32, _base: u64, _inheriting: u64| {
            // Rights do not confine a guest here: there is nothing outside its own file system.
            guest_call(&mut caller, |host, _| host.fs.descriptors.get(fd).map(drop))
        },
    )?;
    linker.func_wrap(WASI_P1, "fd_filestat_get", |mut caller: C<'_>, fd: u32, out: u32| {
        guest_call(&mut caller, |host, memory| {
            let stat = match host.fs.descriptors.get(fd)?.target {
                DescriptorTarget::Node(node) => host.fs.stat(node)?,
                _ => Stat {
                    inode: u64::from(fd),
                    kind: FileType::CharacterDevice,
                    size: 0,
                    accessed: 0,
                    modified: 0,
                },
            };
            memory.write(out, &stat.encode())
        })
    })?;
    linker.func_wrap(
        WASI_P1,
        "fd_filestat_set_times",
        |mut caller: C<'_>, fd: u32, accessed: u64, modified: u64, flags: u32| {
            guest_call(&mut caller, |host, _| {
                let node = host.fs.node(fd)?;
                host.fs.set_times_by_flags(node, accessed, modified, flags)
            })
        },
    )?;
    Ok(())
}

/// Adds the calls on the size of a file and its storage.
fn add_storage_calls(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    type C<'a> = Caller<'a, Host>;
    linker.func_wrap(
        WASI_P1,
        "fd_filestat_set_size",
        |mut caller: C<'_>, fd: u32, size: u64| {
            guest_call(&mut caller, |host, _| {
                let node = host.fs.writable(fd)?;
                host.fs.set_len(node, size)
            })
        },
    )?;
    linker.func_wrap(
        WASI_P1,
        "fd_allocate",
        |mut caller: C<'_>, fd: u32, offset: u64, len: u64| {
            guest_call(&mut caller, |host, _| {
                let node = host.fs.writable(fd)?;
                let end = offset.checked_add(len).ok_or(Errno::Fbig)?;
                let size = host.fs.stat(node)?.size;
                host.fs.set_len(node, size.max(end))
            })
        },
    )?;
    linker.func_wrap(
        WASI_P1,
        "fd_advise",
        |mut caller: C<'_>, fd: u32, _offset: u64, _len: u64, _advice: u32| {
            guest_call(&mut caller, |host, _| host.fs.descriptors.get(fd).map(drop))
        },
    )?;
    for name in ["fd_sync", "fd_datasync"] {
        linker.func_wrap(WASI_P1, name, |mut caller: C<'_>, fd: u32| {
            guest_call(&mut caller, |host, _| host.fs.descriptors.get(fd).map(drop))
        })?;
    }
    Ok(())
}
