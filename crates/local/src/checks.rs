//! Looking what this machine has for local cells.

use std::sync::Arc;

use cellblock_driver::INTERPRETERS;
use cellblock_exec::{Check, Isolation, with_causes};

use crate::{
    cell::temporary,
    executor::NAME,
    groups::{Controller, counts},
    interpreter,
    launcher::{Launcher, wire::Facts},
    probe::{LADDER, Rung, try_rung},
};

/// Looks at what the local executor needs of this machine: the ladder of isolation as tried, what limits are enforced by,
/// and the interpreters.
pub async fn checks() -> Vec<Check> {
    let launcher = match Launcher::start(&temporary()).await {
        Ok(launcher) => Arc::new(launcher),
        Err(error) => return vec![check("launcher", false, with_causes(&error), None)],
    };
    let mut checks = Vec::new();
    let mut level = None;
    for isolation in LADDER {
        match try_rung(&launcher, isolation).await {
            Ok(Rung { problem: None, .. }) => {
                level = level.or(Some(isolation));
                checks.push(check(
                    &isolation.to_string(),
                    true,
                    works(isolation, launcher.facts()),
                    None,
                ));
            }
            Ok(Rung { problem: Some(problem), hint, .. }) => {
                checks.push(check(&isolation.to_string(), false, problem, hint.map(str::to_owned)));
            }
            Err(error) => {
                checks.push(check(&isolation.to_string(), false, with_causes(&error), None))
            }
        }
    }
    checks.extend(limits(launcher.facts()));
    let found = level.map_or("none".to_owned(), |level| level.to_string());
    let hint = "see above; only --isolation none, asked for by name, runs here".to_owned();
    checks.push(check("level", level.is_some(), found, level.is_none().then_some(hint)));
    checks.extend(interpreters(level.unwrap_or(Isolation::None)));
    checks
}

fn works(isolation: Isolation, facts: &Facts) -> String {
    let landlock = match facts.landlock {
        0 => "no Landlock".to_owned(),
        version => format!("Landlock {version}"),
    };
    match isolation {
        Isolation::Namespaces => {
            format!("its own root, processes and network; seccomp; {landlock}")
        }
        _ if facts.landlock >= crate::inside::SCOPES => {
            format!("seccomp; {landlock}, signals scoped")
        }
        _ => format!("seccomp; {landlock}, programs cannot send signals"),
    }
}

/// What enforces limits: control groups, or the watch in their place.
fn limits(facts: &Facts) -> Vec<Check> {
    let controllers =
        [(Controller::Memory, "memory"), (Controller::Pids, "processes"), (Controller::Cpu, "cpu")];
    let row = |(controller, name): (Controller, &str)| {
        let group = facts.groups.iter().find(|found| found.controllers.contains(&controller));
        let found = match group {
            Some(found) if found.unified => "control group, version 2".to_owned(),
            Some(_) => "control group, version 1".to_owned(),
            None if facts.lists_children => {
                format!("watched every 20 ms ({})", facts.groups_missing.join("; "))
            }
            None => "cannot be limited".to_owned(),
        };
        let enforced = counts(&facts.groups, controller);
        let hint = "run as root, or under a systemd user session that delegates control groups, for exact limits";
        check(
            &format!("limit on {name}"),
            enforced || facts.lists_children,
            found,
            (!enforced).then(|| hint.to_owned()),
        )
    };
    controllers.map(row).to_vec()
}

fn interpreters(isolation: Isolation) -> Vec<Check> {
    let path = std::env::var("PATH").unwrap_or_default();
    let python = match interpreter::find(None, &path, isolation) {
        Ok(python) => {
            let found = format!("{} {}", python.version_text(), python.program.display());
            check("python", true, found, None)
        }
        Err(error) => check("python", false, "none".to_owned(), Some(with_causes(&error))),
    };
    let there = |program: &&&str| {
        ["/usr/local/bin", "/usr/bin", "/bin"]
            .iter()
            .any(|d| std::path::Path::new(d).join(program).exists())
    };
    let others: Vec<_> = INTERPRETERS
        .iter()
        .filter_map(|interpreter| {
            Some(format!("{} ({})", interpreter.language, interpreter.programs.iter().find(there)?))
        })
        .collect();
    vec![python, check("other languages", !others.is_empty(), others.join(", "), None)]
}

fn check(name: &str, ok: bool, found: String, hint: Option<String>) -> Check {
    Check { executor: NAME, name: name.to_owned(), ok, found, hint }
}
