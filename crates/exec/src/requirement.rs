//! Requirements: a package's name, its extras and its version.
//!
//! The syntax is the part of PEP 508 that names a package of the package index. Anything that names
//! another source (a URL, a path, a requirements file, an option) is refused, because it would
//! bypass the install policy.

use std::{fmt, str::FromStr};

use pep440_rs::VersionSpecifiers;
use serde::{Deserialize, Serialize};

/// The maximum length of a requirement, in bytes. The longest name on the package index is far
/// shorter.
const MAX_LENGTH: usize = 512;

/// A package to install, such as `humanize` or `humanize>=4,<5`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Requirement {
    /// The distribution's name in its normal form; see [`PackageName`].
    pub name: String,
    /// Extras, such as `["excel"]`, normalised.
    pub extras: Vec<String>,
    /// The version specifier, such as `>=4,<5`; empty for any version.
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

/// The name of a distribution in its normal form (PEP 503): lower case, with runs of `-`, `_` and
/// `.` as one `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PackageName(String);

impl PackageName {
    /// Returns the normalised name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<PackageName> for String {
    fn from(name: PackageName) -> Self {
        name.0
    }
}

impl FromStr for PackageName {
    type Err = RequirementRefused;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |why: &str| RequirementRefused::new(text, why);
        if text.len() > MAX_LENGTH {
            return Err(refused("the name is too long"));
        }
        normalise(text).map(Self).ok_or_else(|| {
            refused(
                "a package name consists of letters, digits, `-`, `_` and `.`, with a letter \
                or digit at both ends",
            )
        })
    }
}

impl TryFrom<String> for PackageName {
    type Error = RequirementRefused;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The reason why a text is not a valid requirement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a package to install: {why}")]
pub struct RequirementRefused {
    /// The text, shortened to 80 characters.
    pub text: String,
    /// The fault, and what is allowed.
    pub why: String,
}

impl RequirementRefused {
    fn new(text: &str, why: impl Into<String>) -> Self {
        Self { text: text.chars().take(80).collect(), why: why.into() }
    }
}

/// Parses `name`, `name[extra,…]`, and either of them with a version specifier such as `>=4,<5`.
impl FromStr for Requirement {
    type Err = RequirementRefused;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |why: &str| RequirementRefused::new(text, why);
        let text = text.trim();
        if text.is_empty() {
            return Err(refused("it is empty; write a package name, such as `humanize>=4,<5`"));
        }
        if text.len() > MAX_LENGTH {
            return Err(refused("it is too long"));
        }
        if let Some(why) = other_source(text) {
            return Err(refused(why));
        }

        let name_end = text.find(|c: char| !is_name_char(c)).unwrap_or(text.len());
        let (name, rest) = text.split_at(name_end);
        let name = name.parse::<PackageName>().map_err(|error| refused(&error.why))?.0;

        let (extras, rest) = match rest.trim_start().strip_prefix('[') {
            None => (Vec::new(), rest),
            Some(rest) => {
                let (list, rest) = rest
                    .split_once(']')
                    .ok_or_else(|| refused("the `[` of its extras is not closed"))?;
                (
                    extras(list).ok_or_else(|| refused("an extra is a name, such as `[excel]`"))?,
                    rest,
                )
            }
        };

        let version = rest.trim();
        let version = if version.is_empty() {
            String::new()
        } else {
            VersionSpecifiers::from_str(version)
                .map_err(|_| {
                    refused(
                        "after the name only a version specifier is allowed, such as `==4.9`, \
                        `>=4,<5` or `~=4.9`",
                    )
                })?
                .iter()
                .map(|specifier| specifier.to_string().replace(' ', ""))
                .collect::<Vec<_>>()
                .join(",")
        };
        let requirement = Self { name, extras, version };
        // Its normal form can be longer: `1r1` is `1.post1`.
        if requirement.to_string().len() > MAX_LENGTH {
            return Err(refused("it is too long"));
        }
        Ok(requirement)
    }
}

impl TryFrom<String> for Requirement {
    type Error = RequirementRefused;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PackageName> for Requirement {
    fn from(name: PackageName) -> Self {
        Self { name: name.0, extras: Vec::new(), version: String::new() }
    }
}

/// Returns the reason to refuse a text that names another source than the index; `None` if it may
/// be a package.
fn other_source(text: &str) -> Option<&'static str> {
    if text.starts_with('-') {
        Some("options are not allowed; name the packages")
    } else if text.contains("://") || text.starts_with("git+") || text.contains('@') {
        Some("packages are not fetched from a URL; write the name it has on the package index")
    } else if text.contains(['/', '\\']) || text.starts_with(['.', '~']) {
        Some("packages are not installed from a path; write the name it has on the package index")
    } else if text.contains(';') {
        Some("environment markers are not allowed; write a name and a version")
    } else if text.contains(['$', '`', '|', '&', '(', ')', '{', '}', '"', '\'', '\0', '\n', '\r']) {
        Some("shell syntax is not allowed; write the name out")
    } else {
        None
    }
}

fn extras(list: &str) -> Option<Vec<String>> {
    if list.trim().is_empty() {
        return Some(Vec::new());
    }
    let mut extras =
        list.split(',').map(|extra| normalise(extra.trim())).collect::<Option<Vec<_>>>()?;
    extras.sort();
    extras.dedup();
    Some(extras)
}

/// Returns the normal form of a name (PEP 503); `None` for an invalid name (PEP 508).
fn normalise(name: &str) -> Option<String> {
    let ends_well = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if !(name.chars().all(is_name_char)
        && ends_well(name.chars().next())
        && ends_well(name.chars().next_back()))
    {
        return None;
    }
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            c => normal.push(c.to_ascii_lowercase()),
        }
    }
    Some(normal)
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// The result of an installation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallReport {
    /// Packages that are new in the session, as `name==version`. Empty if all were installed
    /// already.
    pub installed: Vec<String>,
}
