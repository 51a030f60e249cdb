//! Finding the hierarchies in which this process may make groups.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Controller, Found};

/// The controllers, by the names that version 1 mounts them under.
const CONTROLLERS: [(Controller, &str); 3] =
    [(Controller::Memory, "memory"), (Controller::Pids, "pids"), (Controller::Cpu, "cpuacct")];

/// A mounted hierarchy.
struct Mounted {
    unified: bool,
    controllers: Vec<Controller>,
    root: String,
    at: PathBuf,
}

/// Finds hierarchies and tries each with a group called `trial`. The second part tells in words what is missing.
pub(crate) fn find(trial: &str) -> (Vec<Found>, Vec<String>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for mounted in mounts.lines().filter_map(parse) {
        // What is counted in two hierarchies would be limited twice.
        let new = |controller: &Controller| !super::counts(&found, *controller);
        if !mounted.unified && !mounted.controllers.iter().any(new) {
            continue;
        }
        let Some(directory) = own_directory(&mounted, &own) else { continue };
        let usable = if mounted.unified {
            unified(&directory, &found, trial)
        } else {
            single(&mounted, directory, trial)
        };
        match usable {
            Ok(Some(hierarchy)) => found.push(hierarchy),
            Ok(None) => {}
            Err(error) => missing.push(format!("{}: {error}", mounted.at.display())),
        }
    }
    for (controller, name) in CONTROLLERS {
        if !super::counts(&found, controller) && missing.is_empty() {
            missing.push(format!("no {name} controller is mounted"));
        }
    }
    (found, missing)
}

/// A line of mountinfo: `36 31 0:33 /root /mount/point rw,relatime - cgroup cgroup rw,memory`.
fn parse(line: &str) -> Option<Mounted> {
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
    (unified || !controllers.is_empty()).then(|| Mounted {
        unified,
        controllers,
        root: unescape(root),
        at: PathBuf::from(unescape(at)),
    })
}

/// mountinfo writes spaces and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

/// The directory of the group that this process is in.
fn own_directory(mounted: &Mounted, own: &str) -> Option<PathBuf> {
    // Lines of /proc/self/cgroup: `4:memory:/path`, and `0::/path` for version 2.
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next()?, fields.next()?);
        let wanted = if mounted.unified {
            names.is_empty()
        } else {
            let named = |controller: &Controller| {
                CONTROLLERS.iter().any(|(other, name)| {
                    other == controller && names.split(',').any(|n| n == *name)
                })
            };
            mounted.controllers.iter().any(named)
        };
        wanted.then_some(path)
    })?;
    let below = if mounted.root == "/" { path } else { path.strip_prefix(mounted.root.as_str())? };
    // A path with `..` lies outside of what this process was given to see.
    (!below.split('/').any(|part| part == ".."))
        .then(|| mounted.at.join(below.trim_start_matches('/')))
}

/// A hierarchy of version 1: groups are made below our own.
fn single(mounted: &Mounted, base: PathBuf, trial: &str) -> io::Result<Option<Found>> {
    let Some(name) = mounted.at.file_name().and_then(|name| name.to_str()) else { return Ok(None) };
    let directory = base.join(trial);
    fs::create_dir(&directory)?;
    let writable = fs::OpenOptions::new().write(true).open(directory.join("cgroup.procs"));
    fs::remove_dir(&directory)?;
    writable?;
    Ok(Some(Found {
        unified: false,
        controllers: mounted.controllers.clone(),
        base,
        name: name.to_owned(),
    }))
}

/// The hierarchy of version 2. A group with processes cannot hand controllers on to groups below it, unless it is the
/// root; so groups are made in the nearest group above that can and that we may write to: with systemd that is the slice
/// of the user.
fn unified(own: &Path, found: &[Found], trial: &str) -> io::Result<Option<Found>> {
    let available = fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default();
    let wanted: Vec<_> = [(Controller::Memory, "memory"), (Controller::Pids, "pids")]
        .into_iter()
        .filter(|(controller, name)| {
            !super::counts(found, *controller)
                && available.split_whitespace().any(|other| other == *name)
        })
        .collect();
    if wanted.is_empty() {
        return Ok(None);
    }
    let mut problem = None;
    for base in own.ancestors().take_while(|base| base.join("cgroup.procs").exists()) {
        match hand_on(base, &wanted, trial) {
            Ok(()) => {
                let mut controllers: Vec<_> =
                    wanted.iter().map(|(controller, _)| *controller).collect();
                // Version 2 counts processor time in every group.
                if !super::counts(found, Controller::Cpu) {
                    controllers.push(Controller::Cpu);
                }
                return Ok(Some(Found {
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

/// Makes `base` hand its controllers on, and tries it.
fn hand_on(base: &Path, wanted: &[(Controller, &str)], trial: &str) -> io::Result<()> {
    let control = base.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&control)?;
    for (_, name) in wanted {
        if !enabled.split_whitespace().any(|other| other == *name) {
            fs::write(&control, format!("+{name}"))?;
        }
    }
    // Moving a process needs the right to write in the group above both of its places.
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
        let mounted = parse(line).unwrap();
        assert_eq!((mounted.unified, &mounted.controllers[..]), (false, &[Controller::Memory][..]));
        assert_eq!(
            own_directory(&mounted, "4:memory:/a/b\n3:pids:/c").unwrap(),
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
        let mounted = parse(
            "41 31 0:38 / /sys/fs/cgroup rw,relatime shared:3 - cgroup2 cgroup2 rw,nsdelegate",
        )
        .unwrap();
        assert!(mounted.unified);
        let own = "4:memory:/other\n0::/user.slice/x.scope";
        assert_eq!(
            own_directory(&mounted, own).unwrap(),
            Path::new("/sys/fs/cgroup/user.slice/x.scope")
        );
        assert!(own_directory(&mounted, "0::/../outside").is_none());
    }
}
