//! The owner of a container: a process, and whether it is still alive.
//!
//! Everything that we make in an engine carries its owner in a label. So a later process can remove
//! what a crash left, and nothing else.

use std::fs;

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

/// A process, identified among all processes of all machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The machine's identity; empty if it has none.
    machine: String,
    /// The identity of the machine's boot.
    boot: String,
    /// The process namespace to which the number belongs.
    namespace: String,
    process: i32,
    /// The time of the process's start, in clock ticks, because numbers are used again.
    started: u64,
}

/// The knowledge about an owner's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    Alive,
    Dead,
    /// The owner runs on another machine, or in a process namespace that is invisible from here.
    Unknown,
}

impl Owner {
    /// Returns this process.
    pub fn of_process() -> Self {
        let process = Pid::this().as_raw();
        Self {
            machine: text("/etc/machine-id"),
            boot: text("/proc/sys/kernel/random/boot_id"),
            namespace: namespace(),
            process,
            started: started(process).map_or(0, |(_, started)| started),
        }
    }

    /// Returns the text of the owner's label.
    pub fn label(&self) -> String {
        let Self { machine, boot, namespace, process, started } = self;
        format!("{machine}/{boot}/{namespace}/{process}/{started}")
    }

    /// Parses a label.
    pub fn parse(label: &str) -> Option<Self> {
        let parts: Vec<&str> = label.split('/').collect();
        let [machine, boot, namespace, process, started] = parts.as_slice() else { return None };
        Some(Self {
            machine: (*machine).to_owned(),
            boot: (*boot).to_owned(),
            namespace: (*namespace).to_owned(),
            process: process.parse().ok()?,
            started: started.parse().ok()?,
        })
    }

    /// Returns true if both processes belong to the same boot of one machine.
    pub fn same_boot(&self, other: &Self) -> bool {
        self.boot == other.boot
    }

    /// Returns whether this owner is alive, as seen from the process `here`.
    pub fn liveness(&self, here: &Self) -> Liveness {
        if self.boot != here.boot {
            // Two machines made from one disk image may share an identity, but hardly an engine,
            // too.
            let same_machine = !self.machine.is_empty() && self.machine == here.machine;
            return if same_machine { Liveness::Dead } else { Liveness::Unknown };
        }
        if self.namespace != here.namespace {
            return Liveness::Unknown;
        }
        // /proc may hide a process of another user; this call does not.
        if kill(Pid::from_raw(self.process), None) == Err(Errno::ESRCH) {
            return Liveness::Dead;
        }
        match started(self.process) {
            Some(('Z' | 'X', _)) => Liveness::Dead,
            Some((_, started)) if started != self.started => Liveness::Dead,
            _ => Liveness::Alive,
        }
    }
}

fn text(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

fn namespace() -> String {
    let link = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    link.to_string_lossy().chars().filter(char::is_ascii_digit).collect()
}

/// Returns the state of a process, and its start in clock ticks since the machine's boot: fields 3
/// and 22 of its `stat`.
fn started(process: i32) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may contain anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_parsed() {
        let here = Owner::of_process();
        assert!(here.started > 0);
        assert_eq!(Owner::parse(&here.label()), Some(here));
        for bad in ["", "a/b", "a/b/c/d/e", "a/b/c/1/2/3"] {
            assert_eq!(Owner::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_dead_are_told_from_the_living() {
        let here = Owner::of_process();
        assert_eq!(here.liveness(&here), Liveness::Alive);
        let other = |change: fn(&mut Owner)| {
            let mut owner = here.clone();
            change(&mut owner);
            owner.liveness(&here)
        };
        assert_eq!(other(|owner| owner.started += 1), Liveness::Dead);
        assert_eq!(other(|owner| owner.namespace.push('1')), Liveness::Unknown);
        assert_eq!(
            other(|owner| {
                owner.boot.push('x');
                owner.machine = "elsewhere".to_owned();
            }),
            Liveness::Unknown
        );

        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = i32::try_from(child.id()).unwrap();
        let started = started(process).unwrap().1;
        child.wait().unwrap();
        assert_eq!(Owner { process, started, ..here.clone() }.liveness(&here), Liveness::Dead);
    }

    #[test]
    fn owners_of_an_earlier_boot_are_dead() {
        let here = Owner { machine: "this".to_owned(), ..Owner::of_process() };
        assert_eq!(
            Owner { boot: "earlier".to_owned(), ..here.clone() }.liveness(&here),
            Liveness::Dead
        );
        let nameless = Owner { machine: String::new(), ..here };
        assert_eq!(
            Owner { boot: "earlier".to_owned(), ..nameless.clone() }.liveness(&nameless),
            Liveness::Unknown
        );
    }
}
