//! Images: guests made ready, in the user's cache directory.
//!
//! ```text
//! source package ──► guest object ──► code object ──┐
//!   (wheel, sha256)    module, memory,   native code  ├─► image object ──► sessions
//!                      library layer ─────────────────┘   memory after warm-up
//! ```
//!
//! Each object is named by a hash of what it is made from ([`cellblock_cache::Objects`]), so a new version of cellblock, of wasmtime or of the
//! manifest, or another processor, makes new objects and touches none that is in use.

mod boot;
mod code;
mod extended;
mod guest;
mod info;
pub(crate) mod layers;
mod loaded;
mod manifest;
mod shipped;
mod store;
pub(crate) mod stored;
pub(crate) mod strip;

pub(crate) use boot::PACKAGES as PACKAGES_DIRECTORY;
pub use info::{ImageInfo, ImageState};
pub(crate) use loaded::Loaded;
pub use store::ImageStore;
