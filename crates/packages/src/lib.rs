//! Python packages for the guest and for interpreters of this machine, installed by the user's own
//! uv or pip ([`install_wheels`]) and kept in the cache.
//!
//! Only wheels are installed: building a package from source would run its author's code on this
//! machine, outside of any sandbox. [`wheels`] keeps a set of packages for one interpreter;
//! [`environments`] gives such a set a name and keeps it until it is removed.

pub mod environments;
mod installed;
mod installer;
mod interpreter;
mod process;
pub mod wheels;

pub use installed::{InstalledPackage, installed_packages, normalized_name};
pub use installer::{
    Installer, UnpackProgress, WheelRequest, WheelTarget, install_wheels, move_contents,
};
pub use interpreter::Interpreter;
