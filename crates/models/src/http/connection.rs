//! The pool of connections that calls share, and their rate limit.

use std::{
    fmt,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, OnceLock},
};

use cellblock_agents::ModelError;
use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use reqwest::{Client, Url, redirect};

use super::transport::Transport;

/// Connections to a provider, with their bounds.
///
/// Clones share the pool and the rate limit: clients with clones of one `Connection` keep to its
/// rate together. A connection costs nothing until the first call.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    transport: Transport,
    rate_limit: Option<DefaultDirectRateLimiter>,
    /// For other machines: with certificates and the system's proxy.
    remote: OnceLock<Client>,
    /// For servers on this machine. Loading certificates would take longer than the call, and a
    /// proxy cannot reach them.
    loopback: OnceLock<Client>,
}

impl Connection {
    /// Creates connections with these bounds.
    pub fn new(transport: Transport) -> Self {
        let rate_limit = transport.requests_per_minute.map(|rate| {
            // One request at a time, spread evenly: a burst at the beginning of a minute is what
            // providers refuse.
            RateLimiter::direct(Quota::per_minute(rate).allow_burst(NonZeroU32::MIN))
        });
        let (remote, loopback) = (OnceLock::new(), OnceLock::new());
        Self(Arc::new(Inner { transport, rate_limit, remote, loopback }))
    }

    /// Returns the bounds.
    pub fn transport(&self) -> &Transport {
        &self.0.transport
    }

    /// Waits until the rate limit allows another request.
    pub(crate) async fn wait_for_turn(&self) {
        let Some(limit) = &self.0.rate_limit else { return };
        let clock = DefaultClock::default();
        // A turn is taken only when it has come, so a cancelled call takes none.
        while let Err(early) = limit.check() {
            tokio::time::sleep(early.wait_time_from(clock.now())).await;
        }
    }

    /// Returns the HTTP client for an address.
    pub(crate) fn client(&self, url: &Url) -> Result<&Client, ModelError> {
        let is_local = url.scheme() == "http" && is_loopback(url);
        let place = if is_local { &self.0.loopback } else { &self.0.remote };
        if let Some(client) = place.get() {
            return Ok(client);
        }
        let client = build(&self.0.transport, is_local).map_err(|error| ModelError::Start {
            what: "cannot set up HTTP and TLS; are the system's certificates readable?".to_owned(),
            source: Some(Box::new(error)),
        })?;
        Ok(place.get_or_init(|| client))
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self::new(Transport::default())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.0.transport).finish()
    }
}

fn build(transport: &Transport, is_local: bool) -> Result<Client, reqwest::Error> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // The provider of a faster thread is equally good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let builder = Client::builder()
        .user_agent(concat!("cellblock/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(transport.connect_timeout)
        // A redirect would carry the conversation elsewhere, and with it the headers that hold the
        // key under a name that only the provider knows.
        .redirect(redirect::Policy::none())
        // Calls are retried in `send.rs` and must not be retried here as well.
        .retry(reqwest::retry::never())
        .tcp_nodelay(true);
    if !is_local {
        return builder.build();
    }
    // Some servers (llama.cpp's after a streamed answer) close a connection silently, and the next
    // call on it fails. On this machine a new connection costs less than noticing that.
    builder.no_proxy().tls_certs_only([]).pool_max_idle_per_host(0).build()
}

/// True if an address is on this machine.
pub fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests;
