//! The loopback interface of a new network namespace.

use std::{
    net::Ipv4Addr,
    os::fd::{AsRawFd, BorrowedFd},
};

use nix::errno::Errno;

/// Brings the loopback interface up. `socket` is any IPv4 socket of the namespace.
pub fn raise_loopback(socket: BorrowedFd<'_>) -> nix::Result<()> {
    let mut request = request("lo");
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let socket = socket.as_raw_fd();
    // SAFETY: the call reads a request with flags.
    let raised = unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw const request) };
    Errno::result(raised).map(drop)
}

/// Adds an address to the loopback interface, under a `number` of its own.
pub fn add_address(socket: BorrowedFd<'_>, number: usize, address: Ipv4Addr) -> nix::Result<()> {
    for (call, value) in [(libc::SIOCSIFADDR, address), (libc::SIOCSIFNETMASK, Ipv4Addr::BROADCAST)]
    {
        let mut request = request(&format!("lo:{number}"));
        // SAFETY: all zeroes is a valid socket address of the family "unspecified".
        let mut internet: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        internet.sin_family = libc::AF_INET as libc::sa_family_t;
        internet.sin_addr.s_addr = u32::from(value).to_be();
        // SAFETY: both structures have 16 bytes and any bytes are valid in them.
        request.ifr_ifru.ifru_addr =
            unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(internet) };
        // SAFETY: the call reads a request with an address.
        let added = unsafe { libc::ioctl(socket.as_raw_fd(), call as _, &raw const request) };
        Errno::result(added)?;
    }
    Ok(())
}

/// Returns a request about an interface, with all other fields zero.
fn request(name: &str) -> libc::ifreq {
    // SAFETY: all zeroes is a valid request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte stays zero: the name ends there.
    for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request
}
