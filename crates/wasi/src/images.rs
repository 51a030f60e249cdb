//! Images: guests made ready, in the user's cache directory.
//!
//! ```text
//! source package ──► guest object ──► code object ──┐
//!   (wheel, sha256)    module, memory,   native code  ├─► image object ──► sessions
//!                      library layer ─────────────────┘   memory after warm-up
//! ```
//!
//! Each object is named by a hash of everything that it is made from
//! ([`cellblock_cache::Objects`]). So a new version of cellblock, of wasmtime or of the manifest,
//! or another processor, makes new objects and changes none that is in use.

mod boot;
mod code;
mod extended;
mod guest;
mod info;
pub mod layers;
mod loaded;
mod manifest;
pub mod packages;
mod shipped;
pub mod snapshot;
mod store;
pub mod strip;

pub use boot::PACKAGES as PACKAGES_DIRECTORY;
pub use info::{ImageInfo, ImageState};
pub use loaded::LoadedImage;
pub use store::ImageStore;
