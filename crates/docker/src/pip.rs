//! What every run of pip in a container shares: the host's settings, and what its failures mean.

use std::{collections::HashMap, path::Path};

/// Settings of pip and of proxies that an installation takes over from our environment. Files of pip's configuration are
/// not read: they name paths of this machine.
const PASSED_ON: &[&str] = &[
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_RETRIES",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
];

/// Where certificates of authorities are on this machine, after what the environment names.
const CERTIFICATES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// The settings that are passed on.
pub(crate) fn settings() -> HashMap<String, String> {
    PASSED_ON
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
        .collect()
}

/// This machine's authorities: a company's proxy often has one of its own.
pub(crate) fn certificates() -> Option<String> {
    let named = ["PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"]
        .iter()
        .filter_map(|name| std::env::var(name).ok());
    let usual = CERTIFICATES.iter().map(|path| (*path).to_owned());
    named.chain(usual).find_map(|path| std::fs::read_to_string(Path::new(&path)).ok())
}

/// What pip failed for, from what it wrote.
pub(crate) fn why(log: &str, code: i64) -> String {
    if log.contains("No module named pip") {
        return "the image has no pip".to_owned();
    }
    if code == 137 {
        return "pip was killed; it may need more than 2 GiB of memory".to_owned();
    }
    let mut lines: Vec<&str> =
        log.lines().filter_map(|line| line.trim().strip_prefix("ERROR: ")).collect();
    lines.dedup();
    let first = lines.len().saturating_sub(4);
    let told = lines[first..].join("; ");
    let offline = [
        "Failed to establish a new connection",
        "Temporary failure in name resolution",
        "NewConnectionError",
    ];
    if offline.iter().any(|sign| log.contains(sign)) {
        return format!(
            "the package index cannot be reached from a container; check the network of the engine ({told})"
        );
    }
    if log.contains("SSLError") || log.contains("CERTIFICATE_VERIFY_FAILED") {
        return format!(
            "the package index has a certificate that is not trusted; set PIP_CERT to the right bundle ({told})"
        );
    }
    if told.contains("No matching distribution found") {
        return format!(
            "there is no such package, or no wheel of it for the image's Python ({told})"
        );
    }
    if told.is_empty() {
        let last =
            log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        return format!("pip ended with exit code {code}: {}", last.trim());
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_meaningful_lines_of_pip_are_told() {
        let cases = [
            ("/usr/bin/python3: No module named pip\n", 1, "the image has no pip"),
            (
                "WARNING: Retrying: Failed to establish a new connection: x\nERROR: No matching distribution found for a\n",
                1,
                "the package index cannot be reached from a container",
            ),
            (
                "Looking\nERROR: Could not find a version that satisfies a\nERROR: No matching distribution found for a\n",
                1,
                "there is no such package, or no wheel of it",
            ),
            (
                "ERROR: Cannot install a and b\nERROR: ResolutionImpossible: see\n",
                1,
                "Cannot install a and b; ResolutionI",
            ),
            ("Killed\n", 137, "pip was killed"),
            ("odd\n\n", 2, "pip ended with exit code 2: odd"),
        ];
        for (log, code, start) in cases {
            let told = why(log, code);
            assert!(told.starts_with(start), "{told}");
        }
    }
}
