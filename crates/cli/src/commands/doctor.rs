//! `cellblock doctor`: what works here, and what to do about what does not.

use std::io::Write as _;

use anyhow::Result;

use crate::render::{BAD, GOOD, HEADER, NOTE, sanitize::one_line};

/// Runs the command. The exit status is 1 when something does not work.
pub async fn doctor() -> Result<u8> {
    let checks = crate::executors::checks().await;
    let mut stdout = anstream::stdout().lock();
    let mut executor = "";
    for check in &checks {
        if check.executor != executor {
            executor = check.executor;
            writeln!(stdout, "{HEADER}{executor}{HEADER:#}")?;
        }
        let (colour, word) = if check.ok { (GOOD, "ok  ") } else { (BAD, "no  ") };
        writeln!(stdout, "  {colour}{word}{colour:#}{}: {}", one_line(&check.name), one_line(&check.found))?;
        if let Some(hint) = &check.hint {
            writeln!(stdout, "      {NOTE}hint:{NOTE:#} {}", one_line(hint))?;
        }
    }
    Ok(u8::from(checks.iter().any(|check| !check.ok)))
}
