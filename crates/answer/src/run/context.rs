//! The options of a run, and the state that its blocks share.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cellblock_exec::{CancellationToken, Executor, HostTools, Language};

use super::observer::Observer;
use crate::packages::InstallPolicy;

/// Options of a run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Standard input of each block, which reads it from the beginning. Default: empty.
    pub stdin: Arc<Vec<u8>>,
    /// The packages that may be installed. Default: well-known packages.
    pub install: InstallPolicy,
    /// The maximum number of times that a block runs again after a missing package was installed.
    /// Default: 3.
    pub retries: u32,
    /// The maximum size of all output in the report, in bytes, so that an answer of ten thousand
    /// chatty blocks cannot fill the memory. The rest counts as dropped. Default: 64 MiB.
    pub report_bytes: u64,
    /// Paths in the workspace that the run does not know of by itself, such as files that the
    /// caller put there. A module of such a name is the user's own, and no package is installed for
    /// it. Default: none.
    pub workspace_paths: Vec<String>,
    /// Other executors of the caller, each with its languages. They are named when a block cannot
    /// run here. Default: none.
    pub elsewhere: Vec<(String, Vec<Language>)>,
    /// Functions of the host that the programs may call. A block that runs again after an
    /// installation gets the answers to its earlier calls; nothing is called twice. Default: none.
    pub host: Option<Arc<dyn HostTools>>,
    /// Ends the run early: the running block is
    /// [`Cancelled`](cellblock_exec::Outcome::Cancelled), the rest `Skipped`.
    pub cancel: CancellationToken,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            stdin: Arc::default(),
            install: InstallPolicy::default(),
            retries: 3,
            report_bytes: 64 * 1024 * 1024,
            workspace_paths: Vec::new(),
            elsewhere: Vec::new(),
            host: None,
            cancel: CancellationToken::new(),
        }
    }
}

/// The state that the blocks of a run share.
pub struct RunContext<'a> {
    /// The executor of the session.
    pub executor: &'a dyn Executor,
    /// The caller's options.
    pub options: &'a RunOptions,
    /// The caller's subscriber.
    pub observer: Arc<dyn Observer>,
    /// Known paths of the workspace. A module of such a name is the user's own and is never
    /// installed.
    pub paths: BTreeSet<String>,
    /// A person's answers by package, so that nobody is asked twice.
    pub answers: BTreeMap<String, bool>,
}
