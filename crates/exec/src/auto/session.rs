//! A session that is spread over several candidates.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;

use super::candidate::Candidate;
use crate::{
    Error, ExecutionRequest, ExecutionResult, HostReplay, InputFile, InstallReport, Isolation,
    Language, MAX_REPLAY_BYTES, NewCalls, Outcome, Requirement, Result, Session, SessionSpec,
    with_causes, workspace::workspace_path,
};

/// The name of the executor.
pub const NAME: &str = "auto";

/// The maximum size of the blocks that are kept to run again, with their recorded calls, in bytes.
const MAX_HISTORY_BYTES: usize = MAX_REPLAY_BYTES;

/// A session whose blocks run in different executors.
#[derive(Debug)]
pub struct AutoSession {
    candidates: Arc<Vec<Candidate>>,
    /// The specification of each candidate's session, without files.
    spec: SessionSpec,
    /// One entry for each candidate.
    states: Vec<CandidateState>,
    /// The workspace: input files, and the latest version of what blocks made or changed.
    files: BTreeMap<String, FileVersion>,
    /// The number of file changes so far.
    changes: u64,
    /// The candidate that runs Python, once it has run. No stricter one gets another block of it.
    python: Option<usize>,
    /// Python blocks that succeeded; they run again where Python moves to.
    history: Vec<PastBlock>,
    /// Packages installed for Python; they are installed again where it moves to.
    installed: Vec<Requirement>,
    /// Notes about a move, for the next result.
    notes: Vec<String>,
    /// True if variables were lost in a move, and no result has said so yet.
    lost: bool,
}

/// The state of one candidate in this session.
#[derive(Debug)]
enum CandidateState {
    /// No block has needed it yet.
    Unopened,
    /// A live session, and the last file change that it has.
    Open { session: Box<dyn Session>, seen: u64 },
    /// It cannot serve this session, for a reason.
    Unusable(String),
}

/// A block that succeeded, to be run again elsewhere.
#[derive(Debug)]
struct PastBlock {
    /// The request, without sink and functions of the host.
    request: ExecutionRequest,
    /// The functions of the host that it was granted, with the calls that it made.
    host: Option<Arc<HostReplay>>,
}

impl PastBlock {
    /// Returns the memory that it takes, in bytes.
    fn bytes(&self) -> usize {
        self.request.code.len() + self.host.as_ref().map_or(0, |host| host.bytes())
    }
}

/// The ability of a candidate to serve the session.
enum Readiness {
    /// Its session is open and has all files.
    Ready,
    /// It cannot serve the session, for this reason.
    Unusable(String),
}

/// A file's content, and the change that made it.
#[derive(Debug)]
struct FileVersion {
    change: u64,
    content: Arc<Vec<u8>>,
}

impl AutoSession {
    pub fn new(candidates: Arc<Vec<Candidate>>, mut spec: SessionSpec) -> Result<Self> {
        let files = std::mem::take(&mut spec.files);
        let states = candidates.iter().map(|_| CandidateState::Unopened).collect();
        let mut session = Self {
            candidates,
            spec,
            states,
            files: BTreeMap::new(),
            changes: 0,
            python: None,
            history: Vec::new(),
            installed: Vec::new(),
            notes: Vec::new(),
            lost: false,
        };
        files.into_iter().try_for_each(|file| session.record_file(&file.path, file.content))?;
        Ok(session)
    }

    /// Records a file of the workspace.
    fn record_file(&mut self, path: &str, content: Arc<Vec<u8>>) -> Result<()> {
        let path = workspace_path(path)
            .map_err(|why| Error::Invalid { what: "file name", why: why.to_string() })?;
        self.changes += 1;
        self.files.insert(path, FileVersion { change: self.changes, content });
        Ok(())
    }

    /// Prepares the candidate at `index` to run `language`: starts it, opens its session and brings
    /// the files up to date.
    ///
    /// # Errors
    /// The loss of an open session; another candidate cannot replace it.
    async fn prepare(&mut self, index: usize, language: &Language) -> Result<Readiness> {
        if let Err(why) = self.candidates[index].runs(language).await {
            return Ok(Readiness::Unusable(why));
        }
        self.open(index).await
    }

