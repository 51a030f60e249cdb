//! What the agent that runs code answers, in AutoGen's form.
//!
//! ```text
//! exitcode: 0 (execution succeeded)
//! Code output: 42
//! ```
//!
//! Of several blocks each has a line of its own, so that the model sees which one failed. Notes, such as an installation
//! that was refused, and the names of files follow. All is bounded, however many blocks and files there are.

use std::{collections::HashSet, fmt::Write as _};

use cellblock_answer::{
    CodeBlock,
    run::{BlockReport, RunReport},
};
use cellblock_exec::{Artifact, Limit, Outcome};

use crate::{
    message::{Content, Image, Message, Part},
    sanitize::one_line,
    text::head_and_tail,
};

/// The largest picture that is sent to a model, in bytes: what the large providers take.
const MAX_IMAGE_BYTES: u64 = 5 * 1024 * 1024;

/// The most that is told besides the output, in bytes: a program may make a thousand files with long names.
const MAX_NOTES_BYTES: usize = 4 * 1024;

/// The message that tells what became of a run.
///
/// `refusals` are lines about packages that a person did not want.
pub(crate) fn answer(
    agent: &str,
    mut report: RunReport,
    refusals: &[String],
    output_bytes: usize,
    images: usize,
) -> Message {
    let artifacts: Vec<_> =
        report.blocks.iter_mut().flat_map(|block| std::mem::take(&mut block.artifacts)).collect();
    let text = told(&report, &artifacts, refusals, output_bytes);
    let pictures: Vec<_> = artifacts.iter().filter_map(picture).take(images).collect();
    let content = if pictures.is_empty() {
        Content::Text(text)
    } else {
        Content::Parts(std::iter::once(Part::Text { text }).chain(pictures).collect())
    };
    Message { name: agent.to_owned(), content, artifacts, ..Message::default() }
}

/// The message that says that code was not run.
pub(crate) fn not_run(agent: &str, why: &str) -> Message {
    let why = if why.is_empty() { "it was not approved" } else { why };
    Message::new(agent, format!("The code was not run: {why}"))
}

/// What is told of code that a person had run in place of what was written. Each line is marked, so that nobody takes it for
/// code that is yet to be run.
pub(crate) fn edited_note(blocks: &[CodeBlock], most: usize) -> String {
    let code = blocks.iter().map(|block| block.code.trim_end()).collect::<Vec<_>>().join("\n\n");
    let mut text = "\nnote: the person ran this in place of your code:".to_owned();
    for line in head_and_tail(&code, most).lines() {
        text.push_str("\n| ");
        text.push_str(line);
    }
    text
}

/// The exit code of a run, as the answer tells it.
pub(crate) fn exit_status(report: &RunReport) -> i32 {
    report.blocks.iter().find_map(failed_with).unwrap_or(i32::from(report.exit_code))
}

fn picture(artifact: &Artifact) -> Option<Part> {
    let seen = matches!(
        artifact.media_type.as_str(),
        "image/png" | "image/jpeg" | "image/gif" | "image/webp"
    );
    (seen && artifact.bytes <= MAX_IMAGE_BYTES && !artifact.content.is_empty()).then(|| {
        Part::Image(Image {
            media_type: artifact.media_type.clone(),
            data: artifact.content.clone(),
        })
    })
}

fn told(
    report: &RunReport,
    artifacts: &[Artifact],
    refusals: &[String],
    output_bytes: usize,
) -> String {
    let code = exit_status(report);
    let words = if code == 0 { "execution succeeded" } else { "execution failed" };
    let shown = match report.blocks.as_slice() {
        [block] if !is_quiet(block) => output(block, output_bytes),
        blocks => head_and_tail(&listed(blocks, output_bytes), output_bytes + MAX_NOTES_BYTES)
            .into_owned(),
    };
    let notes = notes(report, artifacts, refusals);
    format!(
        "exitcode: {code} ({words})\nCode output: {shown}{}",
        head_and_tail(&notes, MAX_NOTES_BYTES)
    )
}

/// Several blocks, each with its output under a line of its own.
fn listed(blocks: &[BlockReport], output_bytes: usize) -> String {
    let outputs: Vec<_> = blocks.iter().map(|block| output(block, output_bytes)).collect();
    let each = share(outputs.iter().map(String::len).collect(), output_bytes);
    let mut text = String::new();
    for (block, output) in blocks.iter().zip(outputs) {
        let language = block.language.as_ref().map_or("unknown", |language| language.as_str());
        let named = block.filename.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
        let _ = write!(
            text,
            "\n[block {}, {language}{named}: {}]\n",
            block.index,
            ended(&block.outcome)
        );
        text.push_str(&head_and_tail(&output, each));
    }
    text
}

