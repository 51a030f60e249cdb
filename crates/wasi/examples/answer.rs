//! A whole answer of a model: its blocks run in order, a missing package is installed, and
//! artifacts are written to a directory.
//!
//! `cargo run --release -p cellblock-wasi --example answer`
#![allow(clippy::print_stdout)] // An example prints its results.

use std::{error::Error, fs, path::Path, sync::Arc};

use async_trait::async_trait;
use cellblock_answer::{
    CodeBlock, code_blocks,
    packages::{InstallMode, InstallPolicy},
    run::{Observer, RunOptions, run_blocks},
};
use cellblock_exec::Silent;
use cellblock_exec::{Artifact, Requirement, SessionSpec, workspace::artifact_path};
use cellblock_wasi::{ImageStore, Options, WasiExecutor};

const ANSWER: &str = "
First the numbers:

```python
import humanize
sizes = [1.5e3, 2e6, 3.7e9]
labels = [humanize.naturalsize(size) for size in sizes]
print(labels)
```

And the chart:

```python
import matplotlib.pyplot as plt
plt.bar(labels, sizes, log=True)
plt.show()
```

It should look like this:

```text
three bars
```
";

/// Receives events while the answer runs. Each method has a default.
struct Person;

#[async_trait]
impl Observer for Person {
    fn started(&self, block: &CodeBlock) {
        println!("block {} in line {}", block.index, block.line);
    }

    /// Decides where the policy does not. The default is no.
    async fn approve(&self, packages: &[Requirement]) -> bool {
        let names: Vec<String> = packages.iter().map(ToString::to_string).collect();
        println!("may {} be installed? yes", names.join(", "));
        true
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let executor =
        WasiExecutor::start(ImageStore::in_user_cache()?, Options::default(), &Silent).await?;

    let blocks = code_blocks(ANSWER);
    let options = RunOptions {
        install: InstallPolicy {
            mode: InstallMode::Ask,
            deny: vec!["requests".parse()?], // Never, whatever the person decides.
            ..InstallPolicy::default()
        },
        ..RunOptions::default()
    };
    let report =
        run_blocks(&executor, &SessionSpec::default(), &blocks, &options, Arc::new(Person)).await?;

    let directory = tempfile::tempdir()?;
    for block in &report.blocks {
        println!(
            "block {}: {:?} {:?} {:?}",
            block.index, block.outcome, block.installed, block.stdout
        );
        for artifact in &block.artifacts {
            write(directory.path(), artifact)?;
            println!("wrote {}", artifact.path);
        }
    }
    println!("exit status {}", report.exit_code);
    // `serde_json::to_string(&report)` is what `cellblock run --json` prints.
    Ok(())
}

/// Writes an artifact into a new directory. The name comes from an untrusted program, so it is
/// checked. In a directory that can contain other files and links, also create each file anew, and
/// open each parent without following links.
fn write(directory: &Path, artifact: &Artifact) -> Result<(), Box<dyn Error>> {
    let path = artifact_path(artifact.path.as_bytes()).map_err(|refused| refused.reason)?;
    let path = directory.join(path);
    fs::create_dir_all(path.parent().unwrap_or(directory))?;
    Ok(fs::write(path, &*artifact.content)?)
}
