//! A session in a cell.

use std::{collections::BTreeMap, io, time::Duration};

use async_trait::async_trait;
use cellblock_exec::{
    Error, ExecutionRequest, ExecutionResult, InputFile, InstallReport, Isolation, Limit, Limits,
    Outcome, Requirement, Result, Session, workspace,
};

use crate::{
    Cell, Driver, Program, Relay, Stream,
    artifacts::Arriving,
    connections::Connections,
    loss::Loss,
    protocol,
    running::gone,
    wire::{Message, Wire},
};

/// How long a driver may take for what is no block: writing a file, stopping what a dropped call left.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many bytes a second are sent to a driver at least, also on a busy machine.
const LEAST_SPEED: u64 = 4 << 20;

/// What a session is told about its cell.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The executor's name.
    pub executor: &'static str,
    /// What stands between programs and the host.
    pub isolation: Isolation,
    /// The session's limits.
    pub limits: Limits,
    /// Limits of the session that are only watched.
    pub watched: Vec<Limit>,
    /// Environment variables for programs, besides those that the driver sets.
    pub environment: BTreeMap<String, String>,
    /// Files to put into the workspace.
    pub files: Vec<InputFile>,
    /// Where connections that the driver relays go to, as given to it in [`Config::relays`](crate::Config::relays).
    pub relays: Vec<Relay>,
    /// Packages that programs have from the start.
    pub packages: Option<Packages>,
    /// Whether a program that asks for too much memory is refused it
    /// ([`Config::data`](crate::Config::data) is set), and not killed.
    pub memory_is_refused: bool,
    /// The driver's program for the cell's interpreter.
    pub program: Program,
}

/// Installed packages, by their directories in the cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packages {
    /// The directory of the modules.
    pub modules: String,
    /// The directory of the programs.
    pub programs: String,
}

/// A session in a cell.
#[derive(Debug)]
pub struct DriverSession<C: Cell> {
    pub(crate) cell: Box<C>,
    pub(crate) setup: Setup,
    /// `None` once the driver is lost.
    pub(crate) live: Option<Live>,
    /// The stream to the driver that takes the place of a lost one.
    pub(crate) next: Option<Stream>,
    pub(crate) memory_is_refused: bool,
    /// How many blocks have run.
    blocks: u64,
    /// The block that runs; if it is set at the beginning of a call, the future of an earlier one was dropped.
    running: Option<u64>,
    /// Answers that earlier calls did not wait for.
    owed: usize,
}

/// A driver at work.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) wire: Wire,
    pub(crate) connections: Connections,
    languages: Vec<String>,
}

impl<C: Cell> DriverSession<C> {
    /// Starts a session in a cell whose driver has just been started: waits until it is up.
    ///
    /// # Errors
    /// [`Error::Start`] when the driver does not come up; those of [`Session::write_file`] for the files.
    pub async fn start(cell: C, stream: Stream, setup: Setup) -> Result<Self> {
        let driver = Driver::start(stream, &setup.program).await?;
        Self::new(cell, driver, setup).await
    }

    /// A session in a cell whose driver is up.
    ///
    /// # Errors
    /// Those of [`Session::write_file`] for the files; [`Error::Lost`] when the driver has gone.
    pub async fn new(cell: C, driver: Driver, setup: Setup) -> Result<Self> {
        let memory_is_refused = setup.memory_is_refused;
        let mut session = Self {
            cell: Box::new(cell),
            setup,
            live: None,
            next: None,
            memory_is_refused,
            blocks: 0,
            running: None,
            owed: 0,
        };
        session.go_live(driver);
        for file in std::mem::take(&mut session.setup.files) {
            session.write_file(file).await?;
        }
        Ok(session)
    }

    /// Takes a driver, and tells it what it has to know of this session.
    fn go_live(&mut self, driver: Driver) {
        let mut wire = driver.wire;
        if !self.setup.environment.is_empty() {
            let pairs: Vec<&[u8]> = self
                .setup
                .environment
                .iter()
                .flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()])
                .collect();
            wire.post(protocol::SET_ENVIRONMENT, &pairs);
        }
        self.owed = 0;
        self.running = None;
        if let Some(packages) = &self.setup.packages {
            wire.post(
                protocol::USE_PACKAGES,
                &[packages.modules.as_bytes(), packages.programs.as_bytes()],
            );
            self.owed = 1;
        }
        let connections = Connections::new(self.setup.relays.clone());
        self.live = Some(Live { wire, connections, languages: driver.languages });
    }

    /// The driver, with nothing left to be done for earlier calls.
    async fn live(&mut self) -> Result<&mut Live> {
        if self.live.is_none() {
            let stream = match self.next.take() {
                Some(stream) => stream,
                None => self.cell.restart().await?,
            };
            let driver = Driver::start(stream, &self.setup.program).await?;
            self.go_live(driver);
        }
        if self.running.is_some() || self.owed > 0 {
            self.settle().await?;
        }
        self.live.as_mut().ok_or_else(|| gone("there is no driver"))
    }

    /// Waits for the end of a block whose call was dropped, and for answers that nobody waited for.
    async fn settle(&mut self) -> Result<()> {
        let mut ignored = Arriving::new(0, 0);
        while self.running.is_some() || self.owed > 0 {
            let message = self.message().await?;
            match message.kind {
                protocol::ENDED if message.number(0) == self.running => self.running = None,
                protocol::DONE => self.owed = self.owed.saturating_sub(1),
                _ => {
                    if let Some(live) = &mut self.live {
                        live.take(&message, &mut ignored);
                    }
                }
            }
        }
        Ok(())
    }

    /// The driver's next message, which must come soon. One that fails is given up.
    async fn message(&mut self) -> Result<Message, Loss> {
        let error = match &mut self.live {
            Some(live) => {
                let sending = live.wire.waiting() as u64 / LEAST_SPEED;
                let patience = PATIENCE + Duration::from_secs(sending);
                match tokio::time::timeout(patience, live.wire.next()).await {
                    Ok(Ok(message)) => return Ok(message),
                    Ok(Err(error)) => error,
                    Err(_) => io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("its driver did not answer for {} s", patience.as_secs()),
                    ),
                }
            }
            None => io::Error::other("there is no driver"),
        };
        Err(self.replace(error).await)
    }

    /// The answer to what was posted last.
    async fn answer(&mut self) -> Result<Message, Loss> {
        self.owed += 1;
        let mut ignored = Arriving::new(0, 0);
        loop {
            let message = self.message().await?;
            if message.kind == protocol::DONE {
                self.owed -= 1;
                return Ok(message);
            }
            if let Some(live) = &mut self.live {
                live.take(&message, &mut ignored);
            }
        }
    }

    /// Puts a file into the workspace, and gives the driver's answer.
    async fn put(&mut self, path: &str, content: &[u8]) -> Result<Message, Loss> {
        if let Some(live) = &mut self.live {
            live.wire.post(protocol::WRITE, &[path.as_bytes(), content]);
        }
        self.answer().await
    }

    fn not_run(&self, outcome: Outcome) -> ExecutionResult {
        ExecutionResult::not_run(self.setup.executor, self.setup.isolation, outcome)
    }
}

