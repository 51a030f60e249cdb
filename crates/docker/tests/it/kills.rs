//! Kills at random moments under load: of the host's process, of a driver, of a container, and of
//! an engine of the test's own. Afterwards nothing of the sessions remains.
//!
//! The variable `CELLBLOCK_TEST_KILLS` sets the number of kills of each; 50 take some minutes. The
//! engine is killed only when the variable is set, because starting one needs root and some
//! seconds.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bollard::{
    Docker,
    query_parameters::{InspectContainerOptions, KillContainerOptions, ListVolumesOptions},
};
use cellblock_conformance::traces::{marker, processes_with};
use cellblock_docker::{
    DEFAULT_IMAGE, DockerExecutor, Engine, Options, connect::DockerEnvironment,
};
use cellblock_exec::{ExecutionRequest, Executor, SessionSpec, Silent};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::engine::{client, containers, eventually, executor, executor_with};

/// The variable that gives the host's process the marker of its programs.
const LOAD: &str = "CELLBLOCK_TEST_LOAD";

/// The process that is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Host,
    Driver,
    Container,
    Engine,
}

/// Runs sessions without end, a few at once, from a pool: the work of the tests' child process. Not
/// a test of its own: without the variable it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn as_a_host_under_load() {
    let Ok(marker) = std::env::var(LOAD) else { return };
    let executor = executor_with(Options { idle: 1, ..Options::default() }).await.unwrap();
    let executor = Arc::new(executor);
    // A program that leaves a process of its own behind.
    let code = format!(
        "import subprocess, sys, time\n\
         subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', {marker:?}],\n    \
         start_new_session=True)\n\
         open('file', 'wb').write(bytes(1 << 20))\n\
         time.sleep(0.2)"
    );
    for _ in 0..3 {
        let (executor, code) = (executor.clone(), code.clone());
        tokio::spawn(async move {
            loop {
                // A session that fails was killed from outside.
                if let Ok(mut session) = executor.open(SessionSpec::default()).await {
                    let _ = session.execute(ExecutionRequest::python(&code)).await;
                    let _ = session.close().await;
                } else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        });
    }
    println!("\nREADY");
    tokio::time::sleep(Duration::from_secs(600)).await;
}

/// Starts a process that opens sessions on the engine at this address, or on the tests' engine.
async fn host_under_load(marker: &str, engine: Option<&str>) -> tokio::process::Child {
    let mut host = tokio::process::Command::new(std::env::current_exe().unwrap());
    host.args(["--exact", "kills::as_a_host_under_load", "--nocapture"]).env(LOAD, marker);
    host.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    if let Some(engine) = engine {
        host.env("DOCKER_HOST", engine);
    }
    let mut host = host.spawn().unwrap();
    let mut lines = BufReader::new(host.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line == "READY" {
            return host;
        }
    }
    panic!("the host did not come up");
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_moments_leave_nothing() {
    if executor().await.is_none() {
        return;
    }
    let docker = client().await;
    for target in [Target::Host, Target::Driver, Target::Container] {
        for round in 0..rounds().unwrap_or(1) {
            let what = format!("{target:?}, round {round}");
            let marker = marker();
            let mut host = host_under_load(&marker, None).await;
            let process = host.id().unwrap();
            eventually(&format!("the control, a volume: {what}"), async || {
                !owned(&docker, process).await.1.is_empty()
            })
            .await;
            wait_at_most(1000).await;
            let (ids, mut volumes) = owned(&docker, process).await;
            if target != Target::Host {
                for id in &ids {
                    kill(target, &docker, id).await;
                }
                wait_at_most(300).await;
                volumes.extend(owned(&docker, process).await.1);
            }
            host.kill().await.unwrap();
            // The next start removes containers that were created and not started.
            eventually(&format!("no container: {what}"), async || {
                executor().await.is_some() && owned(&docker, process).await.0.is_empty()
            })
            .await;
            eventually(&format!("no volume: {what}"), async || {
                all_volumes(&docker).await.is_disjoint(&volumes)
            })
            .await;
            eventually(&format!("no process: {what}"), async || processes_with(&marker) == 0).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_engine_leaves_nothing_once_it_is_back() {
    let Some(rounds) = rounds() else {
        println!("skipped: CELLBLOCK_TEST_KILLS is not set");
        return;
    };
    if executor().await.is_none() {
        return;
    }
    if !nix::unistd::Uid::effective().is_root() {
        println!("skipped: only root can start an engine");
        return;
    }
    let docker = client().await;
    let info = docker.info().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let storage = info.driver.unwrap();
    let address = format!("unix://{}/socket", directory.path().display());
    let mut engine = start_engine(directory.path(), &storage, &address).await;
    give_image(&address);
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let own = async || {
        let environment =
            DockerEnvironment { host: Some(address.clone()), ..DockerEnvironment::default() };
        let engine = Engine::connect_in(&environment).await.unwrap();
        let options = Options { idle: 0, ..Options::default() };
        // Its start removes what the dead left.
        DockerExecutor::start_on(engine, options, &Silent).await.unwrap();
        Docker::connect_with_unix(&address, 60, bollard::API_DEFAULT_VERSION)
            .unwrap()
            .negotiate_version()
            .await
            .unwrap()
    };
    own().await;
    let before = mounts();
    for round in 0..rounds {
        let what = format!("{:?}, round {round}", Target::Engine);
        let marker = marker();
        let mut host = host_under_load(&marker, Some(&address)).await;
        let process = host.id().unwrap();
        let docker = own().await;
        eventually(&format!("the control, a volume: {what}"), async || {
            !owned(&docker, process).await.1.is_empty()
        })
        .await;
        wait_at_most(1000).await;
        engine.0.kill().unwrap();
        engine.0.wait().unwrap();
        wait_at_most(300).await;
        if round % 2 == 0 {
            // The host dies, too, before the engine is back.
            host.kill().await.unwrap();
        }
        engine = start_engine(directory.path(), &storage, &address).await;
        host.kill().await.unwrap();
        eventually(&format!("no container: {what}"), async || {
            containers(&own().await, "cellblock.owner").await.is_empty()
        })
        .await;
        eventually(&format!("no volume: {what}"), async || {
            all_volumes(&own().await).await.is_empty()
        })
        .await;
        eventually(&format!("no process: {what}"), async || processes_with(&marker) == 0).await;
        eventually(&format!("no mount: {what}"), async || mounts() <= before).await;
    }
}

/// An engine of the test's own, which ends with the test.
struct OwnEngine(Child);

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            // On this signal it ends its own children.
            let process = nix::unistd::Pid::from_raw(self.0.id() as i32);
            let _ = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM);
            let _ = self.0.wait();
        }
    }
}

