//! Output for people and programs.
//!
//! Standard output has the output of programs, the transcript of a chat, or the one object of
//! `--json`, and nothing else. All that cellblock itself says goes to standard error. On a
//! terminal, control sequences of programs are removed; through a pipe every byte passes unchanged.

mod picture_size;
pub mod pictures;
pub mod progress;
pub mod screen;
pub mod text;
