//! An executor of your own: this one wraps another and logs every block. The conformance suite
//! proves that it still keeps the contract.
//!
//! `cargo run --release -p cellblock-wasi --example own_executor`, and its proof:
//! `cargo test --release -p cellblock-wasi --example own_executor`
#![allow(clippy::print_stdout)] // An example prints its results.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use cellblock_exec::{
    Capabilities, ExecutionRequest, ExecutionResult, Executor, InputFile, InstallReport, Limits,
    Requirement, Result, Session, SessionSpec, Silent,
};
use cellblock_wasi::{ImageStore, Options, WasiExecutor};
use parking_lot::Mutex;

/// A line with the code and the outcome of each block, shared by all sessions.
type Log = Arc<Mutex<Vec<String>>>;

/// Runs code in another executor, and logs it.
#[derive(Debug)]
struct Logged<E> {
    inner: E,
    log: Log,
}

#[derive(Debug)]
struct LoggedSession {
    inner: Box<dyn Session>,
    log: Log,
}

impl<E> Logged<E> {
    fn session(&self, inner: Box<dyn Session>) -> Box<dyn Session> {
        Box::new(LoggedSession { inner, log: self.log.clone() })
    }
}

#[async_trait]
impl<E: Executor> Executor for Logged<E> {
    fn name(&self) -> &'static str {
        "logged"
    }

    // Claim only what you enforce. The suite tests every claim, and that everything else is
    // refused.
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>> {
        Ok(self.session(self.inner.open(spec).await?))
    }

    async fn resume(&self, frozen: &Path, limits: Limits) -> Result<Box<dyn Session>> {
        Ok(self.session(self.inner.resume(frozen, limits).await?))
    }
}

#[async_trait]
impl Session for LoggedSession {
    async fn execute(&mut self, request: ExecutionRequest) -> Result<ExecutionResult> {
        let code = request.code.clone();
        let result = self.inner.execute(request).await?;
        self.log.lock().push(format!("{code:?} {:?}", result.outcome));
        Ok(result)
    }

    async fn write_file(&mut self, file: InputFile) -> Result<()> {
        self.inner.write_file(file).await
    }

    async fn install(&mut self, packages: &[Requirement]) -> Result<InstallReport> {
        self.inner.install(packages).await
    }

    async fn fork(&mut self) -> Result<Box<dyn Session>> {
        Ok(Box::new(Self { inner: self.inner.fork().await?, log: self.log.clone() }))
    }

    async fn freeze(&mut self, into: &Path) -> Result<()> {
        self.inner.freeze(into).await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.inner.close().await
    }
}

async fn logged() -> Result<Logged<WasiExecutor>> {
    let inner =
        WasiExecutor::start(ImageStore::in_user_cache()?, Options::default(), &Silent).await?;
    Ok(Logged { inner, log: Log::default() })
}

#[tokio::main]
async fn main() -> Result<()> {
    let executor = logged().await?;
    let mut session = executor.open(SessionSpec::default()).await?;
    for code in ["x = 6 * 7", "print(x)", "1 / 0"] {
        session.execute(ExecutionRequest::python(code)).await?;
    }
    session.close().await?;
    println!("{}", executor.log.lock().join("\n"));
    Ok(())
}

#[cfg(test)]
mod conformance {
    cellblock_conformance::conformance!(crate::logged().await.unwrap());
}
