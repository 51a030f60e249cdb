//! The WebAssembly executor as its callers use it: the conformance suite, and features that only
//! this executor has.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod images;
mod packages;
mod sessions;

use cellblock_exec::{ExecutionRequest, ExecutionResult, Session, Silent};
use cellblock_wasi::{ImageStore, Options, WasiExecutor};

/// Starts an executor on the shipped image, in the user's cache.
async fn executor() -> WasiExecutor {
    WasiExecutor::start(ImageStore::in_user_cache().unwrap(), Options::default(), &Silent)
        .await
        .unwrap()
}

/// Runs Python in a session.
async fn run(session: &mut Box<dyn Session>, code: &str) -> ExecutionResult {
    session.execute(ExecutionRequest::python(code)).await.unwrap()
}

/// Runs Python that has to succeed; returns its output.
async fn output(session: &mut Box<dyn Session>, code: &str) -> String {
    let result = run(session, code).await;
    assert!(result.outcome.is_success(), "{code}: {:?}\n{}", result.outcome, result.stderr.text());
    result.stdout.text()
}

mod conformance {
    cellblock_conformance::conformance!(crate::executor().await);
}