    /// Opens the session of the candidate at `index` if necessary, and brings its files up to date.
    async fn open(&mut self, index: usize) -> Result<Readiness> {
        if let CandidateState::Unopened = self.states[index] {
            let place = match self.candidates[index].executor().await {
                Err(why) => CandidateState::Unusable(why),
                Ok(executor) => match executor.open(self.spec.clone()).await {
                    Ok(session) => CandidateState::Open { session, seen: 0 },
                    // A value that is invalid for one, such as too little memory, can be valid for
                    // the next.
                    Err(
                        error @ (Error::Unsupported(_)
                        | Error::Start { .. }
                        | Error::Invalid { .. }),
                    ) => CandidateState::Unusable(with_causes(&error)),
                    Err(error) => return Err(error),
                },
            };
            self.states[index] = place;
        }
        match &mut self.states[index] {
            CandidateState::Open { session, seen } => {
                for (path, version) in
                    self.files.iter().filter(|(_, version)| version.change > *seen)
                {
                    session
                        .write_file(InputFile {
                            path: path.clone(),
                            content: version.content.clone(),
                        })
                        .await?;
                }
                *seen = self.changes;
                Ok(Readiness::Ready)
            }
            CandidateState::Unusable(why) => Ok(Readiness::Unusable(why.clone())),
            CandidateState::Unopened => Ok(Readiness::Unusable("it was not started".to_owned())),
        }
    }

    /// Runs a block in a session that [`prepare`](Self::prepare) has opened.
    async fn run_at(&mut self, index: usize, request: ExecutionRequest) -> Result<ExecutionResult> {
        let CandidateState::Open { session, seen } = &mut self.states[index] else {
            return Err(Error::Lost {
                what: "a session".to_owned(),
                source: "it is not open".into(),
            });
        };
        let written = request.filename.clone().map(|path| (path, request.code.clone()));
        let result = session.execute(request).await?;
        if let Some((path, code)) = written {
            self.changes += 1;
            if let Ok(path) = workspace_path(&path) {
                self.files.insert(
                    path,
                    FileVersion { change: self.changes, content: Arc::new(code.into_bytes()) },
                );
            }
        }
        for artifact in &result.artifacts {
            self.changes += 1;
            // A file whose name is refused elsewhere stays in this session.
            if let Ok(path) = workspace_path(&artifact.path) {
                self.files.insert(
                    path,
                    FileVersion { change: self.changes, content: artifact.content.clone() },
                );
            }
        }
        // It has its own changes already.
        *seen = self.changes;
        Ok(result)
    }

    /// Moves Python to the candidate at `index`, whose session is open, by running its blocks
    /// again.
    async fn move_python(&mut self, index: usize, why: &str) -> Result<()> {
        let name = self.candidates[index].name.clone();
        let history = std::mem::take(&mut self.history);
        let blocks = history.len();
        self.python = Some(index);
        self.notes.push(format!("moved to {name}: {why}"));
        for (number, past) in history.iter().enumerate() {
            let which = format!("earlier block {} of {blocks}", number + 1);
            if let Some(why) = self.run_again(index, past).await? {
                self.notes.push(format!("{which} {why}: variables are lost"));
                self.lost = true;
                break;
            }
        }
        if blocks > 0 && !self.lost {
            self.notes.push(format!(
                "the earlier Python blocks ({blocks}) ran again there; their output was discarded"
            ));
        }
        self.history = history;
        Ok(())
    }

    /// Runs a block once more, without its effects on the host. Returns the reason if its variables
    /// are not the same as before.
    async fn run_again(&mut self, index: usize, past: &PastBlock) -> Result<Option<&'static str>> {
        if past.host.as_ref().is_some_and(|host| !host.is_complete()) {
            return Ok(Some(
                "called host functions with more data than is recorded, so it did not run again",
            ));
        }
        let mut request = past.request.clone();
        if let Some(host) = &past.host {
            host.rerun(NewCalls::Refuse);
            request.host = Some(host.clone());
        }
        let result = self.run_at(index, request).await?;
        if past.host.as_ref().is_some_and(|host| !host.is_faithful()) {
            return Ok(Some("ran again there and called other host functions than before"));
        }
        Ok((!result.outcome.is_success()).then_some("ran again there and failed"))
    }

    /// Returns the size of the blocks and calls that can still be kept, in bytes.
    fn history_room(&self) -> usize {
        MAX_HISTORY_BYTES.saturating_sub(self.history.iter().map(PastBlock::bytes).sum())
    }
}

