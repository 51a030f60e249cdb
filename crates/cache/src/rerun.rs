//! Running one test again in a process of its own: where it needs another environment, another directory, a namespace, or the memory
//! of a process to itself.

use std::{
    io,
    process::{Command, Output},
};

const INSIDE: &str = "CELLBLOCK_TEST_INSIDE";

/// Whether this process runs only the test that [`again`] was called for.
pub fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs the test `name` (with its modules) in a process of its own, through the program and arguments of `wrapper` if
/// there are any.
///
/// # Errors
/// When the process cannot be started.
pub fn again(name: &str, wrapper: &[&str], environment: &[(&str, &str)]) -> io::Result<Output> {
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

/// Asserts that [`again`] ran the test, and that it passed.
pub fn assert_passed(output: &Output) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{}\n{stdout}\n{stderr}",
        output.status
    );
}

/// A wrapper in which the test is root over a mount namespace of its own; `None`, with a printed reason, where that is
/// not allowed.
pub fn namespaces() -> Option<[&'static str; 2]> {
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
