//! The suite that every executor must pass.

use cellblock_docker::Options;

use crate::engine::executor_with;

/// An executor for a case; without an engine the case is over.
macro_rules! executor {
    () => {
        match executor_with(Options::default()).await {
            Some(executor) => executor,
            None => return,
        }
    };
}

cellblock_conformance::conformance!(executor!());
