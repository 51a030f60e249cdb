//! The suite that every executor must pass.

use cellblock_docker::Options;

use crate::engine::executor_with;

/// Starts an executor for a case. Without an engine the case ends.
macro_rules! executor {
    () => {
        match executor_with(Options::default()).await {
            Some(executor) => executor,
            None => return,
        }
    };
}

cellblock_conformance::conformance!(executor!());
