//! The run of one block: its install commands, its attempts, and the packages installed between
//! them.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use cellblock_exec::{
    Artifact, Error, ExecutionRequest, ExecutionResult, HostReplay, HostTools, InputFile, Language,
    MAX_REPLAY_BYTES, NewCalls, Outcome, Requirement, Result, Session, workspace::artifact_path,
};

use super::{
    context::RunContext,
    install::{Installation, install, missing_packages},
    report::{Attempt, BlockReport, Dropped},
};
use crate::{CodeBlock, language::is_program, packages::split_installs};

/// Runs one block.
///
/// # Errors
/// A failure of the sandbox.
pub async fn run_block(
    run: &mut RunContext<'_>,
    session: &mut dyn Session,
    block: &CodeBlock,
) -> Result<BlockReport> {
    let start = Instant::now();
    let mut report = BlockReport::not_run(block, Outcome::Exited { code: 0 });
    match plan(run, block) {
        Plan::Refuse(outcome) => report.outcome = outcome,
        Plan::Save => save(session, block, &mut report).await?,
        Plan::Run { language, requests, code } => {
            let proceed =
                install_requested(run, session, requests, code.is_some(), &mut report).await?;
            if let Some(code) = code.filter(|_| proceed) {
                attempt(run, session, block, language, code, &mut report).await?;
            }
        }
    }
    report.duration = start.elapsed();
    Ok(report)
}

/// The way to handle a block.
enum Plan {
    /// It does not run, and ends with this outcome.
    Refuse(Outcome),
    /// It is data to save.
    Save,
    /// Its packages are installed, then the remaining code runs.
    Run { language: Language, requests: Vec<Vec<Requirement>>, code: Option<String> },
}

fn plan(run: &RunContext<'_>, block: &CodeBlock) -> Plan {
    if let Some(refused) = &block.refused_filename {
        return Plan::Refuse(Outcome::Denied { what: refused.to_string() });
    }
    let Some(language) = block.language.clone() else {
        let what = "the block has no language tag, and its language could not be inferred from its \
            code; write a tag after the fence, as in ```python";
        return Plan::Refuse(Outcome::Unsupported { what: what.into() });
    };
    if !is_program(&language) {
        return Plan::Save;
    }
    let split = match split_installs(&language, &block.code) {
        Ok(split) => split,
        Err(refused) => return Plan::Refuse(Outcome::Denied { what: refused.to_string() }),
    };
    if split.code.is_some() && !run.executor.capabilities().languages.contains(&language) {
        return Plan::Refuse(Outcome::Unsupported { what: unsupported_here(run, &language) });
    }
    let requests = split.requests.into_iter().map(|request| request.packages).collect();
    Plan::Run { language, requests, code: split.code }
}

