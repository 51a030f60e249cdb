//! Who watches a run.

use async_trait::async_trait;

use cellblock_exec::{Requirement, Stream};

use super::BlockReport;
use crate::CodeBlock;

/// Hears of a run while it happens. Each method does nothing by default, and nothing that must be asked is approved.
#[async_trait]
pub trait Observer: Send + Sync {
    /// A block starts. Blocks that are skipped do not.
    fn started(&self, block: &CodeBlock) {
        let _ = block;
    }

    /// Output arrives. It is called on the thread that runs the guest: it must not block for long.
    fn output(&self, stream: Stream, bytes: &[u8]) {
        let _ = (stream, bytes);
    }

    /// Packages are being installed.
    fn installing(&self, packages: &[Requirement]) {
        let _ = packages;
    }

    /// These packages were installed, as `name==version`; none when all were there already or when it failed.
    fn installed(&self, packages: &[String]) {
        let _ = packages;
    }

    /// A block runs again after an installation.
    fn retrying(&self, block: &CodeBlock) {
        let _ = block;
    }

    /// A block has ended or was skipped. The content of its artifacts may be taken out of the report here, so that an
    /// answer with many of them does not fill the memory.
    fn finished(&self, report: &mut BlockReport) {
        let _ = report;
    }

    /// Whether these packages may be installed, where the policy says to ask.
    async fn approve(&self, packages: &[Requirement]) -> bool {
        let _ = packages;
        false
    }
}

/// Watches nothing and approves nothing.
impl Observer for () {}
