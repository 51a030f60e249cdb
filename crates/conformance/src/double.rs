//! An executor in memory, for tests of code that uses executors. It understands a few lines of
//! Python, and keeps variables, files and installed packages.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cellblock_exec::{
    Artifact, Capabilities, Captured, Error, ExecutionRequest, ExecutionResult, Executor,
    HostFunction, HostTools, InputFile, InstallReport, Isolation, Language, Limit, Network,
    Outcome, Requirement, Result, Session, SessionSpec, Stream, Usage,
};
use serde_json::{Map, Value};

/// The executor in memory. Tests set its package index, and look at the requests that it got.
#[derive(Debug)]
pub struct Double {
    /// The executor's name.
    pub name: &'static str,
    /// Its capabilities.
    pub capabilities: Capabilities,
    /// Packages that can be installed, each with its modules.
    pub index: BTreeMap<&'static str, &'static [&'static str]>,
    /// Every package that a session was asked to install.
    pub asked: Arc<Mutex<Vec<String>>>,
    /// The number of open sessions.
    pub open: Arc<AtomicUsize>,
    /// The number of sessions opened so far.
    pub opened: Arc<AtomicUsize>,
}

impl Default for Double {
    fn default() -> Self {
        let capabilities = Capabilities {
            languages: vec![Language::PYTHON],
            isolation: Isolation::Wasm,
            limits: vec![Limit::Wall],
            watched: Vec::new(),
            network: false,
            state: true,
            fork: false,
            freeze: false,
            install: true,
        };
        let index: [(&str, &[&str]); 5] = [
            ("humanize", &["humanize"]),
            ("scikit-learn", &["sklearn"]),
            ("pyyaml", &["yaml"]),
            ("emoji", &["something_else"]),
            ("requests", &["requests"]),
        ];
        Self {
            name: "double",
            capabilities,
            index: index.into(),
            asked: Arc::default(),
            open: Arc::default(),
            opened: Arc::default(),
        }
    }
}

#[async_trait]
impl Executor for Double {
    fn name(&self) -> &'static str {
        self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>> {
        if spec.limits.wall.is_zero() {
            return Err(Error::Invalid {
                what: "wall time",
                why: "0 leaves no time to run".into(),
            });
        }
        if spec.network != Network::Denied && !self.capabilities.network {
            return Err(Error::Unsupported("it has no network".into()));
        }
        self.open.fetch_add(1, Ordering::SeqCst);
        self.opened.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(DoubleSession {
            name: self.name,
            isolation: self.capabilities.isolation,
            index: self.index.clone(),
            asked: self.asked.clone(),
            open: self.open.clone(),
            files: spec.files.into_iter().map(|file| (file.path, file.content)).collect(),
            variables: BTreeMap::new(),
            installed: BTreeSet::new(),
        }))
    }
}

#[derive(Debug)]
struct DoubleSession {
    name: &'static str,
    isolation: Isolation,
    index: BTreeMap<&'static str, &'static [&'static str]>,
    asked: Arc<Mutex<Vec<String>>>,
    open: Arc<AtomicUsize>,
    files: BTreeMap<String, Arc<Vec<u8>>>,
    variables: BTreeMap<String, String>,
    installed: BTreeSet<&'static str>,
}

impl Drop for DoubleSession {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The output of a program so far.
#[derive(Default)]
struct Given {
    stdout: String,
    stderr: String,
    artifacts: Vec<Artifact>,
}

#[async_trait]
impl Session for DoubleSession {
    async fn execute(&mut self, request: ExecutionRequest) -> Result<ExecutionResult> {
        if let Some(path) = &request.filename {
            self.files.insert(path.clone(), Arc::new(request.code.clone().into_bytes()));
        }
        let mut given = Given::default();
        let mut outcome = Outcome::Exited { code: 0 };
        for line in request.code.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if line == "sleep" {
                request.cancel.cancelled().await;
                outcome = Outcome::Cancelled;
                break;
            }
            let done = match line.strip_prefix("call ") {
                Some(call) => self.call(call, &request).await.err(),
                None => self.line(line, &request, &mut given)?,
            };
            if let Some(ended) = done {
                outcome = ended;
                break;
            }
        }
        if let Some(sink) = &request.sink {
            sink(Stream::Stdout, given.stdout.as_bytes());
            sink(Stream::Stderr, given.stderr.as_bytes());
        }
        Ok(ExecutionResult {
            watched: Vec::new(),
            state_lost: matches!(outcome, Outcome::LimitExceeded { .. }),
            outcome,
            stdout: Captured { bytes: given.stdout.into_bytes(), dropped: 0 },
            stderr: Captured { bytes: given.stderr.into_bytes(), dropped: 0 },
            artifacts: given.artifacts,
            refused: Vec::new(),
            usage: Usage { wall: Duration::from_millis(1), ..Usage::default() },
            executor: self.name.to_owned(),
            isolation: self.isolation,
            notes: Vec::new(),
        })
    }

