//! Whom a container belongs to, and whether that process is still alive.
//!
//! Everything that we make in an engine carries its owner in a label, so that a later process can remove what a crash left
//! and touches nothing else.

use std::fs;

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

/// The label that names the owner.
pub(crate) const OWNER: &str = "cellblock.owner";
/// The label with our version, which marks a thing as ours.
pub(crate) const VERSION: &str = "cellblock.version";

/// A process, so named that no other one of any machine has the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The machine's identity; empty where it has none.
    machine: String,
    /// The identity of its start.
    boot: String,
    /// The process namespace in which the number counts.
    namespace: String,
    process: i32,
    /// When the process started, in clock ticks: numbers are used again.
    started: u64,
}

/// What is known about an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Alive,
    Dead,
    /// It runs on another machine, or in a process namespace that cannot be seen from here.
    Unknown,
}

impl Owner {
    /// This process.
    pub(crate) fn here() -> Self {
        let process = Pid::this().as_raw();
        Self {
            machine: text("/etc/machine-id"),
            boot: text("/proc/sys/kernel/random/boot_id"),
            namespace: namespace(),
            process,
            started: started(process).map_or(0, |(_, started)| started),
        }
    }

    /// As a label has it.
    pub(crate) fn label(&self) -> String {
        let Self { machine, boot, namespace, process, started } = self;
        format!("{machine}/{boot}/{namespace}/{process}/{started}")
    }

    /// Understands a label.
    pub(crate) fn parse(label: &str) -> Option<Self> {
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

    /// Whether both processes belong to the same start of one machine.
    pub(crate) fn same_start(&self, other: &Self) -> bool {
        self.boot == other.boot
    }

    /// Whether this owner lives, as seen from `here`.
    pub(crate) fn fate(&self, here: &Self) -> Fate {
        if self.boot != here.boot {
            // Two machines made from one disk image may share an identity, but hardly an engine as well.
            let same_machine = !self.machine.is_empty() && self.machine == here.machine;
            return if same_machine { Fate::Dead } else { Fate::Unknown };
        }
        if self.namespace != here.namespace {
            return Fate::Unknown;
        }
        // A process of another user can be hidden in /proc, but not from this.
        if kill(Pid::from_raw(self.process), None) == Err(Errno::ESRCH) {
            return Fate::Dead;
        }
        match started(self.process) {
            Some(('Z' | 'X', _)) => Fate::Dead,
            Some((_, started)) if started != self.started => Fate::Dead,
            _ => Fate::Alive,
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

/// The state of a process, and when it started in clock ticks since the machine did: fields 3 and 22 of its `stat`.
fn started(process: i32) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, can hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_understood() {
        let here = Owner::here();
        assert!(here.started > 0);
        assert_eq!(Owner::parse(&here.label()), Some(here));
        for bad in ["", "a/b", "a/b/c/d/e", "a/b/c/1/2/3"] {
            assert_eq!(Owner::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_dead_are_told_from_the_living() {
        let here = Owner::here();
        assert_eq!(here.fate(&here), Fate::Alive);
        let other = |change: fn(&mut Owner)| {
            let mut owner = here.clone();
            change(&mut owner);
            owner.fate(&here)
        };
        assert_eq!(other(|owner| owner.started += 1), Fate::Dead);
        assert_eq!(other(|owner| owner.namespace.push('1')), Fate::Unknown);
        assert_eq!(
            other(|owner| {
                owner.boot.push('x');
                owner.machine = "elsewhere".to_owned();
            }),
            Fate::Unknown
        );

        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = i32::try_from(child.id()).unwrap();
        let started = started(process).unwrap().1;
        child.wait().unwrap();
        assert_eq!(Owner { process, started, ..here.clone() }.fate(&here), Fate::Dead);
    }

    #[test]
    fn what_an_earlier_start_of_the_machine_left_is_dead() {
        let here = Owner { machine: "this".to_owned(), ..Owner::here() };
        assert_eq!(Owner { boot: "earlier".to_owned(), ..here.clone() }.fate(&here), Fate::Dead);
        let nameless = Owner { machine: String::new(), ..here };
        assert_eq!(
            Owner { boot: "earlier".to_owned(), ..nameless.clone() }.fate(&nameless),
            Fate::Unknown
        );
    }
}
