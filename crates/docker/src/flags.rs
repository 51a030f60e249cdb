//! Everything that a container may do.
//!
//! Everything is denied unless it is needed or granted: no network, no capability, no way to gain
//! privileges, no writable file except in three sized tmpfs, no host directory, no environment of
//! the host. The system call filter is our own ([`seccomp`]).

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, DeviceRequest, HealthConfig, HostConfig, HostConfigLogConfig, Mount,
    MountTmpfsOptions, MountType, MountVolumeOptions, ResourcesUlimits,
};
use cellblock_driver::{DriverConfig, Relays, command};
use cellblock_exec::Limits;

use crate::{
    names::{OWNER_LABEL, VERSION_LABEL},
    options::{Gpus, Options},
    seccomp,
};

/// The user and group of everything in a cell: nobody.
pub const USER: u32 = 65534;
/// The directory of packages.
pub const PACKAGES: &str = "/packages";
/// The maximum shared memory, in bytes: Docker's default.
const MAX_SHARED_MEMORY: u64 = 64 * 1024 * 1024;
/// The maximum number of descriptors of one process: enough for any program that is not a server,
/// and few enough for children to close them quickly.
const MAX_DESCRIPTORS: i64 = 4096;
/// The number of files that a tmpfs has before programs create any: its root.
const OWN_FILES: u64 = 1;
/// The number of processes of a cell that are ours: the driver and its worker.
const OWN_PROCESSES: i64 = 2;

/// Everything that a cell's container depends on.
#[derive(Debug, Clone, Copy)]
pub struct ContainerSpec<'a> {
    /// The image's id.
    pub image: &'a str,
    /// Directories that the image declares as volumes.
    pub volumes: &'a [String],
    pub limits: &'a Limits,
    pub relays: &'a Relays,
    pub options: &'a Options,
}

/// Returns the labels of everything that belongs to `owner`.
pub fn labels(owner: &str) -> HashMap<String, String> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    HashMap::from([(VERSION_LABEL.to_owned(), version), (OWNER_LABEL.to_owned(), owner.to_owned())])
}

/// Returns the request that creates the container of a cell.
pub fn cell(cell: &ContainerSpec<'_>, owner: &str) -> ContainerCreateBody {
    let config =
        DriverConfig { relays: cell.relays.relays.clone(), ..DriverConfig::new(cell.limits) };
    ContainerCreateBody {
        hostname: Some("cell".to_owned()),
        working_dir: Some(config.workspace.clone()),
        open_stdin: Some(true),
        // The end of our connection is the end of the driver's input, and with it of the cell.
        stdin_once: Some(true),
        host_config: Some(HostConfig {
            tmpfs: Some(writable(&config, cell.limits)),
            mounts: Some(mounts(cell)),
            auto_remove: Some(true),
            shm_size: Some(signed(cell.limits.disk.min(MAX_SHARED_MEMORY))),
            memory: bounded(cell.limits.memory),
            // The sum of memory and swap: no swap.
            memory_swap: bounded(cell.limits.memory),
            pids_limit: (cell.limits.processes != u32::MAX)
                .then(|| i64::from(cell.limits.processes) + OWN_PROCESSES),
            nano_cpus: cell.options.cpus.map(nano_cpus),
            runtime: cell.options.runtime.clone(),
            device_requests: cell.options.gpus.as_ref().map(|gpus| vec![devices(gpus)]),
            extra_hosts: Some(
                cell.relays
                    .names
                    .iter()
                    .map(|(name, address)| format!("{name}:{address}"))
                    .collect(),
            ),
            // The driver listens on the ports of granted hosts, and is not root.
            sysctls: (!cell.relays.relays.is_empty()).then(|| {
                HashMap::from([("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned())])
            }),
            ..hardened()
        }),
        ..program(cell.image, command(&config), owner)
    }
}

/// Returns the request for a container that runs Python with these arguments as nobody, in the
/// image's own root.
pub fn program(image: &str, arguments: Vec<String>, owner: &str) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(image.to_owned()),
        user: Some(format!("{USER}:{USER}")),
        // In place of the image's own entry point, health check and command.
        entrypoint: Some(vec!["python3".to_owned()]),
        cmd: Some(arguments),
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        tty: Some(false),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        labels: Some(labels(owner)),
        host_config: Some(hardened()),
        ..ContainerCreateBody::default()
    }
}

/// Returns the restrictions of every container that runs code of others.
pub fn hardened() -> HostConfig {
    HostConfig {
        network_mode: Some("none".to_owned()),
        readonly_rootfs: Some(true),
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec![
            "no-new-privileges:true".to_owned(),
            format!("seccomp={}", seccomp::profile()),
        ]),
        // Our driver must be process 1. The kernel does not deliver signals from inside a process
        // namespace to its first process, so a program's `kill(-1, SIGKILL)` spares the driver;
        // with an init in front of it, the driver would be an ordinary process and die. It reaps
        // orphans itself.
        init: Some(false),
        oom_kill_disable: Some(false),
        // Output of programs goes over the stream only; a log on the host's disk would have no
        // limit.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        ulimits: Some(vec![limit("nofile", MAX_DESCRIPTORS), limit("core", 0)]),
        ipc_mode: Some("private".to_owned()),
        ..HostConfig::default()
    }
}

