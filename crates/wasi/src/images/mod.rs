//! Images: guests made ready, in the user's cache directory.
//!
//! ```text
//! source package ──► guest object ──► code object ──┐
//!   (wheel, sha256)    module, memory,   native code  ├─► image object ──► sessions
//!                      library layer ─────────────────┘   memory after warm-up
//! ```
//!
//! Each object is named by a hash of what it is made from ([`objects`]), so a new version of cellblock, of wasmtime or of the
//! manifest, or another processor, makes new objects and touches none that is in use.

mod boot;
mod code;
mod extend;
mod guest;
pub(crate) mod installer;
mod manifest;
pub(crate) mod objects;
mod progress;
mod store;
pub(crate) mod stored;
pub(crate) mod strip;

pub(crate) use boot::PACKAGES as PACKAGES_DIRECTORY;
pub(crate) use guest::LayerWriter;
pub use progress::{Progress, Silent};
pub(crate) use store::Loaded;
pub use store::{ImageInfo, ImageState, ImageStore};
