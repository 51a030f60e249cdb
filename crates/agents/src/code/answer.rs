//! The message of the agent that ran code, in AutoGen's form.
//!
//! ```text
//! exitcode: 0 (execution succeeded)
//! Code output: 42
//! ```
//!
//! If there are several blocks, each has a line of its own, so that the model sees which one
//! failed. Notes, such as a refused installation, and the names of files follow. Every part has a
//! maximum size, however many blocks and files there are.

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

/// The maximum size of an image for a model, in bytes: the limit of the large providers.
const MAX_IMAGE_BYTES: u64 = 5 * 1024 * 1024;

/// The maximum size of the notes, in bytes: a program may create a thousand files with long names.
const MAX_NOTES_BYTES: usize = 4 * 1024;

/// Creates the message that reports a run.
///
/// `refusals` are lines about packages that a person refused.
pub fn report_message(
    agent: &str,
    mut report: RunReport,
    refusals: &[String],
    max_output_bytes: usize,
    max_images: usize,
) -> Message {
    let artifacts: Vec<_> =
        report.blocks.iter_mut().flat_map(|block| std::mem::take(&mut block.artifacts)).collect();
    let text = report_text(&report, &artifacts, refusals, max_output_bytes);
    let images: Vec<_> = artifacts.iter().filter_map(image).take(max_images).collect();
    let content = if images.is_empty() {
        Content::Text(text)
    } else {
        Content::Parts(std::iter::once(Part::Text { text }).chain(images).collect())
    };
    Message { name: agent.to_owned(), content, artifacts, ..Message::default() }
}

/// Creates the message for code that was not run.
pub fn not_run(agent: &str, why: &str) -> Message {
    let why = if why.is_empty() { "it was not approved" } else { why };
    Message::new(agent, format!("The code was not run: {why}"))
}

/// The note with the code that a person ran instead of the model's. Each line is marked, so that
/// nobody takes it for code that is to run.
pub fn edited_note(blocks: &[CodeBlock], max_bytes: usize) -> String {
    let code = blocks.iter().map(|block| block.code.trim_end()).collect::<Vec<_>>().join("\n\n");
    let mut text = "\nnote: the person ran this in place of your code:".to_owned();
    for line in head_and_tail(&code, max_bytes).lines() {
        text.push_str("\n| ");
        text.push_str(line);
    }
    text
}

/// The exit code of a run, as its message has it.
pub fn exit_status(report: &RunReport) -> i32 {
    report.blocks.iter().find_map(failure_code).unwrap_or(i32::from(report.exit_code))
}

fn image(artifact: &Artifact) -> Option<Part> {
    let is_visible = matches!(
        artifact.media_type.as_str(),
        "image/png" | "image/jpeg" | "image/gif" | "image/webp"
    );
    (is_visible && artifact.bytes <= MAX_IMAGE_BYTES && !artifact.content.is_empty()).then(|| {
        Part::Image(Image {
            media_type: artifact.media_type.clone(),
            data: artifact.content.clone(),
        })
    })
}

fn report_text(
    report: &RunReport,
    artifacts: &[Artifact],
    refusals: &[String],
    max_output_bytes: usize,
) -> String {
    let code = exit_status(report);
    let words = if code == 0 { "execution succeeded" } else { "execution failed" };
    let shown = match report.blocks.as_slice() {
        [block] if block.outcome != Outcome::Skipped => output(block, max_output_bytes),
        blocks => {
            let max_bytes = max_output_bytes + MAX_NOTES_BYTES;
            head_and_tail(&list(blocks, max_output_bytes), max_bytes).into_owned()
        }
    };
    let notes = notes(report, artifacts, refusals);
    format!(
        "exitcode: {code} ({words})\nCode output: {shown}{}",
        head_and_tail(&notes, MAX_NOTES_BYTES)
    )
}

/// Several blocks, each with its output below a line of its own.
fn list(blocks: &[BlockReport], max_output_bytes: usize) -> String {
    let outputs: Vec<_> = blocks.iter().map(|block| output(block, max_output_bytes)).collect();
    let each = fair_share(outputs.iter().map(String::len).collect(), max_output_bytes);
    let mut text = String::new();
    for (block, output) in blocks.iter().zip(outputs) {
        let language = block.language.as_ref().map_or("unknown", |language| language.as_str());
        let named = block.filename.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
        let _ = write!(
            text,
            "\n[block {}, {language}{named}: {}]\n",
            block.index,
            ending(&block.outcome)
        );
        text.push_str(&head_and_tail(&output, each));
    }
    text
}

/// The maximum length of each text, so that together they have at most about `max`. Long texts
/// share what short ones do not use.
fn fair_share(mut lengths: Vec<usize>, max: usize) -> usize {
    lengths.sort_unstable();
    let (mut remaining, mut count) = (max, lengths.len());
    for length in lengths {
        if length > remaining / count {
            return remaining / count;
        }
        remaining -= length;
        count -= 1;
    }
    max
}

/// The notes, each on a line of its own, without repetitions.
fn notes(report: &RunReport, artifacts: &[Artifact], refusals: &[String]) -> String {
    let mut lines: Vec<String> = Vec::new();
    if let Some(error) = &report.error {
        let causes = error.causes.iter().map(|cause| format!(": {cause}")).collect::<String>();
        lines.push(format!("note: the sandbox failed: {}{causes}", error.message));
        lines.push(
            "note: the next block gets a new sandbox, without earlier variables and imports"
                .to_owned(),
        );
    }
    let noted = report.blocks.iter().flat_map(|block| &block.notes);
    lines.extend(noted.chain(refusals).map(|note| format!("note: {note}")));
    let refused = report.blocks.iter().flat_map(|block| &block.refused);
    // A program chose the name: it must not look like a line of this message.
    lines.extend(
        refused.map(|file| one_line(&format!("note: {} was refused: {}", file.path, file.reason))),
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
    let mut seen = HashSet::new();
    lines
        .into_iter()
        .filter(|line| seen.insert(line.clone()))
        .map(|line| format!("\n{line}"))
        .collect()
}

/// The exit code of a block that failed, as AutoGen has it: 124 for a timeout.
fn failure_code(block: &BlockReport) -> Option<i32> {
    match &block.outcome {
        Outcome::Exited { code: 0 } | Outcome::Skipped => None,
        Outcome::Exited { code } => Some(*code),
        Outcome::Denied { .. } | Outcome::Unsupported { .. } => Some(1),
        outcome => Some(i32::from(outcome.exit_code())),
    }
}

/// The output of a block, and the reason for its end if the output does not say it.
fn output(block: &BlockReport, max_bytes: usize) -> String {
    let both = match (block.stdout.as_str(), block.stderr.as_str()) {
        (stdout, "") => stdout.to_owned(),
        ("", stderr) => stderr.to_owned(),
        (stdout, stderr) if stdout.ends_with('\n') => format!("{stdout}{stderr}"),
        (stdout, stderr) => format!("{stdout}\n{stderr}"),
    };
    let mut text = head_and_tail(&both, max_bytes).into_owned();
    let dropped = block.dropped.stdout + block.dropped.stderr;
    if dropped > 0 {
        push_line(&mut text, &format!("[{dropped} bytes of output were not kept]"));
    }
    match &block.outcome {
        Outcome::Exited { .. } | Outcome::Skipped => {}
        Outcome::LimitExceeded { limit: Limit::Wall } => push_line(&mut text, "Timeout"),
        outcome => push_line(&mut text, &ending(outcome)),
    }
    text
}

fn push_line(text: &mut String, line: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
}

/// The end of a block in words.
fn ending(outcome: &Outcome) -> String {
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
