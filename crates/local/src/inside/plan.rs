//! The parts of the host that a cell in namespaces sees. The launcher plans them once for each kind
//! of cell; every cell of the kind then takes the same steps.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// The parts of a system that programs need. Some of them may be links into `/usr`; they are links
/// in the cell, too.
pub const SYSTEM: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// The parts of `/etc` that programs read: how the loader finds libraries, which alternative is
/// selected, the time zone, certificates, media types, fonts, and settings of interpreters. No
/// accounts, no keys, no settings of services.
pub const SETTINGS: &[&str] = &[
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

/// Devices that programs can open.
pub const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom"];

/// The parts of `/proc` that describe the host or its hardware; container engines hide them, too.
const HIDDEN_IN_PROC: &[&str] = &[
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

/// The parts of `/proc` with settings of the kernel: programs can read but not change them.
const READ_ONLY_IN_PROC: &[&str] = &["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// The directory of our own programs in a cell in namespaces. It belongs at the end of `PATH`.
pub const PROGRAMS: &str = "/cell/bin";

/// A path of the host that a cell sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VisiblePath {
    /// A directory, at the same path.
    Directory(PathBuf),
    /// A file, at the same path.
    File(PathBuf),
    /// A link, which is made again with the same target.
    Link(PathBuf, PathBuf),
}

/// The plan for the root of a cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootPlan {
    /// Paths that are mounted before the cell's own directories.
    pub visible: Vec<VisiblePath>,
    /// Directories under the cell's `/tmp`, which are mounted after it.
    pub below_tmp: Vec<PathBuf>,
    /// Files of `/proc` that are hidden.
    pub hidden_files: Vec<&'static str>,
    /// Directories of `/proc` that are hidden.
    pub hidden_directories: Vec<&'static str>,
    /// Parts of `/proc` that cannot be written.
    pub read_only: Vec<&'static str>,
}

/// Plans the root of cells that can also read the directories `visible`, and that find the
/// interpreter `python` under that name.
pub fn plan(visible: &[PathBuf], python: Option<&Path>) -> RootPlan {
    let mut plan = RootPlan::default();
    let link =
        |python: &Path| VisiblePath::Link(Path::new(PROGRAMS).join("python"), python.to_owned());
    plan.visible.extend(python.map(link));
    for path in SYSTEM.iter().chain(SETTINGS) {
        plan.visible.extend(visible_path(Path::new(path)));
    }
    // Each minor version of Python has a directory of its own in `/etc`.
    for entry in fs::read_dir("/etc").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("python3") {
            plan.visible.extend(visible_path(&entry.path()));
        }
    }
    let mut visible: Vec<&PathBuf> = visible.iter().filter(|path| can_be_shown(path)).collect();
    visible.sort();
    visible.dedup();
    for path in visible {
        let is_within = |other: &Path| path.starts_with(other);
        let is_known = plan
            .visible
            .iter()
            .any(|visible| matches!(visible, VisiblePath::Directory(other) if is_within(other)));
        if is_known || plan.below_tmp.iter().any(|other| is_within(other)) {
            continue;
        }
        match path.starts_with("/tmp") {
            true => plan.below_tmp.push(path.clone()),
            false => plan.visible.push(VisiblePath::Directory(path.clone())),
        }
    }
    let proc = Path::new("/proc");
    for name in HIDDEN_IN_PROC {
        match fs::symlink_metadata(proc.join(name)) {
            Ok(found) if found.is_dir() => plan.hidden_directories.push(name),
            Ok(_) => plan.hidden_files.push(name),
            Err(_) => {}
        }
    }
    plan.read_only =
        READ_ONLY_IN_PROC.iter().copied().filter(|name| proc.join(name).exists()).collect();
    plan
}

/// Returns how a cell sees the path; `None` if the host does not have it.
fn visible_path(path: &Path) -> Option<VisiblePath> {
    let found = fs::symlink_metadata(path).ok()?;
    if found.is_symlink() {
        return Some(VisiblePath::Link(path.to_owned(), fs::read_link(path).ok()?));
    }
    Some(if found.is_dir() {
        VisiblePath::Directory(path.to_owned())
    } else {
        VisiblePath::File(path.to_owned())
    })
}

/// True if a directory can be shown at its own path. Paths where the cell has directories of its
/// own cannot.
pub fn can_be_shown(path: &Path) -> bool {
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
        let is_extra = |path: &Path| !path.starts_with("/etc") && path.components().count() > 2;
        let extra: Vec<_> = plan
            .visible
            .iter()
            .filter(|seen| matches!(seen, VisiblePath::Directory(path) if is_extra(path)))
            .collect();
        assert_eq!(extra, [&VisiblePath::Directory("/opt/py".into())]);
        assert_eq!(plan.below_tmp, [PathBuf::from("/tmp/venv")]);
        assert!(plan.visible.contains(&VisiblePath::Directory("/usr".into())));
    }
}
