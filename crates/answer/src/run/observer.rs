//! Subscribers to a run.

use async_trait::async_trait;

use cellblock_exec::{Requirement, Stream};

use super::report::BlockReport;
use crate::CodeBlock;

/// A subscriber to the events of a run. By default each method does nothing, and no package is
/// approved.
#[async_trait]
pub trait Observer: Send + Sync {
    /// A block starts. Not called for skipped blocks.
    fn started(&self, block: &CodeBlock) {
        let _ = block;
    }

    /// Output arrives. Called on the thread that runs the guest, so it must not block for long.
    fn output(&self, stream: Stream, bytes: &[u8]) {
        let _ = (stream, bytes);
    }

    /// Packages are being installed.
    fn installing(&self, packages: &[Requirement]) {
        let _ = packages;
    }

    /// These packages were installed, as `name==version`. Empty if all were installed already, or
    /// after a failure.
    fn installed(&self, packages: &[String]) {
        let _ = packages;
    }

    /// A block runs again after an installation.
    fn retrying(&self, block: &CodeBlock) {
        let _ = block;
    }

    /// A block has ended or was skipped. The subscriber can take the content of artifacts out of
    /// the report, so that an answer with many of them does not fill the memory.
    fn finished(&self, report: &mut BlockReport) {
        let _ = report;
    }

    /// Asks a person about these packages, where the policy says so. Returns true to install them.
    async fn approve(&self, packages: &[Requirement]) -> bool {
        let _ = packages;
        false
    }
}

/// The subscriber that ignores everything and approves nothing.
impl Observer for () {}
