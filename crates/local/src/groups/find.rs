//! Finding the hierarchies in which this process can make groups.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::hierarchy::{Controller, Hierarchy, counts};

/// The controllers, by the names under which version 1 mounts them.
const CONTROLLERS: [(Controller, &str); 3] =
    [(Controller::Memory, "memory"), (Controller::Pids, "pids"), (Controller::Cpu, "cpuacct")];

/// A mounted hierarchy.
struct Mount {
    unified: bool,
    controllers: Vec<Controller>,
    root: String,
    at: PathBuf,
}

/// Finds hierarchies, and tests each with a group called `trial`. Also returns, in words, why
/// hierarchies are missing.
pub fn find(trial: &str) -> (Vec<Hierarchy>, Vec<String>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for mount in mounts.lines().filter_map(parse) {
        // A controller that counts in two hierarchies would limit twice.
        let is_new = |controller: &Controller| !counts(&found, *controller);
        if !mount.unified && !mount.controllers.iter().any(is_new) {
            continue;
        }
        let Some(directory) = own_directory(&mount, &own) else { continue };
        let usable = if mount.unified {
            unified(&directory, &found, trial)
        } else {
            single(&mount, directory, trial)
        };
        match usable {
            Ok(Some(hierarchy)) => found.push(hierarchy),
            Ok(None) => {}
            Err(error) => missing.push(format!("{}: {error}", mount.at.display())),
        }
    }
    for (controller, name) in CONTROLLERS {
        if !counts(&found, controller) && missing.is_empty() {
            missing.push(format!("no {name} controller is mounted"));
        }
    }
    (found, missing)
}

/// Parses a line of mountinfo:
/// `36 31 0:33 /root /mount/point rw,relatime - cgroup cgroup rw,memory`.
fn parse(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let (root, at) = (fields.next()?, fields.next()?);
    let mut after = after.split(' ');
    let (kind, _, options) = (after.next()?, after.next()?, after.next()?);
    let unified = match kind {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    let options: Vec<&str> = options.split(',').collect();
    let controllers: Vec<_> = CONTROLLERS
        .iter()
        .filter(|(_, name)| options.contains(name))
        .map(|(controller, _)| *controller)
        .collect();
    (unified || !controllers.is_empty()).then(|| Mount {
        unified,
        controllers,
        root: unescape(root),
        at: PathBuf::from(unescape(at)),
    })
}

/// Decodes the spaces, tabs and backslashes of mountinfo, which are three octal digits there.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

/// Returns the directory of the group that this process is in. `own` is `/proc/self/cgroup`.
fn own_directory(mount: &Mount, own: &str) -> Option<PathBuf> {
    // Lines: `4:memory:/path`, and `0::/path` for version 2.
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next()?, fields.next()?);
        let is_wanted = if mount.unified {
            names.is_empty()
        } else {
            let is_named = |controller: &Controller| {
                CONTROLLERS.iter().any(|(other, name)| {
                    other == controller && names.split(',').any(|n| n == *name)
                })
            };
            mount.controllers.iter().any(is_named)
        };
        is_wanted.then_some(path)
    })?;
    let below = if mount.root == "/" { path } else { path.strip_prefix(mount.root.as_str())? };
    // A path with `..` lies outside of what this process can see.
    (!below.split('/').any(|part| part == ".."))
        .then(|| mount.at.join(below.trim_start_matches('/')))
}

/// Tests a hierarchy of version 1. Groups are made below our own.
fn single(mount: &Mount, base: PathBuf, trial: &str) -> io::Result<Option<Hierarchy>> {
    let Some(name) = mount.at.file_name().and_then(|name| name.to_str()) else { return Ok(None) };
    let directory = base.join(trial);
    fs::create_dir(&directory)?;
    let writable = fs::OpenOptions::new().write(true).open(directory.join("cgroup.procs"));
    fs::remove_dir(&directory)?;
    writable?;
    Ok(Some(Hierarchy {
        unified: false,
        controllers: mount.controllers.clone(),
        base,
        name: name.to_owned(),
    }))
}

