//! The common part of all runs of pip in containers: the host's settings, and the meaning of pip's
//! failures.

use std::{collections::HashMap, path::Path};

use serde::Serialize;

/// Variables of pip and of proxies that an installation inherits from our environment. Files of
/// pip's configuration are not read: they name paths of this machine.
const INHERITED: &[&str] = &[
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

/// The files with certificates of authorities on this machine, after those that the environment
/// names.
const CERTIFICATES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// The part of a task that `pip.py` reads.
#[derive(Debug, Clone, Serialize)]
pub struct PipTask {
    /// The directory in the container in which pip works.
    work: String,
    /// Variables for pip.
    environment: HashMap<String, String>,
    /// Certificates of authorities.
    certificates: Option<String>,
}

impl PipTask {
    /// Returns a task with the settings of this machine.
    pub fn here(work: impl Into<String>) -> Self {
        Self { work: work.into(), environment: settings(), certificates: certificates() }
    }
}

fn settings() -> HashMap<String, String> {
    INHERITED
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
        .collect()
}

/// Returns this machine's authorities: a company's proxy often has one of its own.
fn certificates() -> Option<String> {
    let named = ["PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"]
        .iter()
        .filter_map(|name| std::env::var(name).ok());
    let default = CERTIFICATES.iter().map(|path| (*path).to_owned());
    named.chain(default).find_map(|path| std::fs::read_to_string(Path::new(&path)).ok())
}

/// Returns the reason of a failure of pip, from its output and its exit code.
pub fn reason(log: &str, code: i64) -> String {
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
    let errors = lines[first..].join("; ");
    let offline = [
        "Failed to establish a new connection",
        "Temporary failure in name resolution",
        "NewConnectionError",
    ];
    if offline.iter().any(|sign| log.contains(sign)) {
        return format!(
            "the package index cannot be reached from a container; check the network of the engine \
             ({errors})"
        );
    }
    if log.contains("SSLError") || log.contains("CERTIFICATE_VERIFY_FAILED") {
        return format!(
            "the package index has a certificate that is not trusted; set PIP_CERT to the right \
             bundle ({errors})"
        );
    }
    if errors.contains("No matching distribution found") {
        return format!(
            "there is no such package, or no wheel of it for the image's Python ({errors})"
        );
    }
    if errors.is_empty() {
        let last =
            log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it wrote nothing");
        return format!("pip ended with exit code {code}: {}", last.trim());
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_meaningful_lines_of_pip_are_the_reason() {
        let cases = [
            ("/usr/bin/python3: No module named pip\n", 1, "the image has no pip"),
            (
                "WARNING: Retrying: Failed to establish a new connection: x\n\
                 ERROR: No matching distribution found for a\n",
                1,
                "the package index cannot be reached from a container",
            ),
            (
                "Looking\nERROR: Could not find a version that satisfies a\n\
                 ERROR: No matching distribution found for a\n",
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
            let reason = reason(log, code);
            assert!(reason.starts_with(start), "{reason}");
        }
    }
}
