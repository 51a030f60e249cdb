//! Addresses as the environment has them: often without the scheme, or the port.

use super::providers::Kind;

/// The base address that a provider's variable means.
pub(super) fn meant(kind: Kind, address: &str) -> String {
    let address = address.trim();
    match kind {
        Kind::Ollama => ollama(address),
        _ if address.contains("://") => address.to_owned(),
        // A key goes there.
        _ => format!("https://{address}"),
    }
}

/// Ollama's variable means what it means to Ollama: without a scheme the port is 11434 unless another one is there, and with one
/// it is the scheme's. The variable is also read by the server, which may listen on all addresses; nobody can connect to those,
/// and the server is then on this machine.
fn ollama(address: &str) -> String {
    const PORT: &str = "11434";
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let (place, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let (host, port) = host_and_port(place);
    let host = match host {
        "" | "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    };
    let port = match (port, scheme) {
        ("", "") => PORT,
        (port, _) => port,
    };
    let colon = if port.is_empty() { "" } else { ":" };
    format!(
        "{}://{host}{colon}{port}{}",
        if scheme.is_empty() { "http" } else { scheme },
        path.trim_end_matches('/')
    )
}

/// `host:port`, `[v6]:port`, or only a host. The port is empty if there is none.
fn host_and_port(place: &str) -> (&str, &str) {
    if let Some((host, after)) = place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, after.strip_prefix(':').unwrap_or(after));
    }
    match place.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, port),
        // More than one colon: an IPv6 address without brackets.
        Some(_) => (place, ""),
        None => (place, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ollamas_variable_means_what_it_means_to_ollama() {
        for (variable, address) in [
            ("127.0.0.1", "http://127.0.0.1:11434"),
            (" 127.0.0.1:8080 ", "http://127.0.0.1:8080"),
            ("gpu.example", "http://gpu.example:11434"),
            ("0.0.0.0", "http://127.0.0.1:11434"),
            ("0.0.0.0:8080", "http://127.0.0.1:8080"),
            ("http://0.0.0.0:8080", "http://127.0.0.1:8080"),
            (":8080", "http://127.0.0.1:8080"),
            ("::", "http://[::1]:11434"),
            ("[::]:8080", "http://[::1]:8080"),
            ("fe80::1", "http://[fe80::1]:11434"),
            ("[fe80::1]", "http://[fe80::1]:11434"),
            ("http://gpu.example", "http://gpu.example"),
            ("https://gpu.example/", "https://gpu.example"),
            ("https://gpu.example:8443/ollama/", "https://gpu.example:8443/ollama"),
            ("gpu.example/ollama", "http://gpu.example:11434/ollama"),
        ] {
            assert_eq!(meant(Kind::Ollama, variable), address, "{variable}");
        }
    }

    #[test]
    fn a_key_is_not_sent_in_the_open_because_the_scheme_was_left_out() {
        assert_eq!(meant(Kind::Azure, "me.openai.azure.com"), "https://me.openai.azure.com");
        assert_eq!(meant(Kind::Azure, "http://127.0.0.1:1/"), "http://127.0.0.1:1/");
    }
}
