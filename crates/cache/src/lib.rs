//! The user's cache directory: immutable objects, each made once.
//!
//! Whatever is expensive to make is kept here as an object ([`Objects`]): guests, compiled code and
//! memory images of the WebAssembly executor, sets of packages, the local model. An object is named
//! by a hash of everything that it is made from ([`object_id`]), so it never becomes outdated.
//!
//! A program gets an object's files by its directory ([`Objects::hold`]) or by links or copies in a
//! directory of its own ([`Objects::link_into`], [`Objects::copy_into`]).

mod directory;
mod error;
mod files;
mod index;
mod links;
mod objects;
mod stamp;
mod temporary;

pub use directory::user_directory;
pub use error::storage_error;
pub use files::{read_json, visit_files};
pub use index::Rehash;
pub use objects::{HeldObject, ObjectLock, Objects, object_id};
pub use stamp::Stamp;
pub use temporary::TemporaryDirectory;
