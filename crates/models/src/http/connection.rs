//! What calls go over: the pool of connections, and the turns of a rate limit.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use cellblock_agents::ModelError;
use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use reqwest::{Client, Url, redirect};

use super::Transport;

/// Connections to a provider, with their bounds. Clones share connections and rate limit: clients that are given clones of one
/// `Connection` keep to its rate together. It costs nothing until the first call.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    transport: Transport,
    turns: Option<DefaultDirectRateLimiter>,
    /// For other machines: with certificates and the system's proxy.
    far: OnceLock<Client>,
    /// For servers on this machine. Loading certificates would take longer than the call, and a proxy could not reach them.
    near: OnceLock<Client>,
}

impl Connection {
    /// Connections with these bounds.
    pub fn new(transport: Transport) -> Self {
        let turns = transport.requests_per_minute.map(|rate| {
            // One at a time, a minute's share apart: a burst at the beginning of a minute is what providers refuse.
            let one = std::num::NonZeroU32::MIN;
            RateLimiter::direct(Quota::per_minute(rate).allow_burst(one))
        });
        Self(Arc::new(Inner { transport, turns, far: OnceLock::new(), near: OnceLock::new() }))
    }

    /// The bounds.
    pub fn transport(&self) -> &Transport {
        &self.0.transport
    }

    /// Waits for a turn under the rate limit.
    pub(super) async fn turn(&self) {
        let Some(turns) = &self.0.turns else { return };
        let clock = DefaultClock::default();
        while let Err(early) = turns.check() {
            tokio::time::sleep(early.wait_time_from(clock.now())).await;
        }
    }

    /// The client for an address.
    pub(super) fn client(&self, url: &Url) -> Result<&Client, ModelError> {
        let near = url.scheme() == "http" && is_loopback(url);
        let place = if near { &self.0.near } else { &self.0.far };
        if let Some(client) = place.get() {
            return Ok(client);
        }
        let client = build(&self.0.transport, near).map_err(|error| ModelError::Start {
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

fn build(transport: &Transport, near: bool) -> Result<Client, reqwest::Error> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // If another thread was faster, its provider is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let builder = Client::builder()
        .user_agent(concat!("cellblock/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(transport.connect_timeout)
        // A redirected request would carry the conversation, and keys in headers that only the provider knows, elsewhere.
        .redirect(redirect::Policy::none())
        // We repeat what may be repeated; reqwest must not do it as well.
        .retry(reqwest::retry::never())
        .tcp_nodelay(true);
    if !near {
        return builder.build();
    }
    // Some servers (llama.cpp's after a streamed answer) close a connection without saying so, and the next call on it fails.
    // On this machine a new one costs less than finding that out.
    builder.no_proxy().tls_certs_only([]).pool_max_idle_per_host(0).build()
}

/// Whether an address is on this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Instant};

    use super::*;

    #[test]
    fn addresses_on_this_machine_are_told_from_others() {
        for near in [
            "http://localhost:1/v1",
            "http://127.0.0.1",
            "http://127.8.8.8:80",
            "http://[::1]:99/x",
        ] {
            assert!(is_loopback(&near.parse().unwrap()), "{near}");
        }
        for far in [
            "http://localhost.example.com",
            "http://128.0.0.1",
            "https://api.openai.com",
            "http://[::2]/",
        ] {
            assert!(!is_loopback(&far.parse().unwrap()), "{far}");
        }
    }

    #[tokio::test]
    async fn turns_are_apart_and_clones_share_them() {
        // 600 a minute are a tenth of a second apart.
        let transport =
            Transport { requests_per_minute: NonZeroU32::new(600), ..Transport::default() };
        let (one, other) = (Connection::new(transport.clone()), Connection::new(transport));
        let clone = one.clone();
        let start = Instant::now();
        one.turn().await;
        clone.turn().await;
        one.turn().await;
        assert!(start.elapsed().as_millis() >= 190, "{:?}", start.elapsed());
        // Control: another connection has its own turns, and one without a limit waits for none.
        let start = Instant::now();
        other.turn().await;
        let free = Connection::default();
        for _ in 0..1000 {
            free.turn().await;
        }
        assert!(start.elapsed().as_secs() < 20);
    }
}
