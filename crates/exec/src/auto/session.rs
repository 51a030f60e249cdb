//! A session that is spread over several executors.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;

use super::{
    NAME,
    candidate::{Candidate, reason},
    record::{Past, Record, Recorder, Replay, again},
};
use crate::{
    Error, ExecutionRequest, ExecutionResult, InputFile, InstallReport, Isolation, Language,
    Outcome, Requirement, Result, Session, SessionSpec, workspace::workspace_path,
};

/// The most text of blocks that is kept to be run again, with what they called on the host, in bytes.
const MOST_HISTORY: usize = 16 << 20;

/// A session whose blocks run in different executors.
#[derive(Debug)]
pub(super) struct AutoSession {
    candidates: Arc<Vec<Candidate>>,
    /// What a new session is to be, without its files.
    spec: SessionSpec,
    /// One for each candidate.
    places: Vec<Place>,
    /// The workspace: what was put in, and the latest version of what blocks made or changed.
    files: BTreeMap<String, Version>,
    /// Counts changes of files.
    changes: u64,
    /// Where Python is, once it has run: no stricter candidate gets another block of it.
    python: Option<usize>,
    /// Python blocks that succeeded, to be run again where Python moves to.
    history: Vec<Past>,
    /// What was installed for Python, to be installed again where it moves to.
    installed: Vec<Requirement>,
    /// What the next result has to say: about a move.
    notes: Vec<String>,
    /// Whether variables were lost in a move.
    lost: bool,
}

/// A candidate's part in the session.
#[derive(Debug)]
enum Place {
    /// Nothing has needed it yet.
    New,
    /// A live session, and the last change of files that it knows.
    Open { session: Box<dyn Session>, seen: u64 },
    /// It cannot serve this session, for a reason.
    Out(String),
}

/// A file's content, and the change that made it.
#[derive(Debug)]
struct Version {
    change: u64,
    content: Arc<Vec<u8>>,
}

impl AutoSession {
    pub(super) fn new(candidates: Arc<Vec<Candidate>>, mut spec: SessionSpec) -> Result<Self> {
        let files = std::mem::take(&mut spec.files);
        let places = candidates.iter().map(|_| Place::New).collect();
        let mut session = Self {
            candidates,
            spec,
            places,
            files: BTreeMap::new(),
            changes: 0,
            python: None,
            history: Vec::new(),
            installed: Vec::new(),
            notes: Vec::new(),
            lost: false,
        };
        files.into_iter().try_for_each(|file| session.keep(&file.path, file.content))?;
        Ok(session)
    }

    /// Takes down a file of the workspace.
    fn keep(&mut self, path: &str, content: Arc<Vec<u8>>) -> Result<()> {
        let path = workspace_path(path)
            .map_err(|why| Error::Invalid { what: "file name", why: why.to_string() })?;
        self.changes += 1;
        self.files.insert(path, Version { change: self.changes, content });
        Ok(())
    }

    /// Makes sure that the candidate at `index` has a session that knows all files.
    ///
    /// The inner error is why it cannot serve this session. The outer one is that what was asked makes no sense anywhere, or
    /// that a session that was live is lost.
    async fn reach(&mut self, index: usize) -> Result<Result<(), String>> {
        if let Place::New = self.places[index] {
            let place = match self.candidates[index].executor().await {
                Err(why) => Place::Out(why),
                Ok(executor) => match executor.open(self.spec.clone()).await {
                    Ok(session) => Place::Open { session, seen: 0 },
                    // A value that makes no sense for one, such as too little memory, may do for the next.
                    Err(
                        error @ (Error::Unsupported(_)
                        | Error::Start { .. }
                        | Error::Invalid { .. }),
                    ) => Place::Out(reason(&error)),
                    Err(error) => return Err(error),
                },
            };
            self.places[index] = place;
        }
        match &mut self.places[index] {
            Place::Open { session, seen } => {
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
                Ok(Ok(()))
            }
            Place::Out(why) => Ok(Err(why.clone())),
            Place::New => Ok(Err("it was not started".to_owned())),
        }
    }