/// Returns the directories that programs may write to. Each has the whole quota: the engine cannot
/// make them share one.
fn writable(config: &DriverConfig, limits: &Limits) -> HashMap<String, String> {
    // For a tmpfs, 0 means no limit.
    let size = if limits.disk == u64::MAX { 0 } else { limits.disk.max(1) };
    let files = if limits.files == u32::MAX { 0 } else { u64::from(limits.files) + OWN_FILES };
    let options = |mode: &str| {
        format!(
            "rw,exec,nosuid,nodev,size={size},nr_inodes={files},mode={mode},uid={USER},gid={USER}"
        )
    };
    HashMap::from([
        (config.workspace.clone(), options("0755")),
        (config.temporary.clone(), options("1777")),
    ])
}

fn mounts(cell: &ContainerSpec<'_>) -> Vec<Mount> {
    // The engine removes a volume without a name with its container, even if this process has
    // ended. It cannot be mounted read-only; but it belongs to root, and no process in the cell is
    // root or can become it.
    let mut mounts = vec![Mount {
        target: Some(PACKAGES.to_owned()),
        typ: Some(MountType::VOLUME),
        volume_options: Some(MountVolumeOptions {
            no_copy: Some(true),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }];
    // The engine would replace each volume of the image by a writable directory of unlimited size.
    mounts.extend(cell.volumes.iter().map(|path| Mount {
        target: Some(path.clone()),
        typ: Some(MountType::TMPFS),
        read_only: Some(true),
        tmpfs_options: Some(MountTmpfsOptions {
            size_bytes: Some(4096),
            ..MountTmpfsOptions::default()
        }),
        ..Mount::default()
    }));
    mounts.extend(cell.options.mounts.iter().map(|mount| Mount {
        source: Some(mount.host.display().to_string()),
        target: Some(mount.cell.clone()),
        typ: Some(MountType::BIND),
        read_only: Some(!mount.writable),
        ..Mount::default()
    }));
    mounts
}

fn devices(gpus: &Gpus) -> DeviceRequest {
    let (count, device_ids) = match gpus {
        Gpus::All => (Some(-1), None),
        Gpus::Count(count) => (Some(i64::from(*count)), None),
        Gpus::Devices(devices) => (None, Some(devices.clone())),
    };
    DeviceRequest {
        count,
        device_ids,
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..DeviceRequest::default()
    }
}

fn limit(name: &str, value: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(value), hard: Some(value) }
}

/// Returns a limit for the engine. The maximum value means no limit.
fn bounded(value: u64) -> Option<i64> {
    (value != u64::MAX).then(|| signed(value))
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Returns a number of processors in the engine's unit, billionths.
fn nano_cpus(cpus: f64) -> i64 {
    (cpus * 1e9) as i64
}
