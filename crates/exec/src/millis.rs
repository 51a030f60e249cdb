//! Durations in JSON are milliseconds: `#[serde(with = "cellblock_exec::millis")]`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// Writes a duration as a number of milliseconds, down to microseconds.
///
/// # Errors
/// Errors of the serializer.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    // Microsecond resolution is enough, and it keeps the text short.
    serializer.serialize_f64(duration.as_micros() as f64 / 1000.0)
}

/// Reads a number of milliseconds.
///
/// # Errors
/// Errors of the deserializer, and one for a number that is negative or too large.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let millis = f64::deserialize(deserializer)?;
    Duration::try_from_secs_f64(millis / 1000.0).map_err(serde::de::Error::custom)
}
