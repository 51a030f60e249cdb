//! The checks of the engine, as `cellblock doctor` shows them.

use cellblock_exec::{BoxFuture, Check, with_causes};

use crate::{engine::Engine, executor::NAME, names::DEFAULT_IMAGE, session_image::find_image};

/// Checks whether there is an engine, and what it can do.
pub fn checks() -> BoxFuture<'static, Vec<Check>> {
    Box::pin(async {
        match Engine::connect().await {
            Ok(engine) => vec![
                engine_check(&engine),
                image_check(&engine).await,
                filter_check(&engine),
                limits_check(&engine),
                runtimes_check(&engine),
            ],
            Err(error) => {
                let hint = "start Docker and make sure that you may use it, or name an engine \
                            with DOCKER_HOST";
                vec![check("engine", false, with_causes(&error), Some(hint))]
            }
        }
    })
}

fn engine_check(engine: &Engine) -> Check {
    let version = engine.info.server_version.as_deref().unwrap_or("of unknown version");
    let storage = engine.info.driver.as_deref().unwrap_or("unknown");
    let root = if engine.is_rootless() { ", rootless" } else { "" };
    let (address, origin) = (&engine.endpoint.address, &engine.endpoint.origin);
    let found = format!("{version} at {address} ({origin}){root}, storage {storage}");
    // vfs copies the whole image for each container.
    let slow = (storage == "vfs")
        .then_some("the storage vfs takes seconds for each container; use overlay2");
    check("engine", true, found, slow)
}

async fn image_check(engine: &Engine) -> Check {
    let image = find_image(engine, DEFAULT_IMAGE).await;
    let hint = image.is_err().then_some("make it with `cellblock image pull docker-python`");
    let found = match &image {
        Ok(image) => image.id.clone(),
        Err(error) => with_causes(error),
    };
    check(&format!("image {DEFAULT_IMAGE}"), image.is_ok(), found, hint)
}

fn filter_check(engine: &Engine) -> Check {
    let is_on = engine.has_seccomp();
    let found = if is_on { "on" } else { "off" };
    let hint = (!is_on).then_some(
        "start the engine with its default seccomp profile, or choose the runtime runsc",
    );
    check("system call filter", is_on, found.to_owned(), hint)
}

fn limits_check(engine: &Engine) -> Check {
    let info = &engine.info;
    let cgroup =
        info.cgroup_version.map(|version| version.to_string()).unwrap_or_else(|| "none".to_owned());
    let support = [
        ("memory", info.memory_limit),
        ("memory without swap", info.swap_limit),
        ("processes", info.pids_limit),
        ("cpus", info.cpu_cfs_quota),
    ];
    let missing: Vec<&str> = support
        .iter()
        .filter(|(_, is_supported)| *is_supported != Some(true))
        .map(|(name, _)| *name)
        .collect();
    let found = if missing.is_empty() {
        format!("all, control groups version {cgroup}")
    } else {
        format!("not {}; control groups version {cgroup}", missing.join(", "))
    };
    let hint = if engine.is_rootless() {
        "let systemd delegate the controllers memory, pids and cpu to your user"
    } else {
        "boot with `cgroup_enable=memory swapaccount=1`"
    };
    check("limits", missing.is_empty(), found, (!missing.is_empty()).then_some(hint))
}

fn runtimes_check(engine: &Engine) -> Check {
    let mut runtimes: Vec<&str> =
        engine.info.runtimes.iter().flatten().map(|(name, _)| name.as_str()).collect();
    runtimes.sort_unstable();
    let default = engine.info.default_runtime.as_deref().unwrap_or("unknown");
    check("runtimes", true, format!("{}; default {default}", runtimes.join(", ")), None)
}

fn check(name: &str, ok: bool, found: String, hint: Option<&str>) -> Check {
    Check { executor: NAME, name: name.to_owned(), ok, found, hint: hint.map(str::to_owned) }
}
