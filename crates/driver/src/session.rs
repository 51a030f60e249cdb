//! A session in a cell.

use std::io;

use async_trait::async_trait;
use cellblock_exec::{
    BoxFuture, Error, ExecutionRequest, ExecutionResult, InputFile, InstallReport, Language,
    Outcome, Requirement, Result, Session, workspace,
};

use crate::{
    Cell, Driver, DriverStream, PackageDirectories, Setup,
    errno::{EDQUOT, EFBIG, ENOSPC},
    link::DriverLink,
    loss::DriverLoss,
    protocol::{Done, FullQuota, MessageKind},
    running::run,
};

/// A session in a cell.
#[derive(Debug)]
pub struct DriverSession {
    link: DriverLink,
    /// The number of blocks that have run.
    blocks: u64,
}

impl DriverSession {
    /// Starts a session in a cell whose driver has just been started, once the driver is up.
    ///
    /// # Errors
    /// [`Error::Start`] when the driver does not come up; those of [`Session::write_file`] for the
    /// files.
    pub fn start(
        cell: impl Cell,
        stream: DriverStream,
        setup: Setup,
    ) -> BoxFuture<'static, Result<Self>> {
        let cell = Box::new(cell);
        Box::pin(async move {
            let driver = Driver::start(stream, &setup.program).await?;
            Self::with_files(cell, driver, setup).await
        })
    }

    /// Starts a session in a cell whose driver is up.
    ///
    /// # Errors
    /// The errors of [`Session::write_file`] for the files; [`Error::Lost`] when the driver has
    /// gone.
    pub fn new(cell: impl Cell, driver: Driver, setup: Setup) -> BoxFuture<'static, Result<Self>> {
        Box::pin(Self::with_files(Box::new(cell), driver, setup))
    }

    async fn with_files(cell: Box<dyn Cell>, driver: Driver, mut setup: Setup) -> Result<Self> {
        let files = std::mem::take(&mut setup.files);
        let mut session = Self { link: DriverLink::new(cell, driver, setup), blocks: 0 };
        for file in files {
            session.write_file(file).await?;
        }
        Ok(session)
    }

    fn not_run(&self, outcome: Outcome) -> ExecutionResult {
        let setup = &self.link.setup;
        ExecutionResult::not_run(setup.executor, setup.isolation, outcome)
    }

    /// Returns the outcome of a block whose language the cell does not run.
    fn unsupported(&self, language: &Language, known: &[String]) -> Outcome {
        let executor = self.link.setup.executor;
        let what = format!("{language}: the {executor} executor runs {} here", known.join(", "));
        Outcome::Unsupported { what }
    }
}

#[async_trait]
impl Session for DriverSession {
    async fn execute(&mut self, request: ExecutionRequest) -> Result<ExecutionResult> {
        if request.cancel.is_cancelled() {
            // Nothing has begun, so nothing is lost.
            return Ok(self.not_run(Outcome::Cancelled));
        }
        let live = self.link.ready().await?;
        let language = request.language.clone();
        if !live.languages.iter().any(|known| known == language.as_str()) {
            let known = live.languages.clone();
            let outcome = self.unsupported(&language, &known);
            return Ok(self.not_run(outcome));
        }
        let mut path = String::new();
        if let Some(name) = &request.filename {
            path = workspace_path(name)?;
            match self.link.write(&path, request.code.as_bytes()).await {
                Ok(done) => check_written(&path, done)?,
                Err(DriverLoss { limit: Some(limit), why, .. }) => {
                    let result = self.not_run(Outcome::LimitExceeded { limit });
                    return Ok(ExecutionResult { state_lost: true, notes: vec![why], ..result });
                }
                Err(loss) => return Err(loss.into()),
            }
        }
        self.blocks += 1;
        let number = self.blocks;
        let name = if path.is_empty() { format!("<block {number}>") } else { path.clone() };
        let live = self.link.ready().await?;
        live.wire.post(
            MessageKind::Run,
            &[
                number.to_string().as_bytes(),
                language.as_str().as_bytes(),
                path.as_bytes(),
                name.as_bytes(),
                request.code.as_bytes(),
                &request.stdin,
            ],
        );
        self.link.running = Some(number);
        let result = run(&mut self.link, number, request).await;
        self.link.running = None;
        result
    }

    async fn write_file(&mut self, file: InputFile) -> Result<()> {
        let path = workspace_path(&file.path)?;
        self.link.ready().await?;
        let done = self.link.write(&path, &file.content).await?;
        check_written(&path, done)
    }

    async fn install(&mut self, packages: &[Requirement]) -> Result<InstallReport> {
        let installed = self.link.cell.install(packages).await?;
        if let Some(modules) = installed.directory {
            let packages = PackageDirectories { programs: format!("{modules}/bin"), modules };
            self.link.use_packages(packages).await?;
        }
        Ok(installed.report)
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.link.close().await
    }
}

/// Returns an error if the driver could not write a file.
fn check_written(path: &str, done: Done) -> Result<()> {
    let Some(errno) = done.errno else { return Ok(()) };
    let why = match (errno, done.full) {
        (ENOSPC, Some(FullQuota::Files)) => {
            format!("`{path}` exceeds the session's limit on files; raise it")
        }
        (EFBIG | ENOSPC | EDQUOT, _) => {
            format!("`{path}` exceeds the session's disk limit; raise it")
        }
        _ => format!("cannot write `{path}`: {}", io::Error::from_raw_os_error(errno)),
    };
    Err(Error::Invalid { what: "workspace file", why })
}

fn workspace_path(path: &str) -> Result<String> {
    workspace::workspace_path(path)
        .map_err(|why| Error::Invalid { what: "file name", why: why.to_string() })
}
