//! The checks of this machine for local cells, as `cellblock doctor` prints them.

use std::{path::Path, sync::Arc};

use cellblock_driver::INTERPRETERS;
use cellblock_exec::{BoxFuture, Check, Isolation, with_causes};

use crate::{
    cell::temporary_directory,
    executor::NAME,
    groups::{Controller, counts},
    inside::MIN_SCOPES,
    interpreter,
    launcher::client::Launcher,
    levels::{self, DEFAULT_LEVELS, LevelTest},
    protocol::HostFacts,
};

/// Checks what the local executor needs of this machine: the levels of isolation, as tested; what
/// enforces the limits; and the interpreters.
pub fn checks() -> BoxFuture<'static, Vec<Check>> {
    Box::pin(check_machine())
}

async fn check_machine() -> Vec<Check> {
    let launcher = match Launcher::start(&temporary_directory()).await {
        Ok(launcher) => Arc::new(launcher),
        Err(error) => return vec![check("launcher", false, with_causes(&error), None)],
    };
    let mut checks = Vec::new();
    let mut level = None;
    for isolation in DEFAULT_LEVELS {
        let name = isolation.to_string();
        checks.push(match levels::test(&launcher, isolation).await {
            Ok(LevelTest { problem: None, .. }) => {
                level = level.or(Some(isolation));
                check(&name, true, protection(isolation, launcher.facts()), None)
            }
            Ok(LevelTest { problem: Some(problem), hint }) => {
                check(&name, false, problem, hint.map(str::to_owned))
            }
            Err(error) => check(&name, false, with_causes(&error), None),
        });
    }
    checks.extend(limits(launcher.facts()));
    let found = level.map_or("none".to_owned(), |level| level.to_string());
    let hint = "see above; here programs run only with `--isolation none`".to_owned();
    checks.push(check("level", level.is_some(), found, level.is_none().then_some(hint)));
    checks.extend(interpreters(level.unwrap_or(Isolation::None)));
    checks
}

/// Describes the protection of a level that works.
fn protection(isolation: Isolation, facts: &HostFacts) -> String {
    let landlock = match facts.landlock {
        0 => "no Landlock".to_owned(),
        version => format!("Landlock {version}"),
    };
    match isolation {
        Isolation::Namespaces => {
            format!("its own root, processes and network; seccomp; {landlock}")
        }
        _ if facts.landlock >= MIN_SCOPES => format!("seccomp; {landlock}, signals scoped"),
        _ => format!("seccomp; {landlock}, programs cannot send signals"),
    }
}

/// Checks what enforces the limits: control groups, or the watch in their place.
fn limits(facts: &HostFacts) -> Vec<Check> {
    let controllers =
        [(Controller::Memory, "memory"), (Controller::Pids, "processes"), (Controller::Cpu, "cpu")];
    let row = |(controller, name): (Controller, &str)| {
        let found = match facts.groups.iter().find(|hierarchy| hierarchy.has(controller)) {
            Some(hierarchy) if hierarchy.unified => "control group, version 2".to_owned(),
            Some(_) => "control group, version 1".to_owned(),
            None if facts.lists_children => {
                format!("watched every 20 ms ({})", facts.groups_missing.join("; "))
            }
            None => "cannot be limited".to_owned(),
        };
        let is_enforced = counts(&facts.groups, controller);
        let hint = "run as root, or under a systemd user session that delegates control groups, \
                    for exact limits";
        check(
            &format!("limit on {name}"),
            is_enforced || facts.lists_children,
            found,
            (!is_enforced).then(|| hint.to_owned()),
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
    let is_there = |program: &&&str| {
        let directories = ["/usr/local/bin", "/usr/bin", "/bin"];
        directories.iter().any(|directory| Path::new(directory).join(program).exists())
    };
    let others: Vec<_> = INTERPRETERS
        .iter()
        .filter_map(|other| {
            let program = other.programs.iter().find(is_there)?;
            Some(format!("{} ({program})", other.language))
        })
        .collect();
    vec![python, check("other languages", !others.is_empty(), others.join(", "), None)]
}

fn check(name: &str, ok: bool, found: String, hint: Option<String>) -> Check {
    Check { executor: NAME, name: name.to_owned(), ok, found, hint }
}
