//! The WASI preview 1 calls on descriptors and paths, in front of [`Fs`].
//!
//! Pointers and lengths come from the guest and are checked against its memory: a wrong one is `EFAULT`.
//!
//! The control device is how the driver in the guest speaks with the host: see [`Turn`](crate::host::Turn).

use wasmtime::{Caller, Linker};

use super::{
    abi::{
        Errno, FDFLAG_APPEND, FileType, LOOKUP_SYMLINK_FOLLOW, Stat, encode_dirent, encode_fdstat,
        fstflags, oflags, rights,
    },
    descriptors::{Descriptor, ROOT, Target},
    path,
    tree::{Content, Device, Fs, Kind, Node},
};
use crate::clock::realtime;
use crate::host::{GuestMemory, Host, Stop, WASI_P1, guest_call};

/// How many vectors one read or write may name (Linux's `IOV_MAX`).
const MOST_VECTORS: u32 = 1024;

/// Adds the calls to `linker`.
pub(crate) fn add_to_linker(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    add_descriptor_calls(linker)?;
    add_data_calls(linker)?;
    add_path_calls(linker)?;
    for name in ["sock_accept", "sock_recv", "sock_send", "sock_shutdown"] {
        add_missing_socket_call(linker, name)?;
    }
    Ok(())
}

