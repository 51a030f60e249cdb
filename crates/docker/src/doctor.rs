//! Looking whether there is an engine, and what it can do.

use cellblock_exec::Check;

use crate::{
    engine::Engine,
    executor::NAME,
    image::{self, DEFAULT},
};

/// Looks at the engine as `cellblock doctor` shows it.
pub async fn checks() -> Vec<Check> {
    match Engine::connect().await {
        Ok(engine) => checks_of(&engine).await,
        Err(error) => {
            let found = cellblock_exec::with_causes(&error);
            let hint = "start Docker and make sure that you may use it, or name an engine with \
                        DOCKER_HOST";
            vec![check("engine", false, found, Some(hint))]
        }
    }
}

async fn checks_of(engine: &Engine) -> Vec<Check> {
    let info = &engine.info;
    let mut checks = Vec::new();
    let version = info.server_version.as_deref().unwrap_or("of unknown version");
    let storage = info.driver.as_deref().unwrap_or("unknown");
    let root = if engine.is_rootless() { ", rootless" } else { "" };
    let (address, origin) = (&engine.endpoint.address, &engine.endpoint.origin);
    let found = format!("{version} at {address} ({origin}){root}, storage {storage}");
    // vfs copies the whole image for each container.
    let slow = (storage == "vfs")
        .then_some("the storage vfs takes seconds for each container; use overlay2");
    checks.push(check("engine", true, found, slow));

    let image = image::find(engine, DEFAULT).await;
    let found = image
        .as_ref()
        .map_or_else(|error| cellblock_exec::with_causes(error), |image| image.id.clone());
    let hint = image.is_err().then_some("make it with `cellblock image pull docker-python`");
    checks.push(check(&format!("image {DEFAULT}"), image.is_ok(), found, hint));

    let seccomp = engine.has_seccomp();
    let found = if seccomp { "on" } else { "off" };
    let hint = (!seccomp).then_some(
        "start the engine with its default seccomp profile, or choose the runtime runsc",
    );
    checks.push(check("system call filter", seccomp, found.to_owned(), hint));

    let cgroup =
        info.cgroup_version.map(|version| version.to_string()).unwrap_or_else(|| "none".to_owned());
    let able = [
        ("memory", info.memory_limit),
        ("memory without swap", info.swap_limit),
        ("processes", info.pids_limit),
        ("cpus", info.cpu_cfs_quota),
    ];
    let lacking: Vec<&str> =
        able.iter().filter(|(_, able)| *able != Some(true)).map(|(name, _)| *name).collect();
    let found = if lacking.is_empty() {
        format!("all, control groups version {cgroup}")
    } else {
        format!("not {}; control groups version {cgroup}", lacking.join(", "))
    };
    let hint = if engine.is_rootless() {
        "let systemd delegate the controllers memory, pids and cpu to your user"
    } else {
        "boot with `cgroup_enable=memory swapaccount=1`"
    };
    checks.push(check("limits", lacking.is_empty(), found, (!lacking.is_empty()).then_some(hint)));

    let mut runtimes: Vec<&str> =
        info.runtimes.iter().flatten().map(|(name, _)| name.as_str()).collect();
    runtimes.sort_unstable();
    let default = info.default_runtime.as_deref().unwrap_or("unknown");
    checks.push(check(
        "runtimes",
        true,
        format!("{}; default {default}", runtimes.join(", ")),
        None,
    ));
    checks
}

fn check(name: &str, ok: bool, found: String, hint: Option<&str>) -> Check {
    Check { executor: NAME, name: name.to_owned(), ok, found, hint: hint.map(str::to_owned) }
}
