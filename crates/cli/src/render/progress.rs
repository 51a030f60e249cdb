//! Progress of long steps: a bar on a terminal, a line for each step elsewhere.

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use cellblock_exec::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

/// Shows the steps of one piece of work on standard error. Shows nothing before the first step.
#[derive(Debug, Default)]
pub struct ProgressDisplay {
    bar: Mutex<Option<ProgressBar>>,
}

impl Progress for ProgressDisplay {
    fn step(&self, step: &str) {
        self.finish();
        if !std::io::stderr().is_terminal() {
            // There is no other place to report that standard error cannot be written.
            let _ = writeln!(anstream::stderr(), "{step} ...");
            return;
        }
        let bar = ProgressBar::new_spinner().with_message(step.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        *self.bar.lock() = Some(bar);
    }

    fn advance(&self, done: u64, total: u64) {
        let bar = self.bar.lock();
        let Some(bar) = bar.as_ref() else { return };
        if bar.length() != Some(total) && total > 0 {
            bar.set_length(total);
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {percent}%  {eta}")
            {
                bar.set_style(style.progress_chars("=> "));
            }
        }
        bar.set_position(done);
    }

    fn finish(&self) {
        if let Some(bar) = self.bar.lock().take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        self.finish();
    }
}