/// Calls on a descriptor as a whole.
fn add_descriptor_calls(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    type C<'a> = Caller<'a, Host>;
    linker.func_wrap(WASI_P1, "fd_close", |mut caller: C<'_>, fd: u32| {
        guest_call(&mut caller, |host, _| host.fs.close_descriptor(fd))
    })?;
    linker.func_wrap(WASI_P1, "fd_renumber", |mut caller: C<'_>, from: u32, to: u32| {
        guest_call(&mut caller, |host, _| {
            if let Some(Descriptor { target: Target::Node(node), .. }) =
                host.fs.descriptors.renumber(from, to)?
            {
                host.fs.close(node);
            }
            Ok(())
        })
    })?;
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
            // Rights are not what confines a guest here: there is nothing outside its own file system to have a right to.
            guest_call(&mut caller, |host, _| host.fs.descriptors.get(fd).map(drop))
        },
    )?;
    linker.func_wrap(WASI_P1, "fd_filestat_get", |mut caller: C<'_>, fd: u32, out: u32| {
        guest_call(&mut caller, |host, memory| {
            let stat = match host.fs.descriptors.get(fd)?.target {
                Target::Node(node) => host.fs.stat(node)?,
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
        "fd_filestat_set_times",
        |mut caller: C<'_>, fd: u32, accessed: u64, modified: u64, flags: u32| {
            guest_call(&mut caller, |host, _| {
                let node = host.fs.node(fd)?;
                host.fs.set_times_by_flags(node, accessed, modified, flags)
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
    linker.func_wrap(WASI_P1, "fd_prestat_get", |mut caller: C<'_>, fd: u32, out: u32| {
        guest_call(&mut caller, |_, memory| {
            if fd != ROOT {
                return Err(Errno::Badf);
            }
            // Tag 0 is a directory; its name, "/", is one byte long.
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

/// Calls that move data through a descriptor.
fn add_data_calls(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    type C<'a> = Caller<'a, Host>;
    linker.func_wrap(
        WASI_P1,
        "fd_read",
        |mut caller: C<'_>, fd: u32, vectors: u32, count: u32, out: u32| {
            read_call(&mut caller, fd, vectors, count, out)
        },
    )?;
    linker.func_wrap(
        WASI_P1,
        "fd_pread",
        |mut caller: C<'_>, fd: u32, vectors: u32, count: u32, offset: u64, out: u32| {
            guest_call(&mut caller, |host, memory| {
                let read = read(host, memory, fd, vectors, count, Some(offset))?;
                memory.write(out, &read.to_le_bytes())
            })
        },
    )?;
    linker.func_wrap(
        WASI_P1,
        "fd_write",
        |mut caller: C<'_>, fd: u32, vectors: u32, count: u32, out: u32| {
            write_call(&mut caller, fd, vectors, count, None, out)
        },
    )?;
    linker.func_wrap(
        WASI_P1,
        "fd_pwrite",
        |mut caller: C<'_>, fd: u32, vectors: u32, count: u32, offset: u64, out: u32| {
            write_call(&mut caller, fd, vectors, count, Some(offset), out)
        },
    )?;
    linker.func_wrap(
        WASI_P1,
        "fd_seek",
        |mut caller: C<'_>, fd: u32, offset: i64, whence: u32, out: u32| {
            guest_call(&mut caller, |host, memory| {
                memory.write(out, &host.fs.seek(fd, offset, whence)?.to_le_bytes())
            })
        },
    )?;
    linker.func_wrap(WASI_P1, "fd_tell", |mut caller: C<'_>, fd: u32, out: u32| {
        guest_call(&mut caller, |host, memory| {
            memory.write(out, &host.fs.seek(fd, 0, 1)?.to_le_bytes())
        })
    })?;
    linker.func_wrap(
        WASI_P1,
        "fd_readdir",
        |mut caller: C<'_>, fd: u32, buffer: u32, len: u32, cookie: u64, out: u32| {
            guest_call(&mut caller, |host, memory| {
                let directory = host.fs.node(fd)?;
                let written = list(&host.fs, directory, cookie, memory.slice_mut(buffer, len)?)?;
                memory.write(out, &written.to_le_bytes())
            })
        },
    )?;
    Ok(())
}

/// Calls on paths.
fn add_path_calls(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
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
                    // Nobody learned its number, so nobody could close it.
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
        "path_create_directory",
        |mut caller: C<'_>, fd: u32, path: u32, len: u32| {
            guest_call(&mut caller, |host, memory| {
                let place = host.fs.place(host.fs.node(fd)?, memory.path(path, len)?)?;
                host.fs.add(place.directory, place.name, Kind::directory(place.directory)).map(drop)
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
                let Some(Kind::Link { target }) = host.fs.inode(node).map(|inode| &inode.kind)
                else {
                    return Err(Errno::Inval);
                };
                let count = target.len().min(buffer_len as usize);
                memory.write(buffer, &target.as_bytes()[..count])?;
                memory.write(out, &(count as u32).to_le_bytes())
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
            // One name for each file: what a session holds can then be counted by its directory entries.
            Errno::Notsup as i32
        },
    )?;
    Ok(())
}

/// There are no sockets, so no descriptor is one; but the guest's C library imports the calls.
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

/// Reads through a descriptor. [`imports`](crate::imports) has the call that waits for the host before.
pub(crate) fn read_call(
    caller: &mut Caller<'_, Host>,
    fd: u32,
    vectors: u32,
    count: u32,
    out: u32,
) -> i32 {
    guest_call(caller, |host, memory| {
        let read = read(host, memory, fd, vectors, count, None)?;
        memory.write(out, &read.to_le_bytes())
    })
}

/// Reads into the guest's vectors; stops at the first one that is not filled.
fn read(
    host: &mut Host,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    vectors: u32,
    count: u32,
    at: Option<u64>,
) -> Result<u32, Errno> {
    let descriptor = host.fs.descriptors.get(fd)?;
    if !descriptor.read {
        return Err(Errno::Badf);
    }
    let (target, start) = (descriptor.target, at.unwrap_or(descriptor.offset));
    if at.is_some() && !matches!(target, Target::Node(_)) {
        return Err(Errno::Spipe);
    }
    let mut total = 0u64;
    for index in 0..count.min(MOST_VECTORS) {
        let (pointer, len) = memory.vector(vectors, index)?;
        let buffer = memory.slice_mut(pointer, len)?;
        let read = match target {
            Target::Stdin => host.turn.read_stdin(buffer),
            Target::Node(node) if host.fs.is_control(node) => host.turn.read_control(buffer),
            Target::Node(node) => host.fs.read_at(node, start.saturating_add(total), buffer)?,
            Target::Stdout | Target::Stderr => return Err(Errno::Badf),
        };
        total += read as u64;
        if read < len as usize {
            break;
        }
    }
    if at.is_none() {
        host.fs.descriptors.get_mut(fd)?.offset = start.saturating_add(total);
    }
    u32::try_from(total).map_err(|_| Errno::Inval)
}

fn write_call(
    caller: &mut Caller<'_, Host>,
    fd: u32,
    vectors: u32,
    count: u32,
    at: Option<u64>,
    out: u32,
) -> wasmtime::Result<i32> {
    let result = guest_call(caller, |host, memory| {
        let written = write(host, memory, fd, vectors, count, at)?;
        if let Some(addresses) =
            host.turn.immortals.as_mut().map(std::mem::take).filter(|list| !list.is_empty())
        {
            memory.immortalize(&addresses)?;
        }
        memory.write(out, &written.to_le_bytes())
    });
    // A flood has no end of its own, and to report an error to it would not stop it.
    if caller.data().turn.is_flood() {
        return Err(Stop::Flood.into());
    }
    Ok(result)
}

/// Writes the guest's vectors. As POSIX has it, an error after the first bytes gives their number instead.
fn write(
    host: &mut Host,
    memory: &GuestMemory<'_>,
    fd: u32,
    vectors: u32,
    count: u32,
    at: Option<u64>,
) -> Result<u32, Errno> {
    let descriptor = host.fs.descriptors.get(fd)?;
    if !descriptor.write {
        return Err(Errno::Badf);
    }
    let target = descriptor.target;
    let start = match (at, target) {
        (Some(offset), Target::Node(_)) => offset,
        (Some(_), _) => return Err(Errno::Spipe),
        (None, Target::Node(node)) if descriptor.append => host.fs.stat(node)?.size,
        (None, _) => descriptor.offset,
    };
    // A message to the host may be long, and each is copied: a thousand in one call would hold up other sessions.
    let is_control = matches!(target, Target::Node(node) if host.fs.is_control(node));
    let most = if is_control { 1 } else { MOST_VECTORS };
    let mut total = 0u64;
    for index in 0..count.min(most) {
        let (pointer, len) = memory.vector(vectors, index)?;
        // A result is a u32: what does not fit is left for the next call.
        if total + u64::from(len) > u64::from(u32::MAX) {
            break;
        }
        let bytes = memory.slice(pointer, len)?;
        match write_vector(host, target, start.saturating_add(total), bytes) {
            Ok(()) => total += u64::from(len),
            Err(error) if total == 0 => return Err(error),
            Err(_) => break,
        }
    }
    if total > 0 && at.is_none() && matches!(target, Target::Node(_)) {
        host.fs.descriptors.get_mut(fd)?.offset = start.saturating_add(total);
    }
    Ok(total as u32)
}

fn write_vector(host: &mut Host, target: Target, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
    match target {
        Target::Stdout => host.turn.write_stdout(bytes),
        Target::Stderr => host.turn.write_stderr(bytes),
        Target::Stdin => return Err(Errno::Badf),
        Target::Node(node) if host.fs.is_control(node) => host.turn.control(bytes),
        Target::Node(node) => match host.fs.inode(node).map(|inode| &inode.kind) {
            Some(Kind::Device(_)) => {}
            _ => host.fs.write_at(node, offset, bytes)?,
        },
    }
    Ok(())
}

/// Fills `buffer` with directory entries. The last one may be cut: the guest then asks again from the one before.
fn list(fs: &Fs, directory: Node, cookie: u64, buffer: &mut [u8]) -> Result<u32, Errno> {
    let mut at = 0;
    fs.list(directory, cookie, |next, name, node| {
        let Ok(stat) = fs.stat(node) else { return true };
        for part in [&encode_dirent(next, stat.inode, name, stat.kind)[..], name.as_bytes()] {
            let count = part.len().min(buffer.len() - at);
            buffer[at..at + count].copy_from_slice(&part[..count]);
            at += count;
        }
        at < buffer.len()
    })?;
    Ok(at as u32)
}

impl Fs {
    fn node(&self, fd: u32) -> Result<Node, Errno> {
        match self.descriptors.get(fd)?.target {
            Target::Node(node) => Ok(node),
            _ => Err(Errno::Notdir),
        }
    }

    fn is_control(&self, node: Node) -> bool {
        self.inode(node).is_some_and(|inode| matches!(inode.kind, Kind::Device(Device::Control)))
    }

    /// Whether the descriptor reads from the control device.
    pub(crate) fn reads_control(&self, fd: u32) -> bool {
        self.descriptors.get(fd).is_ok_and(
            |descriptor| matches!(descriptor.target, Target::Node(node) if descriptor.read && self.is_control(node)),
        )
    }

    fn writable(&self, fd: u32) -> Result<Node, Errno> {
        let descriptor = self.descriptors.get(fd)?;
        match descriptor.target {
            Target::Node(node) if descriptor.write => Ok(node),
            _ => Err(Errno::Inval),
        }
    }

    fn fdstat(&self, fd: u32) -> Result<[u8; 24], Errno> {
        let descriptor = self.descriptors.get(fd)?;
        let kind = match descriptor.target {
            Target::Node(node) => self.stat(node)?.kind,
            _ => FileType::CharacterDevice,
        };
        let mut rights = rights::ALL;
        if !descriptor.read {
            rights &= !rights::FD_READ;
        }
        if !descriptor.write && kind != FileType::Directory {
            rights &= !rights::FD_WRITE;
        }
        Ok(encode_fdstat(kind, if descriptor.append { FDFLAG_APPEND as u16 } else { 0 }, rights))
    }

    fn close_descriptor(&mut self, fd: u32) -> Result<(), Errno> {
        if let Target::Node(node) = self.descriptors.remove(fd)?.target {
            self.close(node);
        }
        Ok(())
    }

    fn seek(&mut self, fd: u32, offset: i64, whence: u32) -> Result<u64, Errno> {
        let descriptor = self.descriptors.get(fd)?;
        let Target::Node(node) = descriptor.target else { return Err(Errno::Spipe) };
        let from = match whence {
            0 => 0,
            1 => descriptor.offset,
            2 => self.stat(node)?.size,
            _ => return Err(Errno::Inval),
        };
        let to = from
            .checked_add_signed(offset)
            .filter(|to| i64::try_from(*to).is_ok())
            .ok_or(Errno::Inval)?;
        self.descriptors.get_mut(fd)?.offset = to;
        Ok(to)
    }

    fn open(
        &mut self,
        base: Node,
        path: &str,
        follow: bool,
        oflags: u32,
        rights: u64,
        fdflags: u32,
    ) -> Result<u32, Errno> {
        // First of all: a call that fails for this must not have made or truncated a file.
        if self.descriptors.is_full() {
            return Err(Errno::Mfile);
        }
        let write = rights & rights::FD_WRITE != 0;
        let create = oflags & oflags::CREATE != 0;
        let exclusive = create && oflags & oflags::EXCLUSIVE != 0;
        let node = match self.lookup(base, path, follow && !exclusive) {
            Ok(_) if exclusive => return Err(Errno::Exist),
            Ok(node) => node,
            Err(Errno::Noent) if create => {
                let place = self.place(base, path)?;
                if place.must_be_directory || oflags & oflags::DIRECTORY != 0 {
                    return Err(Errno::Isdir);
                }
                // A link that leads nowhere is in the way: its target is not made.
                self.add(place.directory, place.name, Kind::File { content: Content::default() })?
            }
            Err(error) => return Err(error),
        };
        let stat = self.stat(node)?;
        match stat.kind {
            kind if kind != FileType::Directory && oflags & oflags::DIRECTORY != 0 => {
                return Err(Errno::Notdir);
            }
            FileType::SymbolicLink => return Err(Errno::Loop),
            FileType::Directory if create || write || oflags & oflags::TRUNCATE != 0 => {
                return Err(Errno::Isdir);
            }
            FileType::RegularFile if write && matches!(node, Node::Layer(..)) => {
                return Err(Errno::Rofs);
            }
            FileType::RegularFile if oflags & oflags::TRUNCATE != 0 => self.set_len(node, 0)?,
            _ => {}
        }
        let fd = self.descriptors.insert(Descriptor {
            target: Target::Node(node),
            offset: 0,
            append: fdflags & FDFLAG_APPEND != 0,
            read: rights & rights::FD_READ != 0,
            write,
        })?;
        self.retain(node);
        Ok(fd)
    }

    fn set_times_by_flags(
        &mut self,
        node: Node,
        accessed: u64,
        modified: u64,
        flags: u32,
    ) -> Result<(), Errno> {
        let choose =
            |set: u32, set_now: u32, given: u64| match (flags & set != 0, flags & set_now != 0) {
                (true, true) => Err(Errno::Inval),
                (true, false) => Ok(Some(given)),
                (false, true) => Ok(Some(realtime())),
                (false, false) => Ok(None),
            };
        let accessed = choose(fstflags::ATIME, fstflags::ATIME_NOW, accessed)?;
        let modified = choose(fstflags::MTIME, fstflags::MTIME_NOW, modified)?;
        self.set_times(node, accessed, modified)
    }
}

impl GuestMemory<'_> {
    fn path(&self, pointer: u32, len: u32) -> Result<&str, Errno> {
        path::parse(self.slice(pointer, len)?)
    }

    /// The `index`th vector (pointer and length) of the list at `vectors`.
    fn vector(&self, vectors: u32, index: u32) -> Result<(u32, u32), Errno> {
        let at = vectors.checked_add(index * 8).ok_or(Errno::Fault)?;
        Ok((self.read_u32(at)?, self.read_u32(at.checked_add(4).ok_or(Errno::Fault)?)?))
    }
}
