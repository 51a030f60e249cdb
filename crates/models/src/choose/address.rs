//! Addresses in environment variables, which often lack the scheme or the port.

use super::providers::ProviderApi;

/// Returns the base address that the variable of a provider means.
pub fn resolve_address(api: ProviderApi, address: &str) -> String {
    let address = address.trim();
    match api {
        ProviderApi::Ollama => ollama_address(address),
        _ if address.contains("://") => address.to_owned(),
        // A key is sent to this address.
        _ => format!("https://{address}"),
    }
}

/// Returns the address that `OLLAMA_HOST` means to Ollama itself. Without a scheme the default port
/// is 11434, with one it is that of the scheme. Ollama's server reads the variable too, and may
/// listen on all addresses (`0.0.0.0`); a client reaches it on loopback.
fn ollama_address(address: &str) -> String {
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

/// Splits `host:port`, `[v6]:port` or a host alone. A missing port is empty.
fn host_and_port(place: &str) -> (&str, &str) {
    if let Some((host, after)) = place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, after.strip_prefix(':').unwrap_or(after));
    }
    match place.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, port),
        // Several colons: an IPv6 address without brackets.
        Some(_) => (place, ""),
        None => (place, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ollamas_variable_has_the_meaning_that_it_has_to_ollama() {
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
            assert_eq!(resolve_address(ProviderApi::Ollama, variable), address, "{variable}");
        }
    }

    #[test]
    fn a_missing_scheme_does_not_send_a_key_unencrypted() {
        assert_eq!(
            resolve_address(ProviderApi::Azure, "me.openai.azure.com"),
            "https://me.openai.azure.com"
        );
        assert_eq!(
            resolve_address(ProviderApi::Azure, "http://127.0.0.1:1/"),
            "http://127.0.0.1:1/"
        );
    }
}
