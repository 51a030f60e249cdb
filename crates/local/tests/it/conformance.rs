//! The suite that every executor must pass, at each level.

use std::sync::Arc;

use cellblock_exec::Isolation;
use cellblock_local::{LocalExecutor, Options};

async fn executor(isolation: Isolation) -> Arc<LocalExecutor> {
    let options = Options { isolation: Some(isolation), ..Options::default() };
    Arc::new(LocalExecutor::start(options).await.unwrap())
}

mod namespaces {
    use super::*;

    cellblock_conformance::conformance!(executor(Isolation::Namespaces).await);
}

mod landlock {
    use super::*;

    cellblock_conformance::conformance!(executor(Isolation::Landlock).await);
}

mod none {
    use super::*;

    cellblock_conformance::conformance!(executor(Isolation::None).await);
}
