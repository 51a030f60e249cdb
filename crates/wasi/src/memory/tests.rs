//! Tests of slots and their reset, with a small hostile guest in place of Python.

mod calls;
mod fuel;
pub(crate) mod guest;
mod hostile;
mod reset;
