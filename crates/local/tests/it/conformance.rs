//! The conformance suite, at each level.

use std::sync::Arc;

use cellblock_exec::Isolation;
use cellblock_local::LocalExecutor;

async fn executor(isolation: Isolation) -> Arc<LocalExecutor> {
    Arc::new(super::cells::executor(isolation).await)
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
