//! Progress of long steps: a bar on a terminal, a line for each step elsewhere.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

/// How the steps of one piece of work are shown, on standard error.
#[derive(Debug, Default)]
pub struct Steps {
    bar: Mutex<Option<ProgressBar>>,
}

impl Steps {
    /// Nothing is shown before the first step.
    pub fn new() -> Self {
        Self::default()
    }

    /// A step starts.
    pub fn step(&self, step: &str) {
        self.finish();
        if !std::io::stderr().is_terminal() {
            // A standard error that cannot be written leaves nobody to tell.
            let _ = writeln!(anstream::stderr(), "{step} ...");
            return;
        }
        let bar = ProgressBar::new_spinner().with_message(step.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar);
    }

    /// The step has done `done` of `total`, in a unit of its own.
    pub fn advance(&self, done: u64, total: u64) {
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// The steps are over.
    pub fn finish(&self) {
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.finish();
    }
}
