//! Memory images: the state of a guest as a file that is mapped copy-on-write.
//!
//! Between calls the whole state of a guest is its linear memory. Its few mutable globals are back at their initial
//! values (checked when an image is made and whenever an instance is reused), no code of it writes to a table and it
//! has no live data segments ([`crate::images::strip`] refuses other guests). So an instance whose memory is a private
//! mapping of an image *is* that image, made in microseconds; and once the pages that a program wrote are copied back, it
//! is so again.
//!
//! All `unsafe` code of this crate is in [`sys`].

mod image;
#[cfg(test)]
mod image_tests;
mod pool;
mod slot;
pub(crate) mod sys;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use image::{MemoryImage, write_sparse};
pub(crate) use pool::Template;
pub(crate) use slot::{Guest, Slot};
