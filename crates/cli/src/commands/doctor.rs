//! `cellblock doctor`: checks what works on this machine.

use std::io::Write as _;

use anyhow::Result;
use cellblock_agents::sanitize::one_line;
use cellblock_cache::{Objects, user_directory};
use cellblock_exec::Check;
use cellblock_models::choose::{PROVIDERS, default_name};

use crate::{
    executors, exit,
    render::text::{BAD, GOOD, HEADER, NOTE, format_bytes},
};

/// Runs the command. The exit status is 1 if a check failed.
pub async fn doctor() -> Result<u8> {
    let mut checks = executors::checks().await;
    checks.extend(model_checks());
    let mut stdout = anstream::stdout().lock();
    let mut executor = "";
    for check in &checks {
        if check.executor != executor {
            executor = check.executor;
            writeln!(stdout, "{HEADER}{executor}{HEADER:#}")?;
        }
        let (colour, word) = if check.ok { (GOOD, "ok  ") } else { (BAD, "no  ") };
        writeln!(
            stdout,
            "  {colour}{word}{colour:#}{}: {}",
            one_line(&check.name),
            one_line(&check.found)
        )?;
        if let Some(hint) = &check.hint {
            writeln!(stdout, "      {NOTE}hint:{NOTE:#} {}", one_line(hint))?;
        }
    }
    Ok(if checks.iter().all(|check| check.ok) { exit::SUCCESS } else { exit::FAILED })
}

/// Returns what there is of models. Nothing of it is required. Of keys only the names of their
/// variables are shown.
fn model_checks() -> Vec<Check> {
    let row = |name: &str, found: String, hint: Option<String>| Check {
        executor: "models",
        name: name.to_owned(),
        ok: true,
        found,
        hint,
    };
    let variables = || PROVIDERS.iter().filter_map(|provider| provider.key_variable);
    let is_set = |name: &&str| std::env::var(name).is_ok_and(|key| !key.trim().is_empty());
    let set: Vec<&str> = variables().filter(is_set).collect();
    let keys = match set.as_slice() {
        [] => {
            let all = variables().collect::<Vec<_>>().join(", ");
            let hint = format!("to use a provider's models, set one of {all}");
            row("keys", "none is set".to_owned(), Some(hint))
        }
        set => row("keys", format!("{} set", set.join(", ")), None),
    };
    let local = match installed_local_model() {
        Some((parts, bytes)) if parts > 1 => {
            row("local model", format!("installed, {}", format_bytes(bytes)), None)
        }
        _ => row("local model", "not installed; the first use downloads 127 MB".to_owned(), None),
    };
    vec![keys, row("default model", default_name(), None), local]
}

/// Returns the number of installed parts of the local model, and their size in bytes.
fn installed_local_model() -> Option<(usize, u64)> {
    // A check creates nothing: without a cache directory, nothing is installed.
    let root = user_directory().ok().filter(|root| root.is_dir())?;
    let objects = Objects::open(root).ok()?;
    let ids: Vec<String> =
        objects.ids().ok()?.into_iter().filter(|id| id.starts_with("model-")).collect();
    Some((ids.len(), ids.iter().map(|id| objects.size(id)).sum()))
}
