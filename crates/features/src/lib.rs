//! Nothing but dependencies: it gives each third-party crate the same features, whichever package
//! of the workspace is built.
//!
//! Cargo joins the features that the selected packages ask for. So `cargo test -p cellblock-wasi`
//! would compile wasmtime a second time after `cargo test --workspace`, because something below it
//! has other features there. The programs depend on this crate, and the tests of all libraries; the
//! libraries do not.