    async fn write_file(&mut self, file: InputFile) -> Result<()> {
        if self.files.len() == 100 {
            return Err(Error::Invalid { what: "file", why: "the quota is used up".into() });
        }
        self.files.insert(file.path, file.content);
        Ok(())
    }

    async fn install(&mut self, packages: &[Requirement]) -> Result<InstallReport> {
        let mut report = InstallReport::default();
        for package in packages {
            let name = package.name.as_str();
            self.asked.lock().unwrap().push(name.to_owned());
            let Some((name, _)) = self.index.get_key_value(name) else {
                return Err(Error::Install {
                    packages: name.into(),
                    why: "the index has no such package".into(),
                });
            };
            if self.installed.insert(name) {
                report.installed.push(format!("{name}==1.0"));
            }
        }
        Ok(report)
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl DoubleSession {
    /// Calls a function of the host: `variable function arguments`. `HERE` in the arguments is
    /// replaced by the executor's name.
    async fn call(
        &mut self,
        call: &str,
        request: &ExecutionRequest,
    ) -> std::result::Result<(), Outcome> {
        let [variable, function, arguments] =
            call.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
        let failed = Outcome::Exited { code: 1 };
        let host = request
            .host
            .as_ref()
            .filter(|host| host.functions().iter().any(|offered| offered.name == function));
        let arguments = serde_json::from_str(&arguments.replace("HERE", self.name)).unwrap();
        let value =
            host.ok_or(failed.clone())?.call(function, arguments).await.map_err(|_| failed)?;
        self.variables.insert(variable.to_owned(), value.to_string());
        Ok(())
    }

    /// Runs one line. Returns the outcome if the program ends there; `None` if it continues.
    fn line(
        &mut self,
        line: &str,
        request: &ExecutionRequest,
        given: &mut Given,
    ) -> Result<Option<Outcome>> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let failed = Ok(Some(Outcome::Exited { code: 1 }));
        match word {
            "import" => {
                let root = rest.split('.').next().unwrap();
                let known = rest == root && self.files.contains_key(&format!("{root}.py"));
                let brought =
                    self.installed.iter().any(|package| self.index[package].contains(&root));
                if !known && !brought {
                    given.stderr.push_str(&format!(
                        "Traceback (most recent call last):\n  File \"<block>\", line 1, in \
                            <module>\n    {line}\n\
                         ModuleNotFoundError: No module named '{rest}'\n"
                    ));
                    return failed;
                }
            }
            "print" => given
                .stdout
                .push_str(&format!("{}\n", self.variables.get(rest).map_or(rest, String::as_str))),
            "stdin" => given.stdout.push_str(&String::from_utf8_lossy(&request.stdin)),
            "write" => {
                let (path, text) = rest.split_once(' ').unwrap();
                let content = Arc::new(text.as_bytes().to_vec());
                self.files.insert(path.into(), content.clone());
                given.artifacts.push(Artifact::new(path.into(), content));
            }
            "pass" => {}
            "read" => match self.files.get(rest) {
                Some(content) => {
                    given.stdout.push_str(&format!("{}\n", String::from_utf8_lossy(content)))
                }
                None => return failed,
            },
            "exit" => return Ok(Some(Outcome::Exited { code: rest.parse().unwrap() })),
            "timeout" => return Ok(Some(Outcome::LimitExceeded { limit: Limit::Wall })),
            "break" => {
                return Err(Error::Lost {
                    what: "the double".into(),
                    source: "it was told to break".into(),
                });
            }
            variable => {
                let value = rest
                    .strip_prefix("= ")
                    .unwrap_or_else(|| panic!("the double does not know {line:?}"));
                self.variables.insert(variable.into(), value.into());
            }
        }
        Ok(None)
    }
}

/// Functions of the host: `count` returns the number of calls so far, `text` returns `bytes` bytes.
#[derive(Debug, Default)]
pub struct Counter(pub AtomicUsize);

#[async_trait]
impl HostTools for Counter {
    fn functions(&self) -> Vec<HostFunction> {
        let parameters = Value::Object(Map::new());
        ["count", "text"]
            .map(|name| HostFunction {
                name: name.into(),
                description: String::new(),
                parameters: parameters.clone(),
            })
            .to_vec()
    }

    async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<Value, String> {
        let count = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        match (name, arguments.get("bytes").and_then(Value::as_u64)) {
            ("text", Some(bytes)) => Ok("x".repeat(bytes as usize).into()),
            ("text", None) => Err("how many?".to_owned()),
            _ => Ok(count.into()),
        }
    }
}
