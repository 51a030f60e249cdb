//! Languages: their tags, their file extensions, and the inference for code without a tag.

mod features;
mod infer;
mod shell;
mod tags;

pub use infer::infer;
pub(crate) use tags::is_tag;
pub use tags::{file_extension, from_filename, from_tag, is_program};