#[async_trait]
impl<C: Cell> Session for DriverSession<C> {
    async fn execute(&mut self, request: ExecutionRequest) -> Result<ExecutionResult> {
        if request.cancel.is_cancelled() {
            // Nothing has begun, so nothing is lost.
            return Ok(self.not_run(Outcome::Cancelled));
        }
        let executor = self.setup.executor;
        let live = self.live().await?;
        let known = request
            .language
            .as_ref()
            .filter(|language| live.languages.iter().any(|name| name == language.as_str()));
        let Some(language) = known.cloned() else {
            let language = request
                .language
                .as_ref()
                .map_or("code of unknown language", |language| language.as_str());
            let what = format!(
                "{language}: the {executor} executor runs {} here",
                live.languages.join(", ")
            );
            return Ok(self.not_run(Outcome::Unsupported { what }));
        };
        let mut path = String::new();
        if let Some(name) = &request.filename {
            path = workspace_path(name)?;
            match self.put(&path, request.code.as_bytes()).await {
                Ok(answer) => written(&path, &answer)?,
                Err(Loss { limit: Some(limit), why, .. }) => {
                    let outcome = Outcome::LimitExceeded { limit };
                    let result = self.not_run(outcome);
                    return Ok(ExecutionResult { state_lost: true, notes: vec![why], ..result });
                }
                Err(loss) => return Err(loss.into()),
            }
        }
        self.blocks += 1;
        let number = self.blocks;
        let name = if path.is_empty() { format!("<block {number}>") } else { path.clone() };
        let live = self.live().await?;
        live.wire.post(
            protocol::RUN,
            &[
                number.to_string().as_bytes(),
                language.as_str().as_bytes(),
                path.as_bytes(),
                name.as_bytes(),
                request.code.as_bytes(),
                &request.stdin,
            ],
        );
        self.running = Some(number);
        let result = self.watch(number, request).await;
        self.running = None;
        result
    }

    async fn write_file(&mut self, file: InputFile) -> Result<()> {
        let path = workspace_path(&file.path)?;
        self.live().await?;
        let answer = self.put(&path, &file.content).await?;
        written(&path, &answer)
    }

    async fn install(&mut self, packages: &[Requirement]) -> Result<InstallReport> {
        let installed = self.cell.install(packages).await?;
        if let Some(directory) = installed.directory {
            let packages = Packages { programs: format!("{directory}/bin"), modules: directory };
            let live = self.live().await?;
            live.wire.post(
                protocol::USE_PACKAGES,
                &[packages.modules.as_bytes(), packages.programs.as_bytes()],
            );
            self.answer().await?;
            self.setup.packages = Some(packages);
        }
        Ok(installed.report)
    }

    async fn close(self: Box<Self>) -> Result<()> {
        let Self { cell, live, next, .. } = *self;
        // The end of its stream ends the driver, if it is not dead before.
        drop((live, next));
        cell.close().await
    }
}

/// Whether a file was written, by the driver's answer.
fn written(path: &str, answer: &Message) -> Result<()> {
    let Some(errno) = answer.number::<i32>(0) else { return Ok(()) };
    let why = match (errno, answer.field(1)) {
        (28, b"files") => {
            format!("{path} is one file more than the session may have; raise its limit on files")
        }
        (27 | 28 | 122, _) => {
            format!("{path} does not fit into the session's disk limit; raise it")
        }
        _ => format!("{path} cannot be put there: {}", io::Error::from_raw_os_error(errno)),
    };
    Err(Error::Invalid { what: "workspace file", why })
}

fn workspace_path(path: &str) -> Result<String> {
    workspace::workspace_path(path)
        .map_err(|why| Error::Invalid { what: "file name", why: why.to_string() })
}