/// How much of each text may be shown so that all together are at most about `most`: what short ones leave goes to the long
/// ones.
fn share(mut lengths: Vec<usize>, most: usize) -> usize {
    lengths.sort_unstable();
    let (mut left, mut count) = (most, lengths.len());
    for length in lengths {
        if length > left / count {
            return left / count;
        }
        left -= length;
        count -= 1;
    }
    most
}

/// What else there is to say, each on a line of its own.
fn notes(report: &RunReport, artifacts: &[Artifact], refusals: &[String]) -> String {
    let mut lines: Vec<String> = Vec::new();
    if let Some(error) = &report.error {
        let causes = error.causes.iter().map(|cause| format!(": {cause}")).collect::<String>();
        lines.push(format!("note: the sandbox failed: {}{causes}", error.message));
        lines.push(
            "note: the next code gets a new one, without variables and imports of earlier blocks"
                .to_owned(),
        );
    }
    lines.extend(
        report.blocks.iter().flat_map(|block| &block.notes).map(|note| format!("note: {note}")),
    );
    lines.extend(refusals.iter().map(|refusal| format!("note: {refusal}")));
    let refused = report.blocks.iter().flat_map(|block| &block.refused);
    // A program chose the name: it must not look like a line of ours.
    lines.extend(
        refused
            .map(|file| one_line(&format!("note: {} was not taken: {}", file.path, file.reason))),
    );
    if report.blocks.iter().any(|block| block.state_lost) {
        lines.push(
            "note: variables and imports of earlier blocks are lost; files are kept".to_owned(),
        );
    }
    if !artifacts.is_empty() {
        let names: Vec<_> = artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
        lines.push(format!("files: {}", names.join(", ")));
    }
    let mut said = HashSet::new();
    lines
        .into_iter()
        .filter(|line| said.insert(line.clone()))
        .map(|line| format!("\n{line}"))
        .collect()
}

/// Whether there is nothing to say of a block.
fn is_quiet(block: &BlockReport) -> bool {
    block.outcome == Outcome::Skipped
}

/// The exit code of a block that did not succeed, as AutoGen gives it: 124 for a timeout.
fn failed_with(block: &BlockReport) -> Option<i32> {
    match &block.outcome {
        Outcome::Exited { code: 0 } | Outcome::Skipped => None,
        Outcome::Exited { code } => Some(*code),
        Outcome::Denied { .. } | Outcome::Unsupported { .. } => Some(1),
        outcome => Some(i32::from(outcome.exit_code())),
    }
}

/// What a block wrote, and why it ended if its output does not say so.
fn output(block: &BlockReport, most: usize) -> String {
    let both = match (block.stdout.as_str(), block.stderr.as_str()) {
        (stdout, "") => stdout.to_owned(),
        ("", stderr) => stderr.to_owned(),
        (stdout, stderr) if stdout.ends_with('\n') => format!("{stdout}{stderr}"),
        (stdout, stderr) => format!("{stdout}\n{stderr}"),
    };
    let mut text = head_and_tail(&both, most).into_owned();
    let dropped = block.dropped.stdout + block.dropped.stderr;
    if dropped > 0 {
        line(&mut text, &format!("[{dropped} bytes of output were not kept]"));
    }
    match &block.outcome {
        Outcome::Exited { .. } | Outcome::Skipped => {}
        Outcome::LimitExceeded { limit: Limit::Wall } => line(&mut text, "Timeout"),
        outcome => line(&mut text, &ended(outcome)),
    }
    text
}

fn line(text: &mut String, line: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
}

/// How a block ended, in words.
fn ended(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited { code } => format!("exit code {code}"),
        Outcome::Signaled { signal } => format!("ended by signal {signal}"),
        Outcome::LimitExceeded { limit } => format!("stopped at the limit on {limit}"),
        Outcome::Denied { what } => format!("denied: {what}"),
        Outcome::Unsupported { what } => format!("cannot run here: {what}"),
        Outcome::Cancelled => "cancelled".to_owned(),
        Outcome::Skipped => "not run".to_owned(),
        other => format!("{other:?}"),
    }
}
