//! Values as people write them on a command line.

use std::time::Duration;

use cellblock_answer::packages::InstallMode;
use cellblock_docker::HostMount;
use cellblock_exec::{HostRule, Isolation, PackageName};

/// Parses a time such as `30s`, `500ms`, `1m 30s`, or a number of seconds such as `2.5`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string()),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string()),
    };
    match parsed {
        Ok(Duration::ZERO) => Err("must be more than 0, for example 30s".into()),
        Ok(duration) => Ok(duration),
        Err(why) => Err(format!("{why}; write a time such as 30s, 500ms or 2m")),
    }
}

/// Parses a size such as `512m`, `1.5g` or `4096` into bytes; `k`, `m` and `g` are powers of 1,024.
pub fn size(text: &str) -> Result<u64, String> {
    match parse_size::Config::new().with_binary().parse_size(text) {
        Ok(0) => Err("must be more than 0, for example 512m".into()),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(format!("{error}; write a size such as 512m, 1g or 65536")),
    }
}

/// Parses an amount of US dollars, such as `0.5` or `$2`.
pub fn dollars(text: &str) -> Result<f64, String> {
    let number = text.strip_prefix('$').unwrap_or(text);
    match number.parse::<f64>() {
        Ok(dollars) if dollars.is_finite() && dollars > 0.0 => Ok(dollars),
        _ => Err("write an amount of more than 0, such as 0.50".into()),
    }
}

/// Parses an install mode.
pub fn install_mode(text: &str) -> Result<InstallMode, String> {
    text.parse::<InstallMode>().map_err(|_| "write never, known, ask or any".into())
}

/// Parses the name of a package.
pub fn package(text: &str) -> Result<PackageName, String> {
    text.parse::<PackageName>().map_err(|error| error.to_string())
}

/// Ports of a host that is granted without a port: HTTP and HTTPS.
const DEFAULT_PORTS: [u16; 2] = [80, 443];

/// A granted host: one rule for each of its ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(pub Vec<HostRule>);

/// Parses a host such as `example.org:443`; without a port, the host gets [`DEFAULT_PORTS`].
pub fn host(text: &str) -> Result<Host, String> {
    let rule = |host: &str, port| HostRule { host: host.to_owned(), port: Some(port) };
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !host.contains(':') => match port.parse() {
            Ok(0) | Err(_) => {
                Err(format!("`{port}` is not a port; write HOST:PORT, as in example.org:443"))
            }
            Ok(port) => Ok(Host(vec![rule(host, port)])),
        },
        Some(_) => {
            Err("write a name or an IPv4 address, as in example.org or 192.0.2.1:8080".into())
        }
        None if text.is_empty() => Err("write HOST or HOST:PORT".into()),
        None => Ok(Host(DEFAULT_PORTS.iter().map(|port| rule(text, *port)).collect())),
    }
}

/// Parses a level of isolation.
pub fn isolation(text: &str) -> Result<Isolation, String> {
    let levels = [
        Isolation::Wasm,
        Isolation::Container,
        Isolation::Namespaces,
        Isolation::Landlock,
        Isolation::None,
    ];
    levels
        .into_iter()
        .find(|level| level.to_string() == text)
        .ok_or_else(|| "write wasm, container, namespaces, landlock or none".into())
}

/// Parses a directory of the host for a container: `HOST_DIR:CELL_DIR`, with `:rw` at the end if
/// sessions may write to it.
pub fn mount(text: &str) -> Result<HostMount, String> {
    let (paths, writable) = match text.strip_suffix(":rw") {
        Some(paths) => (paths, true),
        None => (text.strip_suffix(":ro").unwrap_or(text), false),
    };
    match paths.split_once(':') {
        Some((host, cell)) if host.starts_with('/') && cell.starts_with('/') => {
            Ok(HostMount { host: host.into(), cell: cell.into(), writable })
        }
        _ => Err("write /host/dir:/cell/dir, with :rw at the end if programs may write".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, millis) in [
            ("30s", 30_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1m 30s", 90_000),
            ("5", 5_000),
            ("0.25", 250),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["0", "0s", "-1", "", "soon", "1e40", "nan", "inf"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts() {
        let rules = |text| {
            let rules = host(text).map(|host| {
                host.0.into_iter().map(|rule| (rule.host, rule.port)).collect::<Vec<_>>()
            });
            rules.unwrap_or_default()
        };
        assert_eq!(rules("example.org:8080"), [("example.org".to_owned(), Some(8080))]);
        assert_eq!(rules("192.0.2.1:1"), [("192.0.2.1".to_owned(), Some(1))]);
        assert_eq!(
            rules("example.org"),
            [("example.org".to_owned(), Some(80)), ("example.org".to_owned(), Some(443))]
        );
        for text in
            ["", ":80", "example.org:", "example.org:0", "example.org:http", "::1", "[::1]:80"]
        {
            assert!(host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn mounts() {
        for (text, writable) in
            [("/data:/data", false), ("/data:/data:ro", false), ("/data:/data:rw", true)]
        {
            assert_eq!(
                mount(text),
                Ok(HostMount { host: "/data".into(), cell: "/data".into(), writable }),
                "{text}"
            );
        }
        for text in ["", "/data", "data:/data", "/data:data", ":/data"] {
            assert!(mount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("512m", 512 << 20),
            ("1g", 1 << 30),
            ("4096", 4096),
            ("1.5k", 1536),
            ("2 MiB", 2 << 20),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["0", "-1", "", "much", "1e40"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn amounts() {
        assert_eq!((dollars("0.5"), dollars("$2")), (Ok(0.5), Ok(2.0)));
        for text in ["", "0", "-1", "nan", "inf", "much", "2 $"] {
            assert!(dollars(text).is_err(), "{text}");
        }
    }
}
