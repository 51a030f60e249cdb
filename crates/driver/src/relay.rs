//! The addresses inside a cell that stand for granted hosts.
//!
//! A cell has no network. For each granted host its driver listens on an address inside the cell
//! and relays each connection over the stream; the host connects and passes the bytes on. So a
//! program can reach only the granted hosts and ports, whatever it does.

use std::net::Ipv4Addr;

use cellblock_exec::{Error, Network, Result};
use serde::Serialize;

/// An address where a driver listens for a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Relay {
    /// The address inside the cell.
    pub address: Ipv4Addr,
    /// The port, inside and outside.
    pub port: u16,
    /// The host that connections go to, as seen from this machine.
    #[serde(skip)]
    pub host: String,
}

/// The requirements of a session's grants in its cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relays {
    /// The addresses where the driver listens.
    pub relays: Vec<Relay>,
    /// Names that the cell's hosts file must have, with their loopback addresses.
    pub names: Vec<(String, Ipv4Addr)>,
    /// Addresses outside 127.0.0.0/8 that the cell's loopback interface must have.
    pub addresses: Vec<Ipv4Addr>,
}

/// Returns the requirements of a session's grants.
///
/// # Errors
/// [`Error::Unsupported`] for a rule without a port, and for an IPv6 address.
pub fn relays(network: &Network) -> Result<Relays> {
    let mut needed = Relays::default();
    let Network::Allow(rules) = network else { return Ok(needed) };
    for rule in rules {
        let Some(port) = rule.port else {
            let why = format!(
                "{}: all ports of a host cannot be granted; name the port, as in {0}:443",
                rule.host
            );
            return Err(Error::Unsupported(why));
        };
        if rule.host.contains(':') {
            let why = format!(
                "{}: an IPv6 address cannot be granted; grant a name or an IPv4 address",
                rule.host
            );
            return Err(Error::Unsupported(why));
        }
        let address = match rule.host.parse::<Ipv4Addr>() {
            Ok(address) if address.is_loopback() => address,
            Ok(address) => {
                if !needed.addresses.contains(&address) {
                    needed.addresses.push(address);
                }
                address
            }
            Err(_) if rule.host == "localhost" => Ipv4Addr::LOCALHOST,
            Err(_) => named(&mut needed.names, &rule.host)?,
        };
        let relay = Relay { address, port, host: rule.host.clone() };
        if !needed.relays.contains(&relay) {
            needed.relays.push(relay);
        }
    }
    Ok(needed)
}

/// Returns the address that stands for a name in the cell: 127.77.0.1 and so on, which nothing else
/// uses.
fn named(names: &mut Vec<(String, Ipv4Addr)>, host: &str) -> Result<Ipv4Addr> {
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.is_empty() || host.len() > 253 || !host.chars().all(valid) {
        return Err(Error::Invalid { what: "host", why: format!("{host:?} is not a host name") });
    }
    if let Some((_, address)) = names.iter().find(|(name, _)| name == host) {
        return Ok(*address);
    }
    let Ok(number) = u8::try_from(names.len() + 1) else {
        return Err(Error::Invalid {
            what: "network",
            why: "more than 255 hosts are granted".to_owned(),
        });
    };
    let address = Ipv4Addr::new(127, 77, 0, number);
    names.push((host.to_owned(), address));
    Ok(address)
}
