//! Nothing but dependencies: it gives each third-party crate the same features, whichever package
//! of the workspace is built.
//!
//! Cargo joins the features that the selected packages ask for. So `cargo test -p cellblock-exec`
//! would compile most of what `cargo test --workspace` has compiled a second time, wasmtime among
//! it. The programs depend on this crate, and the tests of all libraries; the libraries do not.
