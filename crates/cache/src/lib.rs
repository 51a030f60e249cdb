//! The user's cache directory, and packages installed into it by the user's own installer.
//!
//! What is expensive to make is made once and kept as an immutable object ([`Objects`]): guests, compiled code and memory
//! images of the WebAssembly executor, and sets of packages. Packages come through the user's own uv or pip
//! ([`Installer`]), as wheels only, so that none of their code runs on this machine outside of a sandbox: for a guest, or
//! for a Python interpreter of this machine ([`wheels`]). A name can be given to such a set, and kept
//! ([`environments`]).

mod directory;
pub mod environments;
mod index;
mod installed;
mod installer;
mod interpreter;
mod links;
mod objects;
#[cfg(any(test, feature = "testing"))]
pub mod rerun;
mod temporary;
pub mod wheels;

pub use directory::user_directory;
pub use installed::{Package, files, installed};
pub use installer::{Fit, Installer, Installers, Job};
pub use interpreter::Interpreter;
pub use links::Held;
pub use objects::{Care, Objects, object_id, storage};
pub use temporary::Temporary;
