//! The Python interpreters of this machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use cellblock_exec::{Error, Result};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::{
    index::{Stamp, Use},
    objects::{Objects, object_id},
    temporary::write_whole,
};

/// A Python interpreter of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// Its path: not that of a version manager's stand-in, but that of a virtual environment if it belongs to one.
    pub path: PathBuf,
    /// Its version, such as `3.11.2`.
    pub version: String,
    /// What native modules have to fit besides, such as `cpython-311 x86_64-linux-gnu`.
    pub platform: String,
}

/// Prints the three of them.
const QUESTION: &str = "import sys; i = sys.implementation; \
    print(sys.executable, '.'.join(map(str, sys.version_info[:3])), \
    i.cache_tag + getattr(sys, 'abiflags', '') + ' ' + getattr(i, '_multiarch', sys.platform), sep='\\n')";

/// What was learnt of an interpreter, and of which file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Answer {
    stamp: Stamp,
    interpreter: Interpreter,
}

impl Interpreter {
    /// Asks the interpreter `program` (a path, or a name to look for in `PATH`) what it is. The answer is kept in the cache
    /// and good until the program changes.
    ///
    /// # Errors
    /// [`Error::Start`] when it does not start, or is no Python.
    pub async fn ask(objects: &Objects, program: &Path) -> Result<Self> {
        // Only an absolute path means the same next time.
        let kept = program.is_absolute().then(|| {
            let id = object_id("python", &[program.as_os_str().as_encoded_bytes()]);
            objects.root.join("interpreters").join(format!("{id}.json"))
        });
        let stamp = fs::metadata(program).ok().map(|metadata| Stamp::of(&metadata, Use::Private));
        let known = kept
            .as_ref()
            .and_then(|path| serde_json::from_slice::<Answer>(&fs::read(path).ok()?).ok());
        if let Some(known) = known.filter(|known| stamp.as_ref() == Some(&known.stamp)) {
            return Ok(known.interpreter);
        }
        let interpreter = Self::run(program).await?;
        // A version manager's stand-in gives another interpreter in another directory.
        let is_itself = fs::canonicalize(program).ok() == fs::canonicalize(&interpreter.path).ok();
        if let (Some(path), Some(stamp), true) = (kept, stamp, is_itself) {
            write_whole(objects, &path, &Answer { stamp, interpreter: interpreter.clone() })?;
        }
        Ok(interpreter)
    }

    async fn run(program: &Path) -> Result<Self> {
        let failed = |source| Error::Start {
            what: format!("the interpreter {}", program.display()),
            source,
        };
        let mut command = Command::new(program);
        command.args(["-I", "-S", "-c", QUESTION]).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.map_err(|error| failed(error.into()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        match said.lines().collect::<Vec<_>>()[..] {
            [path, version, platform]
                if output.status.success() && Path::new(path).is_absolute() =>
            {
                Ok(Self {
                    path: path.into(),
                    version: version.to_owned(),
                    platform: platform.to_owned(),
                })
            }
            _ => Err(failed(
                format!("it is no Python 3 ({}); name another one", output.status).into(),
            )),
        }
    }
}