#[async_trait]
impl Session for AutoSession {
    async fn execute(&mut self, mut request: ExecutionRequest) -> Result<ExecutionResult> {
        let candidates = self.candidates.clone();
        let language = request.language.clone();
        let is_python = language == Language::PYTHON;
        let first = self.python.filter(|_| is_python).unwrap_or(0);
        let mut reasons = Vec::new();
        for index in first..candidates.len() {
            let readiness = tokio::select! {
                biased;
                () = request.cancel.cancelled() => {
                    let isolation = candidates[index].isolation;
                    return Ok(ExecutionResult::not_run(NAME, isolation, Outcome::Cancelled));
                }
                readiness = self.prepare(index, &language) => readiness?,
            };
            let name = &candidates[index].name;
            if let Readiness::Unusable(why) = readiness {
                reasons.push(format!("{name}: {why}"));
                continue;
            }
            let room = self.history_room().saturating_sub(request.code.len());
            let host = request.host.take().map(|tools| Arc::new(HostReplay::new(tools, room)));
            let past = PastBlock {
                request: ExecutionRequest { sink: None, ..request.clone() },
                host: host.clone(),
            };
            request.host = host.map(|host| host as _);
            let mut result = self.run_at(index, request).await?;
            if is_python {
                self.python = Some(index);
                if result.outcome.is_success() && past.bytes() <= self.history_room() {
                    self.history.push(past);
                }
                result.state_lost |= std::mem::take(&mut self.lost);
                result.notes.append(&mut self.notes);
            }
            if !reasons.is_empty() {
                result.notes.push(format!("ran in {name}; {}", reasons.join("; ")));
            }
            return Ok(result);
        }
        let isolation =
            self.candidates.last().map_or(Isolation::None, |candidate| candidate.isolation);
        let what = format!("{language}: {}", reasons.join("; "));
        Ok(ExecutionResult::not_run(NAME, isolation, Outcome::Unsupported { what }))
    }

    async fn write_file(&mut self, file: InputFile) -> Result<()> {
        self.record_file(&file.path, file.content)?;
        // The session that runs Python refuses a file beyond its quota at once.
        match self.python {
            Some(index) => self.open(index).await.map(drop),
            None => Ok(()),
        }
    }

    async fn install(&mut self, packages: &[Requirement]) -> Result<InstallReport> {
        let candidates = self.candidates.clone();
        let asked = packages.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let first = self.python.unwrap_or(0);
        let all: Vec<_> = self.installed.iter().chain(packages).cloned().collect();
        let mut reasons = Vec::new();
        for index in first..candidates.len() {
            // The session that runs Python has the earlier packages already.
            let wanted = if index == first { packages } else { &all };
            let readiness = self.prepare(index, &Language::PYTHON).await?;
            let name = &candidates[index].name;
            let why = match (readiness, &mut self.states[index]) {
                (Readiness::Ready, CandidateState::Open { session, .. }) => {
                    match session.install(wanted).await {
                        Ok(report) => {
                            if index > first {
                                let why = format!(
                                    "{asked} cannot be installed in a stricter one ({})",
                                    reasons.join("; ")
                                );
                                self.move_python(index, &why).await?;
                            }
                            self.python = Some(index);
                            self.installed = all;
                            return Ok(report);
                        }
                        Err(Error::Install { why, .. } | Error::Unsupported(why)) => why,
                        Err(error) => return Err(error),
                    }
                }
                (Readiness::Unusable(why), _) => why,
                (Readiness::Ready, _) => "it is not open".to_owned(),
            };
            reasons.push(format!("{name}: {why}"));
        }
        Err(Error::Install { packages: asked, why: reasons.join("; ") })
    }

    async fn close(self: Box<Self>) -> Result<()> {
        let mut closed = Ok(());
        for place in self.states {
            if let CandidateState::Open { session, .. } = place {
                closed = closed.and(session.close().await);
            }
        }
        closed
    }
}
