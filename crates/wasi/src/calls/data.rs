//! The calls that move data through a descriptor: reading, writing, seeking, listing.
//!
//! The control device connects the driver in the guest with the host: see
//! [`TurnState`](crate::host::TurnState).

use wasmtime::{Caller, Linker};

use crate::{
    fs::{Errno, Fs, InodeKind, Node, abi::encode_dirent, descriptors::DescriptorTarget},
    host::{GuestMemory, Host, OutputFlood, WASI_P1, guest_call},
};

/// The maximum number of vectors in one read or write (Linux's `IOV_MAX`).
const MAX_VECTORS: u32 = 1024;

/// Adds the calls to `linker`.
pub fn add_to_linker(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
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

/// Reads through a descriptor. [`imports`](crate::imports) adds a call that first waits for the
/// host.
pub fn read_call(
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

/// Reads into the guest's vectors, up to the first one that is not filled.
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
    if at.is_some() && !matches!(target, DescriptorTarget::Node(_)) {
        return Err(Errno::Spipe);
    }
    let mut total = 0u64;
    for index in 0..count.min(MAX_VECTORS) {
        let (pointer, len) = memory.vector(vectors, index)?;
        let buffer = memory.slice_mut(pointer, len)?;
        let read = match target {
            DescriptorTarget::Stdin => host.turn.read_stdin(buffer),
            DescriptorTarget::Node(node) if host.fs.is_control(node) => {
                host.turn.read_control(buffer)
            }
            DescriptorTarget::Node(node) => {
                host.fs.read_at(node, start.saturating_add(total), buffer)?
            }
            DescriptorTarget::Stdout | DescriptorTarget::Stderr => return Err(Errno::Badf),
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
    // A flood does not end by itself, and an error number would not stop it.
    if caller.data().turn.is_flood() {
        return Err(OutputFlood.into());
    }
    Ok(result)
}

/// Writes the guest's vectors. As in POSIX, an error after the first bytes returns their number.
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
        (Some(offset), DescriptorTarget::Node(_)) => offset,
        (Some(_), _) => return Err(Errno::Spipe),
        (None, DescriptorTarget::Node(node)) if descriptor.append => host.fs.stat(node)?.size,
        (None, _) => descriptor.offset,
    };
    // A message to the host can be long and is copied. A thousand messages in one call would hold
    // up other sessions.
    let is_control = matches!(target, DescriptorTarget::Node(node) if host.fs.is_control(node));
    let max = if is_control { 1 } else { MAX_VECTORS };
    let mut total = 0u64;
    for index in 0..count.min(max) {
        let (pointer, len) = memory.vector(vectors, index)?;
        // The result is a u32: bytes that do not fit remain for the next call.
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
    if total > 0 && at.is_none() && matches!(target, DescriptorTarget::Node(_)) {
        host.fs.descriptors.get_mut(fd)?.offset = start.saturating_add(total);
    }
    Ok(total as u32)
}

fn write_vector(
    host: &mut Host,
    target: DescriptorTarget,
    offset: u64,
    bytes: &[u8],
) -> Result<(), Errno> {
    match target {
        DescriptorTarget::Stdout => host.turn.write_stdout(bytes),
        DescriptorTarget::Stderr => host.turn.write_stderr(bytes),
        DescriptorTarget::Stdin => return Err(Errno::Badf),
        DescriptorTarget::Node(node) if host.fs.is_control(node) => host.turn.write_control(bytes),
        DescriptorTarget::Node(node) => match host.fs.inode(node).map(|inode| &inode.kind) {
            Some(InodeKind::Device(_)) => {}
            _ => host.fs.write_at(node, offset, bytes)?,
        },
    }
    Ok(())
}

/// Fills `buffer` with directory entries. The last one can be cut; the guest then continues from
/// the one before.
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

impl GuestMemory<'_> {
    /// Returns the `index`th vector (pointer and length) of the list at `vectors`.
    fn vector(&self, vectors: u32, index: u32) -> Result<(u32, u32), Errno> {
        let at = vectors.checked_add(index * 8).ok_or(Errno::Fault)?;
        Ok((self.read_u32(at)?, self.read_u32(at.checked_add(4).ok_or(Errno::Fault)?)?))
    }
}
