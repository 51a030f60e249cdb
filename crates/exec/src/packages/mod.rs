//! Packages that code needs: how they are named, which one is missing, and which may be installed.

mod missing;
mod names;
mod policy;
mod request;
mod requirement;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use missing::{Missing, missing};
pub use names::{
    command_names, distribution, distribution_of_command, import_names, is_standard_library,
};
pub use policy::{Decision, InstallMode, InstallPolicy, is_known, known_packages};
pub use request::{InstallRequest, RequestRefused, Split, split_installs};
pub use requirement::{PackageName, RequirementRefused};

/// A package to install, such as `humanize` or `humanize>=4,<5`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Requirement {
    /// The distribution's name, normalised as PyPA says (lower case, runs of `-_.` become `-`).
    pub name: String,
    /// Extras, such as `["excel"]`, normalised.
    pub extras: Vec<String>,
    /// The version specifier, such as `>=4,<5`; empty when any version will do.
    pub version: String,
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.extras.is_empty() {
            write!(f, "[{}]", self.extras.join(","))?;
        }
        f.write_str(&self.version)
    }
}

impl From<Requirement> for String {
    fn from(requirement: Requirement) -> Self {
        requirement.to_string()
    }
}

/// What an installation did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallReport {
    /// What is new in the session, as `name==version`. Empty when everything was there already.
    pub installed: Vec<String>,
}
