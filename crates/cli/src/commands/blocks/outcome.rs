//! Outcomes in words.

use cellblock_answer::{
    language::is_program,
    run::{BlockReport, RunReport},
};
use cellblock_exec::{Limit, Outcome};

/// Returns an outcome in words, with the option that could help; `None` for success.
pub fn words(outcome: &Outcome) -> Option<String> {
    Some(match outcome {
        Outcome::Exited { code: 0 } => return None,
        Outcome::Exited { code } => format!("failed: exit code {code}"),
        Outcome::Signaled { signal } => format!("crashed: {}", signal_name(*signal)),
        Outcome::LimitExceeded { limit } => format!("stopped: {}", limit_words(*limit)),
        Outcome::Denied { what } => format!("denied: {what}"),
        Outcome::Unsupported { what } => format!("unsupported: {what}"),
        Outcome::Cancelled => "cancelled".into(),
        Outcome::Skipped => "skipped".into(),
        other => format!("ended: {other:?}"),
    })
}

/// Returns a limit in words, with the option that raises it.
fn limit_words(limit: Limit) -> &'static str {
    match limit {
        Limit::Wall => "out of wall time (see --timeout)",
        Limit::Cpu => "out of processor time (see --cpu and --fuel)",
        Limit::Memory => "out of memory (see --memory)",
        Limit::Output => "too much output (see --output-limit)",
        Limit::Disk => "out of disk space (see --disk)",
        Limit::Files => "too many files (see --files)",
        Limit::Processes => "too many processes (see --processes)",
    }
}

/// Returns the name of a signal that a crash ends with, by its number on Linux (signal(7)).
fn signal_name(signal: i32) -> String {
    let name = match signal {
        4 => "illegal instruction (SIGILL)",
        6 => "aborted (SIGABRT)",
        7 => "bus error (SIGBUS)",
        8 => "arithmetic error (SIGFPE)",
        9 => "killed (SIGKILL)",
        11 => "bad memory access or stack overflow (SIGSEGV)",
        _ => return format!("signal {signal}"),
    };
    name.into()
}

/// True for a block with data, which does not run.
pub fn is_data(block: &BlockReport) -> bool {
    block.language.as_ref().is_some_and(|language| !is_program(language))
}

/// Counts blocks by outcome, for example `3 blocks: 1 succeeded, 1 failed, 1 skipped`.
pub fn summary(report: &RunReport) -> String {
    let count =
        |is: fn(&BlockReport) -> bool| report.blocks.iter().filter(|block| is(block)).count();
    let succeeded = count(|block| block.outcome.is_success());
    let cancelled = count(|block| block.outcome == Outcome::Cancelled);
    let data = count(|block| block.outcome == Outcome::Skipped && is_data(block));
    let skipped = count(|block| block.outcome == Outcome::Skipped && !is_data(block));
    let failed = report.blocks.len() - succeeded - cancelled - data - skipped;
    let parts: Vec<_> = [
        (succeeded, "succeeded"),
        (failed, "failed"),
        (cancelled, "cancelled"),
        (data, "data"),
        (skipped, "skipped"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, what)| format!("{number} {what}"))
    .collect();
    let plural = if report.blocks.len() == 1 { "" } else { "s" };
    format!("{} block{plural}: {}", report.blocks.len(), parts.join(", "))
}
