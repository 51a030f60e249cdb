//! Values as people write them on a command line.

use std::time::Duration;

use cellblock_exec::packages::{InstallMode, PackageName};

/// A time such as `30s`, `500ms`, `1m 30s`, or a number of seconds such as `2.5`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string()),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string()),
    };
    match parsed {
        Ok(Duration::ZERO) => Err("0 leaves no time to run; write a time such as 30s".into()),
        Ok(duration) => Ok(duration),
        Err(why) => Err(format!("{why}; write a time such as 30s, 500ms or 2m")),
    }
}

/// A size such as `512m`, `1.5g` or `4096`, in bytes; `k`, `m` and `g` are powers of 1,024.
pub fn size(text: &str) -> Result<u64, String> {
    match parse_size::Config::new().with_binary().parse_size(text) {
        Ok(0) => Err("0 leaves no room; write a size such as 512m".into()),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(format!("{error}; write a size such as 512m, 1g or 65536")),
    }
}

/// The install mode of this name.
pub fn install_mode(text: &str) -> Result<InstallMode, String> {
    text.parse::<InstallMode>().map_err(|_| "write never, known, ask or any".into())
}

/// A package by its name.
pub fn package(text: &str) -> Result<PackageName, String> {
    text.parse::<PackageName>().map_err(|error| error.to_string())
}

/// A number of bytes for people, such as `20.3 KiB`.
pub fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, millis) in
            [("30s", 30_000), ("500ms", 500), ("2m", 120_000), ("1m 30s", 90_000), ("5", 5_000), ("0.25", 250)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["0", "0s", "-1", "", "soon", "1e40", "nan", "inf"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("512m", 512 << 20), ("1g", 1 << 30), ("4096", 4096), ("1.5k", 1536), ("2 MiB", 2 << 20)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["0", "-1", "", "much", "1e40"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
