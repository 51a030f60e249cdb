//! Conversations without a model.
fn main() {}
