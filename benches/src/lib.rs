//! What the benchmarks share.

use std::{path::PathBuf, sync::Arc};

use cellblock_exec::{ExecutionRequest, Executor, Result, Session, SessionSpec, Silent};
use cellblock_wasi::{ImageStore, Options, WasiExecutor};

/// `print('hi')`.
pub const PRINT: &str = "print('hi')";
/// A numpy sum.
pub const NUMPY: &str = "import numpy as np; print(np.arange(1000).sum())";
/// A small `DataFrame`, built and summed.
pub const FRAME: &str =
    "import pandas as pd; print(pd.DataFrame({'a': [1, 2, 3], 'b': [4.0, 5.0, 6.0]})['b'].sum())";
/// The same, its sums shown as a table.
pub const TABLE: &str =
    "import pandas as pd; print(pd.DataFrame({'a': [1, 2, 3], 'b': [4.0, 5.0, 6.0]}).sum())";

/// An executor on the shipped image.
///
/// # Errors
/// When the image cannot be pulled or loaded.
pub async fn executor() -> Result<Arc<WasiExecutor>> {
    WasiExecutor::start(ImageStore::in_user_cache()?, Options::default(), &Silent)
        .await
        .map(Arc::new)
}

/// A new session of an executor.
///
/// # Errors
/// When it does not open.
pub async fn session(executor: &dyn Executor) -> Result<Box<dyn Session>> {
    executor.open(SessionSpec::default()).await
}

/// A fresh execution, from opening a session to its instance being reset for the next one.
///
/// # Errors
/// When the sandbox fails.
///
/// # Panics
/// When the program fails: a benchmark of a failure would measure something else.
pub async fn fresh(executor: &dyn Executor, code: &str) -> Result<()> {
    let mut session = session(executor).await?;
    turn(&mut session, code).await?;
    session.close().await
}

/// A turn of a live session.
///
/// # Errors
/// When the sandbox fails.
///
/// # Panics
/// When the program fails.
pub async fn turn(session: &mut Box<dyn Session>, code: &str) -> Result<()> {
    let result = session.execute(ExecutionRequest::python(code)).await?;
    assert!(result.outcome.is_success(), "{}", result.stderr.text());
    Ok(())
}

/// The native interpreter to compare with: the system's own, which is not a version manager's shim.
pub fn native_python() -> Option<PathBuf> {
    Some(PathBuf::from("/usr/bin/python3")).filter(|path| path.is_file())
}
