//! An executor in memory. It understands a few commands, one per line, and records its use.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use cellblock_exec::{
    Artifact, Capabilities, Captured, Error, ExecutionRequest, ExecutionResult, Executor,
    InputFile, InstallReport, Isolation, Language, Limit, Outcome, Requirement, Result, Session,
    SessionSpec, Usage,
};

/// The bytes of an "image".
pub const PICTURE: &[u8] = b"\x89PNG picture";

/// The executor. Clones share the record.
#[derive(Debug, Clone, Default)]
pub struct Fake(Arc<Memory>);

#[derive(Debug, Default)]
struct Memory {
    ran: Mutex<Vec<String>>,
    specs: Mutex<Vec<SessionSpec>>,
    installed: Mutex<Vec<String>>,
    open: AtomicUsize,
    waiting: AtomicUsize,
}

impl Fake {
    /// All code that has run.
    pub fn ran(&self) -> Vec<String> {
        self.0.ran.lock().unwrap().clone()
    }

    /// The specifications of all sessions.
    pub fn specs(&self) -> Vec<SessionSpec> {
        self.0.specs.lock().unwrap().clone()
    }

    /// All packages to install.
    pub fn installed(&self) -> Vec<String> {
        self.0.installed.lock().unwrap().clone()
    }

    /// The number of open sessions.
    pub fn open_now(&self) -> usize {
        self.0.open.load(Ordering::SeqCst)
    }

    /// The number of waiting programs.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::SeqCst)
    }
}

static CAPABILITIES: std::sync::LazyLock<Capabilities> =
    std::sync::LazyLock::new(|| Capabilities {
        languages: vec![Language::PYTHON],
        isolation: Isolation::Wasm,
        limits: Limit::ALL.to_vec(),
        watched: Vec::new(),
        network: false,
        state: true,
        fork: false,
        freeze: false,
        install: true,
    });

#[async_trait]
impl Executor for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn capabilities(&self) -> &Capabilities {
        &CAPABILITIES
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>> {
        let files =
            spec.files.iter().map(|file| (file.path.clone(), file.content.clone())).collect();
        self.0.specs.lock().unwrap().push(spec);
        self.0.open.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(FakeSession {
            memory: self.0.clone(),
            files,
            installed: BTreeSet::new(),
            number: 0,
        }))
    }
}

#[derive(Debug)]
struct FakeSession {
    memory: Arc<Memory>,
    files: BTreeMap<String, Arc<Vec<u8>>>,
    installed: BTreeSet<String>,
    /// A variable of the programs.
    number: i64,
}

impl Drop for FakeSession {
    fn drop(&mut self) {
        self.memory.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Default)]
struct Given {
    stdout: Vec<u8>,
    stderr: String,
    artifacts: Vec<Artifact>,
}

struct Waits<'m>(&'m Memory);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl FakeSession {
    fn write(&mut self, path: &str, content: &[u8], given: &mut Given) {
        let content = Arc::new(content.to_vec());
        self.files.insert(path.to_owned(), content.clone());
        given.artifacts.retain(|artifact| artifact.path != path);
        given.artifacts.push(Artifact::new(path.to_owned(), content));
    }

    /// Runs one line; `Some` is the end of the program.
    async fn line(
        &mut self,
        line: &str,
        request: &ExecutionRequest,
        given: &mut Given,
    ) -> Result<Option<Outcome>> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "print" => given.stdout.extend(format!("{rest}\n").bytes()),
            "bytes" => given.stdout.extend([0xff, 0xfe, b'\n']),
            "flood" => given
                .stdout
                .extend(format!("HEAD{}TAIL\n", "x".repeat(rest.parse().unwrap())).bytes()),
            "add" => self.number += rest.parse::<i64>().unwrap(),
            "number" => given.stdout.extend(format!("{}\n", self.number).bytes()),
            "write" => {
                let (path, text) = rest.split_once(' ').unwrap_or((rest, ""));
                self.write(path, text.as_bytes(), given);
            }
            "picture" => self.write(rest, PICTURE, given),
            "read" => match self.files.get(rest) {
                Some(content) => given.stdout.extend(content.iter()),
                None => {
                    given.stderr.push_str(&format!("FileNotFoundError: {rest}\n"));
                    return Ok(Some(Outcome::Exited { code: 1 }));
                }
            },
            "import" if !self.installed.contains(rest) => {
                given.stderr.push_str(&format!(
                    "Traceback (most recent call last):\n  \
                     File \"<block>\", line 1, in <module>\n    {line}\n\
                     ModuleNotFoundError: No module named '{rest}'\n"
                ));
                return Ok(Some(Outcome::Exited { code: 1 }));
            }
            "import" => {}
            "exit" => return Ok(Some(Outcome::Exited { code: rest.parse().unwrap() })),
            "timeout" => return Ok(Some(Outcome::LimitExceeded { limit: Limit::Wall })),
            "lose" => {
                return Err(Error::Lost {
                    what: "the fake".into(),
                    source: "it was told to be lost".into(),
                });
            }
            "wait" => {
                self.memory.waiting.fetch_add(1, Ordering::SeqCst);
                let _waits = Waits(&self.memory);
                // It ignores the token: only a dropped future ends it.
                std::future::pending::<()>().await;
            }
            "call" => {
                let (name, arguments) = rest.split_once(' ').unwrap();
                let arguments = serde_json::from_str(arguments).unwrap();
                let host = request.host.as_ref().expect("nothing is granted");
                match host.call(name, arguments).await {
                    Ok(value) => given.stdout.extend(format!("{value}\n").bytes()),
                    Err(why) => {
                        given.stderr.push_str(&format!("host.ToolError: {why}\n"));
                        return Ok(Some(Outcome::Exited { code: 1 }));
                    }
                }
            }
            _ => {
                given.stderr.push_str(&format!("SyntaxError: {line}\n"));
                return Ok(Some(Outcome::Exited { code: 1 }));
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl Session for FakeSession {
    async fn execute(&mut self, request: ExecutionRequest) -> Result<ExecutionResult> {
        self.memory.ran.lock().unwrap().push(request.code.clone());
        let mut given = Given::default();
        if let Some(path) = &request.filename {
            self.write(path, request.code.as_bytes(), &mut given);
        }
        let mut outcome = Outcome::Exited { code: 0 };
        for line in request.code.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(ended) = self.line(line, &request, &mut given).await? {
                outcome = ended;
                break;
            }
        }
        if let Some(sink) = &request.sink {
            sink(cellblock_exec::Stream::Stdout, &given.stdout);
        }
        Ok(ExecutionResult {
            watched: Vec::new(),
            state_lost: matches!(outcome, Outcome::LimitExceeded { .. }),
            outcome,
            stdout: Captured { bytes: given.stdout, dropped: 0 },
            stderr: Captured { bytes: given.stderr.into_bytes(), dropped: 0 },
            artifacts: given.artifacts,
            refused: Vec::new(),
            usage: Usage::default(),
            executor: "fake".to_owned(),
            isolation: Isolation::Wasm,
            notes: Vec::new(),
        })
    }

    async fn write_file(&mut self, file: InputFile) -> Result<()> {
        self.files.insert(file.path, file.content);
        Ok(())
    }

    async fn install(&mut self, packages: &[Requirement]) -> Result<InstallReport> {
        let mut report = InstallReport::default();
        for package in packages {
            let name = package.name.to_string();
            self.memory.installed.lock().unwrap().push(name.clone());
            self.installed.insert(name.clone());
            report.installed.push(format!("{name}==1.0"));
        }
        Ok(report)
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
