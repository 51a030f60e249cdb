//! Messages with descriptors, over a unix socket that keeps message boundaries.

use std::{
    io::{IoSlice, IoSliceMut},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::{
    errno::Errno,
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg},
};

/// The maximum length of a message, in bytes. Anything larger travels in a memory file.
const MAX_LENGTH: usize = 64 * 1024;

/// The maximum number of descriptors in a message.
const MAX_DESCRIPTORS: usize = 4;

/// Sends one message.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> nix::Result<()> {
    if bytes.is_empty() || bytes.len() > MAX_LENGTH {
        return Err(Errno::EMSGSIZE);
    }
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    let (parts, flags) = ([IoSlice::new(bytes)], MsgFlags::MSG_NOSIGNAL);
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &parts, control, flags, None) {
            Err(Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Waits for one message. Returns `None` when the other side is gone.
pub fn receive(socket: BorrowedFd<'_>) -> nix::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MAX_LENGTH];
    let mut space = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let (length, descriptors) = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Err(Errno::EINTR) => {}
            Err(Errno::ECONNRESET) => return Ok(None),
            Err(error) => return Err(error),
            Ok(message) => {
                let mut descriptors = Vec::new();
                for control in message.cmsgs()? {
                    if let ControlMessageOwned::ScmRights(raw) = control {
                        // SAFETY: the kernel has just made these descriptors for this message, and
                        // nothing else knows them.
                        descriptors
                            .extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                    }
                }
                break (message.bytes, descriptors);
            }
        }
    };
    bytes.truncate(length);
    Ok((length > 0).then_some((bytes, descriptors)))
}
