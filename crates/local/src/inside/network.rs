//! The loopback interface of a cell whose driver relays connections.

use std::os::fd::AsFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::{
    failure::{Failure, StepContext},
    protocol::CellSpec,
    sys,
};

/// Brings the interface up with the addresses that the driver listens on, and lets an ordinary user
/// listen on any port.
pub fn raise(spec: &CellSpec) -> Result<(), Failure> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .step(|| "open a socket".to_owned())?;
    sys::raise_loopback(socket.as_fd()).step(|| "bring the loopback interface up".to_owned())?;
    for (number, address) in spec.addresses.iter().enumerate() {
        sys::add_address(socket.as_fd(), number, *address)
            .step(|| format!("give the loopback interface the address {address}"))?;
    }
    std::fs::write("proc/sys/net/ipv4/ip_unprivileged_port_start", "0")
        .step(|| "open all ports".to_owned())
}