/// Tests the hierarchy of version 2.
///
/// A group with processes cannot delegate controllers to groups below it, unless it is the root. So
/// groups are made in the nearest group above that can delegate and that we can write to: with
/// systemd that is the slice of the user.
fn unified(own: &Path, found: &[Hierarchy], trial: &str) -> io::Result<Option<Hierarchy>> {
    let available = fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default();
    let wanted: Vec<_> = [(Controller::Memory, "memory"), (Controller::Pids, "pids")]
        .into_iter()
        .filter(|(controller, name)| {
            !counts(found, *controller) && available.split_whitespace().any(|other| other == *name)
        })
        .collect();
    if wanted.is_empty() {
        return Ok(None);
    }
    let mut problem = None;
    for base in own.ancestors().take_while(|base| base.join("cgroup.procs").exists()) {
        match delegate(base, &wanted, trial) {
            Ok(()) => {
                let mut controllers: Vec<_> =
                    wanted.iter().map(|(controller, _)| *controller).collect();
                // Version 2 counts processor time in every group.
                if !counts(found, Controller::Cpu) {
                    controllers.push(Controller::Cpu);
                }
                return Ok(Some(Hierarchy {
                    unified: true,
                    controllers,
                    base: base.to_owned(),
                    name: String::new(),
                }));
            }
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    problem.map_or(Ok(None), Err)
}

/// Makes `base` delegate its controllers to groups below it, and tests that.
fn delegate(base: &Path, wanted: &[(Controller, &str)], trial: &str) -> io::Result<()> {
    let control = base.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&control)?;
    for (_, name) in wanted {
        if !enabled.split_whitespace().any(|other| other == *name) {
            fs::write(&control, format!("+{name}"))?;
        }
    }
    // To move a process, we need the right to write in the group above both of its places.
    fs::OpenOptions::new().write(true).open(base.join("cgroup.procs"))?;
    let directory = base.join(trial);
    fs::create_dir(&directory)?;
    let limited = fs::write(directory.join("pids.max"), "max").and_then(|()| {
        fs::OpenOptions::new().write(true).open(directory.join("cgroup.procs")).map(drop)
    });
    fs::remove_dir(&directory)?;
    limited
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_lines() {
        let line = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory";
        let mount = parse(line).unwrap();
        assert_eq!((mount.unified, &mount.controllers[..]), (false, &[Controller::Memory][..]));
        assert_eq!(
            own_directory(&mount, "4:memory:/a/b\n3:pids:/c").unwrap(),
            Path::new("/sys/fs/cgroup/memory/a/b")
        );
        let both =
            parse("3 2 0:1 /docker/x /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct")
                .unwrap();
        assert_eq!(both.controllers, [Controller::Cpu]);
        let own = "2:cpu,cpuacct:/docker/x";
        assert_eq!(own_directory(&both, own).unwrap(), Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert!(own_directory(&both, "2:cpu,cpuacct:/elsewhere").is_none());
        assert!(
            parse("41 31 0:38 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd")
                .is_none()
        );
        assert!(parse("27 1 254:0 / / rw - ext4 /dev/vda rw").is_none());
    }

    #[test]
    fn version_2_lines() {
        let mount = parse(
            "41 31 0:38 / /sys/fs/cgroup rw,relatime shared:3 - cgroup2 cgroup2 rw,nsdelegate",
        )
        .unwrap();
        assert!(mount.unified);
        let own = "4:memory:/other\n0::/user.slice/x.scope";
        assert_eq!(
            own_directory(&mount, own).unwrap(),
            Path::new("/sys/fs/cgroup/user.slice/x.scope")
        );
        assert!(own_directory(&mount, "0::/../outside").is_none());
    }
}
