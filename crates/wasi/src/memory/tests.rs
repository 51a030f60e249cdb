//! Tests of slots and their reset, with a small hostile guest in place of Python, and with Python.

mod calls;
mod fuel;
pub mod guest;
mod hostile;
mod python;
mod reset;
