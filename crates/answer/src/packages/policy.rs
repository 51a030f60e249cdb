//! The install policy: the packages that may be installed.
//!
//! Models invent package names, and attackers register these names. So by default only packages
//! that many people use are installed without a question.

use std::{fmt, str::FromStr};

use cellblock_exec::{Error, PackageName, Requirement};
use serde::{Deserialize, Serialize};

use super::names;

/// Widely used packages of PyPI: normalised names, sorted, one a line. `#` starts a comment.
///
/// The list has the packages with the most downloads, and those of `import-names.tsv`.
const KNOWN: &str = include_str!("known-packages.txt");

/// A policy for installations. The default is [`InstallMode::Known`] with empty lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InstallPolicy {
    /// The rule for packages that neither list names.
    pub mode: InstallMode,
    /// Packages to install without a question, unless the mode is [`InstallMode::Never`].
    pub allow: Vec<PackageName>,
    /// Packages never to install. This list wins over everything else.
    pub deny: Vec<PackageName>,
}

/// The rule for packages that are on no list of the user's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstallMode {
    /// Nothing is installed, not even what `allow` names.
    Never,
    /// Well-known packages are installed, others are refused.
    #[default]
    Known,
    /// A person is asked about each package, also about a well-known one.
    Ask,
    /// Everything is installed.
    Any,
}

/// The decision about one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may be installed.
    Allow,
    /// A person decides.
    Ask,
    /// It must not be installed.
    Deny {
        /// The rule that forbids it, and what would allow it.
        why: String,
    },
}

impl InstallPolicy {
    /// Decides about a package, by its name alone: extras and version make no difference.
    pub fn decide(&self, requirement: &Requirement) -> Decision {
        let name = requirement.name.as_str();
        let listed = |list: &[PackageName]| list.iter().any(|listed| listed.as_str() == name);
        if listed(&self.deny) {
            return Decision::Deny {
                why: format!("`{name}` is on the deny list; take it off the list to install it"),
            };
        }
        match self.mode {
            InstallMode::Never => Decision::Deny {
                why: format!(
                    "`{name}` is not installed because the install mode is `never`; `known` \
                        allows well-known packages"
                ),
            },
            _ if listed(&self.allow) => Decision::Allow,
            InstallMode::Known if is_known(name) => Decision::Allow,
            InstallMode::Known => Decision::Deny { why: unknown(name) },
            InstallMode::Ask => Decision::Ask,
            InstallMode::Any => Decision::Allow,
        }
    }
}

/// True if the list of well-known packages has this normalised name.
pub fn is_known(name: &str) -> bool {
    known_packages().any(|known| known == name)
}

/// Returns the list of well-known packages, in order.
pub fn known_packages() -> impl Iterator<Item = &'static str> {
    KNOWN.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn unknown(name: &str) -> String {
    let hint = match names::distribution_in_table(name) {
        Some(distribution) if distribution != name => {
            format!(" (the module `{name}` comes with `{distribution}`)")
        }
        _ => String::new(),
    };
    format!(
        "`{name}` is not on the list of well-known packages{hint}; to install it, put it on the \
            allow list or set the \
         install mode to `ask` or `any`"
    )
}

impl fmt::Display for InstallMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InstallMode::Never => "never",
            InstallMode::Known => "known",
            InstallMode::Ask => "ask",
            InstallMode::Any => "any",
        })
    }
}

impl FromStr for InstallMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Never, Self::Known, Self::Ask, Self::Any]
            .into_iter()
            .find(|mode| mode.to_string() == text)
            .ok_or_else(|| Error::Invalid {
                what: "install mode",
                why: format!("{text:?} is not one of `never`, `known`, `ask` and `any`"),
            })
    }
}
