//! `cellblock doctor`: what works here, and what to do about what does not.

use std::io::Write as _;

use anyhow::Result;
use cellblock_cache::{Objects, user_directory};
use cellblock_exec::Check;
use cellblock_models::choose::{PROVIDERS, default_name};

use crate::{
    render::{BAD, GOOD, HEADER, NOTE, sanitize::one_line},
    units,
};

/// Runs the command. The exit status is 1 when something does not work.
pub async fn doctor() -> Result<u8> {
    let mut checks = crate::executors::checks().await;
    checks.extend(models());
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
    Ok(u8::from(checks.iter().any(|check| !check.ok)))
}

/// What there is of models. None of it has to be there. Of keys only the names of their variables are told.
fn models() -> Vec<Check> {
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
            row(
                "keys",
                "none is set".to_owned(),
                Some(format!("for a provider's models, set one of {all}")),
            )
        }
        set => row("keys", format!("{} set", set.join(", ")), None),
    };
    let local = match installed() {
        Some((parts, bytes)) if parts > 1 => {
            row("local model", format!("installed, {}", units::bytes(bytes)), None)
        }
        _ => row("local model", "not installed; the first use fetches 127 MB".to_owned(), None),
    };
    vec![keys, row("usual model", default_name(), None), local]
}

/// How many parts of the local model are there, and their size.
fn installed() -> Option<(usize, u64)> {
    // Looking is not making: where there is no cache, there is nothing in it.
    let root = user_directory().ok().filter(|root| root.is_dir())?;
    let objects = Objects::open(root).ok()?;
    let ids: Vec<String> =
        objects.ids().ok()?.into_iter().filter(|id| id.starts_with("model-")).collect();
    Some((ids.len(), ids.iter().map(|id| objects.size(id)).sum()))
}