/// Starts an engine of the test's own in `directory`, without any network.
async fn start_engine(directory: &Path, storage: &str, address: &str) -> OwnEngine {
    // A killed engine leaves these. Its containerd has ended with it, but seems alive where the
    // machine's first process reaps no orphans.
    for name in ["pid", "exec/containerd/containerd.pid"] {
        let _ = fs::remove_file(directory.join(name));
    }
    let log = fs::File::options().create(true).append(true).open(directory.join("log")).unwrap();
    // Not the settings of the machine's engine.
    fs::write(directory.join("settings"), "{}").unwrap();
    // In a network namespace of its own, because it removes the bridge that it is not to have.
    let engine = Command::new("unshare")
        .args(["--net", "dockerd", "--config-file"])
        .arg(directory.join("settings"))
        .arg("--data-root")
        .arg(directory.join("data"))
        .arg("--exec-root")
        .arg(directory.join("exec"))
        .arg("--pidfile")
        .arg(directory.join("pid"))
        .args(["--host", address, "--storage-driver", storage])
        .args(["--bridge", "none", "--iptables=false", "--ip6tables=false"])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    let mut engine = OwnEngine(engine.unwrap());
    for _ in 0..600 {
        if let Some(status) = engine.0.try_wait().unwrap() {
            panic!("{status}: {}", fs::read_to_string(directory.join("log")).unwrap());
        }
        let version = Command::new("docker").args(["--host", address, "version"]).output().unwrap();
        if version.status.success() {
            return engine;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no engine: {}", fs::read_to_string(directory.join("log")).unwrap());
}

/// Copies the image of the tests' engine to the engine at this address.
fn give_image(address: &str) {
    let mut from = Command::new("docker")
        .args(["save", &cellblock_docker::image_reference(DEFAULT_IMAGE)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let loaded = Command::new("docker")
        .args(["--host", address, "load"])
        .stdin(from.stdout.take().unwrap())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(loaded.success() && from.wait().unwrap().success());
}

/// Returns the containers that this process has made, and their volumes.
async fn owned(docker: &Docker, process: u32) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut ids, mut volumes) = (BTreeSet::new(), BTreeSet::new());
    for container in containers(docker, "cellblock.owner").await {
        let owner = container.labels.unwrap()["cellblock.owner"].clone();
        if owner.split('/').nth(3) != Some(&process.to_string()) {
            continue;
        }
        let mounts = container.mounts.into_iter().flatten();
        volumes.extend(mounts.filter_map(|mount| mount.name));
        ids.insert(container.id.unwrap());
    }
    (ids, volumes)
}

/// Returns the names of all volumes of an engine.
async fn all_volumes(docker: &Docker) -> BTreeSet<String> {
    let volumes = docker.list_volumes(None::<ListVolumesOptions>).await.unwrap().volumes;
    volumes.into_iter().flatten().map(|volume| volume.name).collect()
}

/// Kills a container, or only its first process. It may be gone already.
async fn kill(target: Target, docker: &Docker, id: &str) {
    if target == Target::Container {
        let _ = docker.kill_container(id, None::<KillContainerOptions>).await;
        return;
    }
    let found = docker.inspect_container(id, None::<InspectContainerOptions>).await;
    let Ok(container) = found else { return };
    let process = container.state.and_then(|state| state.pid).unwrap_or(0);
    if process > 0 {
        // An engine of another user or machine refuses it; then nothing was killed.
        let process = nix::unistd::Pid::from_raw(i32::try_from(process).unwrap());
        let _ = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL);
    }
}

/// Returns the requested number of kills of each kind.
fn rounds() -> Option<u32> {
    std::env::var("CELLBLOCK_TEST_KILLS").ok().and_then(|text| text.parse().ok())
}

/// Waits for a random time of at most so many milliseconds.
async fn wait_at_most(milliseconds: u64) {
    use std::hash::{BuildHasher as _, RandomState};
    let random = RandomState::new().hash_one(0);
    tokio::time::sleep(Duration::from_millis(random % milliseconds)).await;
}
