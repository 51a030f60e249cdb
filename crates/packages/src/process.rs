//! Running a program to its end.

use std::{
    io,
    process::{Output, Stdio},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::process::Command;

/// Runs a program to its end in the root directory, with empty standard input. If the future is
/// dropped before, the program and all processes that it started are killed.
pub async fn run(mut command: Command) -> io::Result<Output> {
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.process_group(0).spawn()?;
    // The group has the number of its first process, which the system gives to no other process
    // before it has been waited for.
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let mut group = KilledOnDrop(group);
    let output = child.wait_with_output().await;
    group.0 = None;
    output
}

/// A process group that is killed when this value is dropped; `None` once it has ended.
struct KilledOnDrop(Option<Pid>);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}
