//! The executors of this build: one row each. No other code of the command names an executor.
//!
//! A new executor is its crate, a file below `executors/` with its row, and an entry in
//! [`EXECUTORS`].

mod docker;
mod local;
mod row;
mod wasi;

use std::sync::Arc;

use anyhow::Result;
use cellblock_exec::{
    Check, Error, Executor, Language,
    auto::{Auto, Candidate},
};

pub use row::{Choices, ImageEntry, Images, Row};

use crate::{failure::usage, render::progress::ProgressDisplay};

/// The value of `--executor` that lets cellblock choose for each block.
pub const AUTO: &str = "auto";

/// All executors, strictest isolation first: the order in which `auto` tries them.
pub const EXECUTORS: &[&Row] = &[&wasi::ROW, &docker::ROW, &local::ROW];

/// Starts the executor of this name. With [`AUTO`], returns an executor that starts the others when
/// a block needs them.
///
/// # Errors
/// If there is no such executor, if it does not accept the choices, or if it cannot start.
pub async fn start(name: &str, choices: Choices) -> Result<Arc<dyn Executor>> {
    if name == AUTO {
        return Ok(Arc::new(auto(&choices)?));
    }
    let row = find(name)?;
    check(row, &choices)?;
    Ok((row.start)(choices, ProgressDisplay::default()).await?)
}

/// Checks that `--executor` names an executor or [`AUTO`].
///
/// # Errors
/// If it does not.
pub fn check_name(name: &str) -> Result<()> {
    if name == AUTO { Ok(()) } else { find(name).map(drop) }
}

/// Returns the row of an executor.
///
/// # Errors
/// If there is no executor of this name.
pub fn find(name: &str) -> Result<&'static Row> {
    EXECUTORS.iter().find(|row| row.name == name).copied().ok_or_else(|| {
        let names = EXECUTORS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
        usage(
            format!("there is no executor `{name}`"),
            format!("choose one of {names}, or `{AUTO}` for the strictest that can run the block"),
        )
    })
}

/// Returns the executors other than `name` with the languages that they may run, for messages about
/// a block that `name` cannot run. With [`AUTO`] there are no others.
pub fn others(name: &str) -> Vec<(String, Vec<Language>)> {
    let others = EXECUTORS.iter().filter(|row| name != AUTO && row.name != name);
    others.map(|row| (row.name.to_owned(), (row.languages)())).collect()
}

/// Returns what each executor found out about this machine.
pub async fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for row in EXECUTORS {
        checks.extend((row.checks)().await);
    }
    checks
}

/// Returns the executor whose image has this name. Image names of the strictest executor can be
/// anything, those of the others follow a pattern, so the last executor with a match has it.
pub fn image_owner(name: &str) -> Option<(&'static Row, &'static dyn Images)> {
    let with_images = EXECUTORS.iter().rev().filter_map(|row| Some((*row, row.images?)));
    with_images.into_iter().find(|(_, images)| images.can_have(name))
}

/// Returns an executor that chooses among those that accept the choices.
fn auto(choices: &Choices) -> Result<Auto> {
    let image_owner = choices.image.as_deref().and_then(image_owner).map(|(row, _)| row.name);
    let rows = EXECUTORS.iter().filter(|row| {
        check(row, choices).is_ok() && (choices.image.is_none() || image_owner == Some(row.name))
    });
    let candidates = rows.map(|row| {
        let choices = choices.clone();
        let start = move || (row.start)(choices.clone(), ProgressDisplay::default());
        Candidate::new(row.name, row.isolation, (row.languages)(), start)
    });
    Ok(Auto::new(candidates.collect())?)
}

/// Checks that an executor has all options that were given, and isolates as strictly as was asked.
fn check(row: &Row, choices: &Choices) -> Result<()> {
    if let Some(option) = row.unknown_option(choices) {
        let having: Vec<_> = EXECUTORS.iter().filter(|row| row.options.contains(&option)).collect();
        let having = having.iter().map(|row| row.name).collect::<Vec<_>>().join(" and ");
        let what = format!(
            "the {} executor has no option `{}`; it belongs to {having}",
            row.name,
            option.name()
        );
        return Err(Error::Unsupported(what).into());
    }
    match choices.isolation {
        Some(level) if level < row.isolation => {
            let what = format!(
                "isolation `{level}`: the {} executor reaches `{}` at most",
                row.name, row.isolation
            );
            Err(Error::Unsupported(what).into())
        }
        _ => Ok(()),
    }
}