    /// Runs a block in a session that [`reach`](Self::reach) has made ready.
    async fn run_at(&mut self, index: usize, request: ExecutionRequest) -> Result<ExecutionResult> {
        let Place::Open { session, seen } = &mut self.places[index] else {
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
                    Version { change: self.changes, content: Arc::new(code.into_bytes()) },
                );
            }
        }
        for artifact in &result.artifacts {
            self.changes += 1;
            // Names that no other workspace takes stay where they are.
            if let Ok(path) = workspace_path(&artifact.path) {
                self.files.insert(
                    path,
                    Version { change: self.changes, content: artifact.content.clone() },
                );
            }
        }
        // Its own changes are no news to it.
        *seen = self.changes;
        Ok(result)
    }

    /// Moves Python to the candidate at `index`, whose session is ready: runs again what it has done so far.
    async fn move_python(&mut self, index: usize, why: &str) -> Result<()> {
        let name = self.candidates[index].name.clone();
        let history = std::mem::take(&mut self.history);
        let blocks = history.len();
        self.python = Some(index);
        self.notes.push(format!("moved to {name}: {why}"));
        for (number, past) in history.iter().enumerate() {
            let which = format!("block {} of the {blocks} before", number + 1);
            if let Some(why) = self.run_again(index, past).await? {
                self.notes.push(format!("{which} {why}: variables are lost"));
                self.lost = true;
                break;
            }
        }
        if blocks > 0 && !self.lost {
            self.notes.push(format!(
                "the {blocks} Python blocks before were run again there, their output dropped"
            ));
        }
        self.history = history;
        Ok(())
    }

    /// Runs a block once more, without what it did to the host. Gives why its variables are not what they were, if so.
    async fn run_again(&mut self, index: usize, past: &Past) -> Result<Option<&'static str>> {
        if past.record.is_cut {
            return Ok(Some(
                "called functions of the host with more data than is kept, and was not run again",
            ));
        }
        let mut request = past.request.clone();
        let replay =
            request.host.take().map(|tools| Arc::new(Replay::new(tools, past.record.clone())));
        request.host = replay.clone().map(|replay| replay as _);
        let result = self.run_at(index, request).await?;
        if replay.is_some_and(|replay| !replay.agrees()) {
            return Ok(Some(
                "was run again there and called other functions of the host than before",
            ));
        }
        Ok((!result.outcome.is_success()).then_some("was run again there and failed"))
    }

    /// How much more of blocks and their calls can be kept, in bytes.
    fn room(&self) -> usize {
        let kept: usize =
            self.history.iter().map(|past| past.request.code.len() + past.record.bytes).sum();
        MOST_HISTORY.saturating_sub(kept)
    }

    /// Takes down a Python block that succeeded, and what it called.
    fn remember(&mut self, request: ExecutionRequest, record: Record) {
        if request.code.len() + record.bytes <= self.room() {
            self.history.push(Past { request, record: Arc::new(record) });
        }
    }
}

#[async_trait]
impl Session for AutoSession {
    async fn execute(&mut self, mut request: ExecutionRequest) -> Result<ExecutionResult> {
        let candidates = self.candidates.clone();
        let is_python = request.language.as_ref() == Some(&Language::PYTHON);
        let first = self.python.filter(|_| is_python).unwrap_or(0);
        let mut reasons = Vec::new();
        let Some(language) = request.language.clone() else {
            let what = "code of unknown language: name its language".to_owned();
            return Ok(ExecutionResult::not_run(
                NAME,
                self.candidates[0].isolation,
                Outcome::Unsupported { what },
            ));
        };
        for index in first..candidates.len() {
            let ready = async {
                match candidates[index].runs(&language).await {
                    Ok(()) => self.reach(index).await,
                    Err(why) => Ok(Err(why)),
                }
            };
            let able = tokio::select! {
                biased;
                () = request.cancel.cancelled() => {
                    return Ok(ExecutionResult::not_run(NAME, candidates[index].isolation, Outcome::Cancelled));
                }
                able = ready => able?,
            };
            let name = &candidates[index].name;
            if let Err(why) = able {
                reasons.push(format!("{name}: {why}"));
                continue;
            }
            let kept = again(&request);
            let room = self.room().saturating_sub(request.code.len());
            let recorder = request.host.take().map(|tools| Arc::new(Recorder::new(tools, room)));
            request.host = recorder.clone().map(|recorder| recorder as _);
            let mut result = self.run_at(index, request).await?;
            if is_python {
                self.python = Some(index);
                if result.outcome.is_success() {
                    self.remember(
                        kept,
                        recorder.map(|recorder| recorder.take()).unwrap_or_default(),
                    );
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
        self.keep(&file.path, file.content)?;
        // Where Python is, a file that has no room is refused at once.
        match self.python {
            Some(index) => self.reach(index).await.map(drop),
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
            // Where Python is, the others are installed already.
            let wanted = if index == first { packages } else { &all };
            let able = match candidates[index].runs(&Language::PYTHON).await {
                Ok(()) => self.reach(index).await?,
                Err(why) => Err(why),
            };
            let name = &candidates[index].name;
            let why = match (able, &mut self.places[index]) {
                (Ok(()), Place::Open { session, .. }) => match session.install(wanted).await {
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
                },
                (Err(why), _) => why,
                (Ok(()), _) => "it is not open".to_owned(),
            };
            reasons.push(format!("{name}: {why}"));
        }
        Err(Error::Install { packages: asked, why: reasons.join("; ") })
    }

    async fn close(self: Box<Self>) -> Result<()> {
        let mut closed = Ok(());
        for place in self.places {
            if let Place::Open { session, .. } = place {
                closed = closed.and(session.close().await);
            }
        }
        closed
    }
}
