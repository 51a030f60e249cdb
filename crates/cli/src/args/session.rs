//! Options of a session, shared by `run`, `exec` and `chat`.

use std::{path::PathBuf, time::Duration};

use cellblock_answer::packages::InstallMode;
use cellblock_docker::HostMount;
use cellblock_exec::{Isolation, Limits, PackageName};
use clap::{Args, value_parser};

use super::values;

/// Files, executor, grants, limits and packages of a session.
#[derive(Debug, Args)]
pub struct SessionArgs {
    /// Directory whose files are copied into the workspace. Links, devices and files that exceed
    /// --disk are not copied, each with a note
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    pub workspace: Option<PathBuf>,
    /// Directory for the files that code creates; created if there are any
    #[arg(long, value_name = "DIR", default_value = "cellblock-out", help_heading = "Files")]
    pub out: PathBuf,
    /// Replace existing files of the output directory. By default they stay, and the new file gets
    /// a number, as in `figure-1-2.png`
    #[arg(long, help_heading = "Files")]
    pub overwrite: bool,
    /// Executor that runs the code: `wasi` (WebAssembly), `docker` (a container), `local` (a
    /// hardened process), or `auto`: for each block the strictest of them that can run it
    #[arg(long, value_name = "NAME", default_value = "auto", help_heading = "Sandbox")]
    pub executor: String,
    /// Weakest isolation that `auto` may choose: `wasm`, `container`, `namespaces` or `landlock`.
    /// With `--executor local`, the exact level, which may also be `none` [default: the strongest
    /// that works; never `none`]
    #[arg(
        long,
        value_name = "LEVEL",
        value_parser = values::isolation,
        help_heading = "Sandbox"
    )]
    pub isolation: Option<Isolation>,
    /// Image that the session starts from; `cellblock image list` shows them. With Docker, also any
    /// image that has Python
    #[arg(long, value_name = "NAME", help_heading = "Sandbox")]
    pub image: Option<String>,
    /// Docker only: runtime of the engine, such as `runsc`
    #[arg(long, value_name = "NAME", help_heading = "Sandbox")]
    pub runtime: Option<String>,
    /// Local only: virtual environment that programs may read
    #[arg(long, value_name = "DIR", help_heading = "Sandbox")]
    pub venv: Option<PathBuf>,
    /// Local only: named package set that is kept between sessions
    #[arg(long, value_name = "NAME", conflicts_with = "venv", help_heading = "Sandbox")]
    pub environment: Option<String>,
    /// Host that programs may connect to: `HOST:PORT`, or `HOST` for ports 80 and 443; may be
    /// repeated [default: no network]
    #[arg(long, value_name = "HOST", value_parser = values::host, help_heading = "Grants")]
    pub allow_host: Vec<values::Host>,
    /// Docker only: directory that programs may read, `/host/dir:/cell/dir`, or write, with `:rw`
    /// at the end; may be repeated
    #[arg(long, value_name = "DIRS", value_parser = values::mount, help_heading = "Grants")]
    pub mount: Vec<HostMount>,
    /// Docker only: give access to all graphics processors
    #[arg(long, help_heading = "Grants")]
    pub gpus: bool,
    /// Wall time for each block, sleep included: `30s`, `500ms`, `2m`, or seconds
    #[arg(
        long,
        value_name = "TIME",
        default_value = "60s",
        value_parser = values::duration,
        help_heading = "Limits"
    )]
    pub timeout: Duration,
    /// Processor time for each block [default: limited by --timeout only]
    #[arg(long, value_name = "TIME", value_parser = values::duration, help_heading = "Limits")]
    pub cpu: Option<Duration>,
    /// WebAssembly only: instructions for each block. A program then stops at the same place in
    /// every run. It runs slower, and the image is compiled once more
    #[arg(
        long,
        value_name = "N",
        value_parser = value_parser!(u64).range(1..),
        help_heading = "Limits"
    )]
    pub fuel: Option<u64>,
    /// Memory of the session, interpreter included: `512m`, `1g`, or bytes
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "1g",
        value_parser = values::size,
        help_heading = "Limits"
    )]
    pub memory: u64,
    /// Total size of the files that the session writes
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "256m",
        value_parser = values::size,
        help_heading = "Limits"
    )]
    pub disk: u64,
    /// Number of files and directories that the session creates
    #[arg(
        long,
        value_name = "N",
        default_value_t = Limits::default().files,
        value_parser = value_parser!(u32).range(1..),
        help_heading = "Limits"
    )]
    pub files: u32,
    /// Number of processes at the same time
    #[arg(
        long,
        value_name = "N",
        default_value_t = Limits::default().processes,
        value_parser = value_parser!(u32).range(1..),
        help_heading = "Limits"
    )]
    pub processes: u32,
    /// Fail if the executor can only watch one of these limits, not enforce it
    #[arg(long, help_heading = "Limits")]
    pub strict_limits: bool,
    /// Size of the standard output that is kept for each block, and likewise of its standard error
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "1m",
        value_parser = values::size,
        help_heading = "Limits"
    )]
    pub output_limit: u64,
    /// Missing packages that are installed: `never` any, `known` (well-known ones), `ask` each
    /// time, or `any`
    #[arg(
        long,
        value_name = "MODE",
        default_value = "known",
        value_parser = values::install_mode,
        help_heading = "Packages"
    )]
    pub install: InstallMode,
    /// Package to install without a question; may be repeated
    #[arg(long, value_name = "NAME", value_parser = values::package, help_heading = "Packages")]
    pub allow_package: Vec<PackageName>,
    /// Package never to install; may be repeated
    #[arg(long, value_name = "NAME", value_parser = values::package, help_heading = "Packages")]
    pub deny_package: Vec<PackageName>,
    /// Number of times that a block may run again after missing packages were installed
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "Packages")]
    pub retries: u32,
}
