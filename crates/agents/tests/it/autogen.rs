//! The conformance cases of AutoGen 0.2, one test each, named by their numbers.

mod conversation;
mod executor;
mod extraction;
mod group;
