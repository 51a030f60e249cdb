//! Packages that code needs: install commands, missing packages, names, and the install policy.

mod missing;
mod names;
mod policy;
mod request;

pub use missing::{Missing, missing};
pub use names::{
    command_names, distribution, distribution_of_command, import_names, is_standard_library,
};
pub use policy::{Decision, InstallMode, InstallPolicy, is_known, known_packages};
pub use request::{InstallRequest, RequestRefused, Split, split_installs};
