//! What happens inside, for whoever looks for a fault: `CELLBLOCK_LOG=cellblock_models=debug`, for example.

use anyhow::Result;
use tracing_subscriber::{EnvFilter, fmt::format::FmtSpan};

use crate::failure::usage;

/// The variable that says what is written.
const VARIABLE: &str = "CELLBLOCK_LOG";

/// Writes spans and events to standard error, as the variable says; without it, nothing.
///
/// # Errors
/// When the variable makes no sense.
pub fn start() -> Result<()> {
    let Some(filter) = std::env::var_os(VARIABLE).filter(|filter| !filter.is_empty()) else {
        return Ok(());
    };
    let wrong = |why: String| {
        usage(
            format!("{VARIABLE} makes no sense: {why}"),
            "write a level, or levels of targets, such as `info` or `cellblock_models=debug,warn`",
        )
    };
    let filter = filter.to_str().ok_or_else(|| wrong("it is not UTF-8".to_owned()))?;
    let filter = EnvFilter::builder().parse(filter).map_err(|error| wrong(error.to_string()))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}
