//! What of the host a cell in namespaces sees. Worked out once; each cell then takes the same steps.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// The parts of a system that programs need, besides `/usr`. Where these are links into `/usr`, so they are in the cell.
const SYSTEM: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// What programs read of `/etc`: how the loader finds libraries, which alternative is meant, the time zone, certificates,
/// media types, fonts, and settings of interpreters. No accounts, no keys, no settings of services.
pub(crate) const SETTINGS: &[&str] = &[
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/ca-certificates.conf",
    "/etc/ca-certificates",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/mime.types",
    "/etc/fonts",
    "/etc/magic",
    "/etc/perl",
    "/etc/R",
    "/etc/php",
    "/etc/locale.alias",
    "/etc/protocols",
    "/etc/services",
];

/// Devices that programs may open.
pub(crate) const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom"];

/// What of `/proc` tells about the host or its hardware, as container engines hide it.
const HIDDEN: &[&str] = &[
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "kmsg",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
];

/// What of `/proc` is the kernel's settings: seen, and not changed.
const FIXED: &[&str] = &["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Where a cell in namespaces has programs of ours, to be found after all others.
pub(crate) const PROGRAMS: &str = "/cell/bin";

/// One thing of the host in a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A directory, at the same path.
    Directory(PathBuf),
    /// A file, at the same path.
    File(PathBuf),
    /// A link that is made again.
    Link(PathBuf, PathBuf),
}

/// What a cell is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// What is there before the cell's own directories.
    pub seen: Vec<Seen>,
    /// Directories under the cell's `/tmp`, which come after it.
    pub late: Vec<PathBuf>,
    /// Files of `/proc` that are hidden, and directories.
    pub hidden_files: Vec<&'static str>,
    /// Directories of `/proc` that are hidden.
    pub hidden_directories: Vec<&'static str>,
    /// What of `/proc` cannot be written.
    pub fixed: Vec<&'static str>,
}

/// Works out what cells see that may also read the directories `visible`, and that have this
/// interpreter by the name `python`.
pub(crate) fn plan(visible: &[PathBuf], python: Option<&Path>) -> Plan {
    let mut plan = Plan::default();
    let link = |python: &Path| Seen::Link(Path::new(PROGRAMS).join("python"), python.to_owned());
    plan.seen.extend(python.map(link));
    for path in SYSTEM.iter().chain(SETTINGS) {
        plan.seen.extend(seen(Path::new(path)));
    }
    // A `python3` directory in `/etc` belongs to each minor version.
    for entry in fs::read_dir("/etc").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("python3") {
            plan.seen.extend(seen(&entry.path()));
        }
    }
    let mut visible: Vec<&PathBuf> = visible.iter().filter(|path| is_plain(path)).collect();
    visible.sort();
    visible.dedup();
    for path in visible {
        let covered = |other: &Path| path.starts_with(other);
        let known =
            plan.seen.iter().any(|seen| matches!(seen, Seen::Directory(other) if covered(other)));
        if known || plan.late.iter().any(|other| covered(other)) {
            continue;
        }
        match path.starts_with("/tmp") {
            true => plan.late.push(path.clone()),
            false => plan.seen.push(Seen::Directory(path.clone())),
        }
    }
    let proc = Path::new("/proc");
    for name in HIDDEN {
        match fs::symlink_metadata(proc.join(name)) {
            Ok(found) if found.is_dir() => plan.hidden_directories.push(name),
            Ok(_) => plan.hidden_files.push(name),
            Err(_) => {}
        }
    }
    plan.fixed = FIXED.iter().copied().filter(|name| proc.join(name).exists()).collect();
    plan
}

/// How the path is shown in a cell; `None` when the host has nothing there.
fn seen(path: &Path) -> Option<Seen> {
    let found = fs::symlink_metadata(path).ok()?;
    if found.is_symlink() {
        return Some(Seen::Link(path.to_owned(), fs::read_link(path).ok()?));
    }
    Some(if found.is_dir() {
        Seen::Directory(path.to_owned())
    } else {
        Seen::File(path.to_owned())
    })
}

/// Whether a directory can be shown at its own path: places that the cell has its own of cannot.
pub(crate) fn is_plain(path: &Path) -> bool {
    const OWN: &[&str] = &["/proc", "/sys", "/dev", "/workspace", "/packages", "/etc", "/cell"];
    path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
        && path.is_absolute()
        && path != Path::new("/")
        && path != Path::new("/tmp")
        && !OWN.iter().any(|own| path.starts_with(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_shown_once_and_never_over_the_cells_own() {
        let visible = [
            "/usr/lib",
            "/opt/py",
            "/opt/py/lib",
            "/tmp/venv",
            "/proc/self",
            "/",
            "/tmp",
            "/opt/../etc",
        ];
        let plan = plan(&visible.map(PathBuf::from), None);
        let opt: Vec<_> = plan
            .seen
            .iter()
            .filter(|seen| matches!(seen, Seen::Directory(path) if !path.starts_with("/etc") && path.components().count() > 2))
            .collect();
        assert_eq!(opt, [&Seen::Directory("/opt/py".into())]);
        assert_eq!(plan.late, [PathBuf::from("/tmp/venv")]);
        assert!(plan.seen.contains(&Seen::Directory("/usr".into())));
    }
}
