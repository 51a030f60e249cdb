//! From an answer's text to blocks, languages, file names and packages.

mod filenames;
mod installs;
mod languages;
mod markdown;
mod packages;
mod properties;
