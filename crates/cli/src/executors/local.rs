//! The local executor.

use std::sync::Arc;

use cellblock_exec::{Executor, Isolation};
use cellblock_local::{LocalExecutor, Options};

use super::row::{Choices, ExecutorOption, Row, languages_of_cells};

/// The strictest level of the local executor.
const STRICTEST: Isolation = Isolation::Namespaces;

pub const ROW: Row = Row {
    name: "local",
    isolation: STRICTEST,
    options: &[ExecutorOption::Venv, ExecutorOption::Environment],
    languages: languages_of_cells,
    start: |choices, _| Box::pin(start(choices)),
    checks: cellblock_local::checks,
    images: None,
};

async fn start(choices: Choices) -> cellblock_exec::Result<Arc<dyn Executor>> {
    // The executor takes one exact level, or chooses the strictest that works. With `auto` the
    // level is a minimum: it is exact only if nothing stricter exists.
    let isolation = choices.isolation.filter(|level| choices.is_named || *level == STRICTEST);
    let options = Options {
        isolation,
        venv: choices.venv,
        environment: choices.environment,
        ..Options::default()
    };
    let executor = LocalExecutor::start(options).await?;
    Ok(Arc::new(executor))
}
