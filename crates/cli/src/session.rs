//! A session from the options of the command line, for `run`, `exec` and `chat`.

use anyhow::Result;
use cellblock_answer::packages::InstallPolicy;
use cellblock_exec::{Limits, Network, SessionSpec};

use crate::{
    args::session::SessionArgs,
    executors::{AUTO, Choices},
    render::text::note,
    workspace,
};

/// Returns the options that shape the start of the executor.
pub fn choices(args: &SessionArgs) -> Choices {
    Choices {
        is_named: args.executor != AUTO,
        image: args.image.clone(),
        isolation: args.isolation,
        fuel: args.fuel,
        runtime: args.runtime.clone(),
        mounts: args.mount.clone(),
        gpus: args.gpus,
        venv: args.venv.clone(),
        environment: args.environment.clone(),
    }
}

/// Returns the session that the options describe, with its input files. Prints a note for each file
/// that is not copied.
///
/// # Errors
/// If the input files cannot be read.
pub fn spec(args: &SessionArgs) -> Result<SessionSpec> {
    let limits = Limits {
        wall: args.timeout,
        cpu: args.cpu,
        memory: args.memory,
        disk: args.disk,
        output: args.output_limit,
        files: args.files,
        processes: args.processes,
    };
    let network = match args.allow_host.as_slice() {
        [] => Network::Denied,
        hosts => Network::Allow(hosts.iter().flat_map(|host| host.0.clone()).collect()),
    };
    let inputs = match &args.workspace {
        Some(directory) => workspace::read(directory, &args.out, &limits)?,
        None => workspace::InputFiles::default(),
    };
    inputs.skipped.iter().for_each(|line| note(line));
    Ok(SessionSpec {
        limits,
        strict_limits: args.strict_limits,
        network,
        files: inputs.files,
        ..SessionSpec::default()
    })
}

/// Returns the policy for missing packages.
pub fn install_policy(args: &SessionArgs) -> InstallPolicy {
    InstallPolicy {
        mode: args.install,
        allow: args.allow_package.clone(),
        deny: args.deny_package.clone(),
    }
}
