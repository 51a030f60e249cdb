//! The programs, executors and sessions that the benchmarks share.

use std::{path::PathBuf, sync::Arc};

use cellblock_exec::{ExecutionRequest, Executor, Result, Session, SessionSpec, Silent};
use cellblock_wasi::{ImageStore, Options, WasiExecutor};

/// Prints a line.
pub const PRINT: &str = "print('hi')";
/// Computes a sum with numpy.
pub const NUMPY: &str = "import numpy as np; print(np.arange(1000).sum())";
/// Builds a small `DataFrame`, and prints the sum of a column.
pub const FRAME: &str =
    "import pandas as pd; print(pd.DataFrame({'a': [1, 2, 3], 'b': [4.0, 5.0, 6.0]})['b'].sum())";
/// Builds the same, and prints the sums of all columns as a table.
pub const TABLE: &str =
    "import pandas as pd; print(pd.DataFrame({'a': [1, 2, 3], 'b': [4.0, 5.0, 6.0]}).sum())";

/// Starts an executor with the default image.
///
/// # Errors
/// Fails when the image cannot be pulled or loaded.
pub async fn executor() -> Result<Arc<WasiExecutor>> {
    WasiExecutor::start(ImageStore::in_user_cache()?, Options::default(), &Silent)
        .await
        .map(Arc::new)
}

/// Opens a session of an executor.
///
/// # Errors
/// Fails when the session does not open.
pub async fn session(executor: &dyn Executor) -> Result<Box<dyn Session>> {
    executor.open(SessionSpec::default()).await
}

/// Runs code in a session of its own: from opening it until its instance is reset for the next one.
///
/// # Errors
/// Fails when the sandbox fails.
///
/// # Panics
/// Panics when the program fails: a benchmark of a failure would measure something else.
pub async fn fresh(executor: &dyn Executor, code: &str) -> Result<()> {
    let mut session = session(executor).await?;
    turn(&mut session, code).await?;
    session.close().await
}

/// Runs code in a live session.
///
/// # Errors
/// Fails when the sandbox fails.
///
/// # Panics
/// Panics when the program fails.
pub async fn turn(session: &mut Box<dyn Session>, code: &str) -> Result<()> {
    let result = session.execute(ExecutionRequest::python(code)).await?;
    assert!(result.outcome.is_success(), "{}", result.stderr.text());
    Ok(())
}

/// Returns the native interpreter for comparison: the system's, which is not the script of a
/// version manager.
pub fn native_python() -> Option<PathBuf> {
    Some(PathBuf::from("/usr/bin/python3")).filter(|path| path.is_file())
}
