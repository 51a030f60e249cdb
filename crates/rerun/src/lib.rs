//! For tests: runs one test again in a process of its own.
//!
//! A test needs this when it changes what all tests of its binary share: the environment variables,
//! the working directory, the mounts, the memory limit of the process. Only a dev-dependency.

use std::{
    io,
    process::{Command, Output},
};

/// The variable that is set in the process of the single test.
const INSIDE: &str = "CELLBLOCK_TEST_INSIDE";

/// True in a process that [`rerun`] started.
pub fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs the test `name` (with its modules) of this binary in a new process.
///
/// With a `wrapper` (a program and its arguments), the process is started through it. `environment`
/// is added to the variables of this process.
///
/// # Errors
/// When the process cannot be started.
pub fn rerun(name: &str, wrapper: &[&str], environment: &[(&str, &str)]) -> io::Result<Output> {
    let this = std::env::current_exe()?;
    let mut command = match wrapper {
        [] => Command::new(this),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(this);
            command
        }
    };
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    command.env(INSIDE, "1").envs(environment.iter().copied()).output()
}

/// Asserts that [`rerun`] ran exactly one test and that it passed.
pub fn assert_passed(output: &Output) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{}\n{stdout}\n{stderr}",
        output.status
    );
}

/// Returns a wrapper that makes the test root in a mount namespace of its own; `None`, with a
/// printed reason, where the system does not allow that.
pub fn mount_namespace() -> Option<[&'static str; 2]> {
    const UNSHARE: [&str; 2] = ["unshare", "-rm"];
    let allowed = Command::new(UNSHARE[0]).args([UNSHARE[1], "true"]).output();
    if allowed.is_ok_and(|output| output.status.success()) {
        return Some(UNSHARE);
    }
    // A test that is skipped says why.
    #[allow(clippy::print_stdout)]
    {
        println!("skipped: `unshare -rm` does not work here");
    }
    None
}