/// Says that a language does not run here, and what could run it.
fn unsupported_here(run: &RunContext<'_>, language: &Language) -> String {
    let here = run
        .executor
        .capabilities()
        .languages
        .iter()
        .map(Language::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    let others: Vec<_> = run
        .options
        .elsewhere
        .iter()
        .filter(|(_, languages)| languages.contains(language))
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    let hint = match others.as_slice() {
        [] => format!(
            "no other available executor runs {language}; run the block yourself, or ask for {here}"
        ),
        others => format!("use the executor {}", others.join(" or ")),
    };
    format!("{language}: the {} executor runs {here}; {hint}", run.executor.name())
}

/// Saves a block of data in the workspace, if it has a file name.
async fn save(
    session: &mut dyn Session,
    block: &CodeBlock,
    report: &mut BlockReport,
) -> Result<()> {
    report.outcome = Outcome::Skipped;
    let language = block.language.as_ref().map(Language::as_str).unwrap_or_default();
    let Some(path) = block.filename.clone() else {
        report.notes.push(format!("{} is data; it was not run", a_block(language)));
        return Ok(());
    };
    let content = Arc::new(block.code.clone().into_bytes());
    match session.write_file(InputFile { path: path.clone(), content: content.clone() }).await {
        Ok(()) => {
            report.notes.push(format!("{} is data; it was saved as {path}", a_block(language)));
            match artifact_path(path.as_bytes()) {
                Ok(path) => report.artifacts.push(Artifact::new(path, content)),
                Err(refused) => report.refused.push(refused),
            }
            Ok(())
        }
        // A conflict with another path, or no room: the fault is in the answer, not in the sandbox.
        Err(Error::Invalid { why, .. }) => {
            report.outcome = Outcome::Denied { what: format!("{path} cannot be saved: {why}") };
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Fulfils the install commands of a block. Returns true if its remaining code should run.
///
/// If code remains, a denied or failed installation becomes a note: models request packages that
/// are installed already, and without a package that is really missing the code fails by itself.
async fn install_requested(
    run: &mut RunContext<'_>,
    session: &mut dyn Session,
    requests: Vec<Vec<Requirement>>,
    code_remains: bool,
    report: &mut BlockReport,
) -> Result<bool> {
    for packages in requests.into_iter().filter(|packages| !packages.is_empty()) {
        let outcome = match install(run, session, &packages).await? {
            Installation::Done(new) => {
                report.installed.extend(new);
                continue;
            }
            Installation::Cancelled => {
                report.outcome = Outcome::Cancelled;
                return Ok(false);
            }
            Installation::Denied(why) => Outcome::Denied { what: why },
            Installation::Unsupported(why) => Outcome::Unsupported { what: why },
            Installation::Failed(why) => {
                if !code_remains {
                    report.stderr.push_str(&format!("{why}\n"));
                }
                report.notes.push(why);
                if code_remains {
                    continue;
                }
                report.outcome = Outcome::Exited { code: 1 };
                return Ok(false);
            }
        };
        match outcome {
            Outcome::Denied { what } | Outcome::Unsupported { what } if code_remains => {
                report.notes.push(what)
            }
            outcome => {
                report.outcome = outcome;
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Runs code until it succeeds, fails for another reason than a missing package, or has used all
/// retries.
async fn attempt(
    run: &mut RunContext<'_>,
    session: &mut dyn Session,
    block: &CodeBlock,
    language: Language,
    code: String,
    report: &mut BlockReport,
) -> Result<()> {
    let mut tried = BTreeSet::new();
    let host = run.options.host.clone();
    let host = host.map(|tools| Arc::new(HostReplay::new(tools, MAX_REPLAY_BYTES)));
    for retry in 0..=run.options.retries {
        if retry > 0 {
            run.observer.retrying(block);
            host.iter().for_each(|host| host.rerun(NewCalls::Forward));
        }
        let start = Instant::now();
        let result = session.execute(request(run, block, &language, &code, host.clone())).await;
        let result = match result {
            Ok(result) => result,
            Err(Error::Unsupported(what)) => {
                report.outcome = Outcome::Unsupported { what };
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        record(report, result, start.elapsed());
        if report.outcome.is_success() || !matches!(report.outcome, Outcome::Exited { .. }) {
            return Ok(());
        }
        let wanted = missing_packages(run, &language, &report.stderr);
        report.notes.extend(wanted.notes);
        if let Some(attempt) = report.attempts.last_mut() {
            attempt.missing = wanted.missing;
        }
        let packages: Vec<_> =
            wanted.packages.into_iter().filter(|package| tried.insert(package.clone())).collect();
        if packages.is_empty() {
            return Ok(());
        }
        if retry == run.options.retries {
            let names = packages.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            report.notes.push(format!(
                "{names} was not installed: the limit on retries ({retry}) is reached"
            ));
            return Ok(());
        }
        if !install_missing(run, session, packages, report).await? {
            return Ok(());
        }
        // Another attempt follows, so the output so far belongs to this one.
        if let Some(attempt) = report.attempts.last_mut() {
            attempt.stdout = Some(std::mem::take(&mut report.stdout));
            attempt.stderr = Some(std::mem::take(&mut report.stderr));
        }
    }
    Ok(())
}

/// Installs the packages that the last attempt missed. Returns true if the code should run again:
/// something new was installed, and nobody cancelled.
async fn install_missing(
    run: &mut RunContext<'_>,
    session: &mut dyn Session,
    packages: Vec<Requirement>,
    report: &mut BlockReport,
) -> Result<bool> {
    let mut changed = false;
    for package in packages {
        match install(run, session, std::slice::from_ref(&package)).await? {
            Installation::Done(new) if new.is_empty() => {
                report.notes.push(format!(
                    "{package} is already installed and does not provide what is missing"
                ));
            }
            Installation::Done(new) => {
                changed = true;
                if let Some(attempt) = report.attempts.last_mut() {
                    attempt.installed.extend(new.clone());
                }
                report.installed.extend(new);
            }
            Installation::Denied(why)
            | Installation::Unsupported(why)
            | Installation::Failed(why) => report.notes.push(why),
            Installation::Cancelled => {
                report.outcome = Outcome::Cancelled;
                return Ok(false);
            }
        }
    }
    Ok(changed)
}

fn request(
    run: &RunContext<'_>,
    block: &CodeBlock,
    language: &Language,
    code: &str,
    host: Option<Arc<HostReplay>>,
) -> ExecutionRequest {
    let observer = run.observer.clone();
    ExecutionRequest {
        code: code.to_owned(),
        language: language.clone(),
        filename: block.filename.clone(),
        stdin: run.options.stdin.clone(),
        wall: None,
        sink: Some(Arc::new(move |stream, bytes| observer.output(stream, bytes))),
        host: host.map(|host| host as Arc<dyn HostTools>),
        cancel: run.options.cancel.clone(),
    }
}

/// Records a result in the block's report. A file of an earlier attempt stays an artifact, in its
/// latest version.
fn record(report: &mut BlockReport, result: ExecutionResult, duration: Duration) {
    report.outcome = result.outcome;
    report.stdout = result.stdout.text();
    report.stderr = result.stderr.text();
    report.dropped = Dropped { stdout: result.stdout.dropped, stderr: result.stderr.dropped };
    report.artifacts.retain(|old| result.artifacts.iter().all(|new| new.path != old.path));
    report.refused = result.refused;
    for artifact in result.artifacts {
        // Our executors check names; an executor of somebody else may not.
        match artifact_path(artifact.path.as_bytes()) {
            Ok(_) => report.artifacts.push(artifact),
            Err(refused) if report.refused.contains(&refused) => {}
            Err(refused) => report.refused.push(refused),
        }
    }
    report.artifacts.sort_by(|one, other| one.path.cmp(&other.path));
    if !matches!(report.outcome, Outcome::Unsupported { .. } | Outcome::Denied { .. }) {
        report.executor = Some(result.executor);
        report.isolation = Some(result.isolation);
        report.watched = result.watched;
    }
    for note in result.notes {
        if !report.notes.contains(&note) {
            report.notes.push(note);
        }
    }
    report.state_lost |= result.state_lost;
    report.attempts.push(Attempt {
        outcome: report.outcome.clone(),
        stdout: None,
        stderr: None,
        missing: Vec::new(),
        installed: Vec::new(),
        duration,
    });
}

/// Returns "a LANGUAGE block" with the right article.
fn a_block(language: &str) -> String {
    let article = if language.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {language} block")
}
