//! Memory images: the state of a guest as a file that is mapped copy-on-write.
//!
//! Between calls the whole state of a guest is its linear memory. Its few mutable globals are back
//! at their initial values (checked when an image is made and whenever an instance is reused), none
//! of its code writes to a table, and it has no live data segments
//! ([`images::strip`](crate::images::strip) refuses other guests). So an instance whose memory is a
//! private mapping of an image equals that image, and is made in microseconds. Once the pages that
//! a program wrote are copied back, it equals the image again.

mod image;
mod pool;
mod slot;
#[cfg(test)]
pub mod tests;

pub use image::{MemoryImage, RestGlobal, WASM_PAGE, write_sparse};
pub use pool::Template;
pub use slot::{Guest, Slot};
