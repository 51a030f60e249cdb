//! The Python interpreters of this machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use cellblock_cache::{Objects, Stamp, object_id};
use cellblock_exec::{BoxFuture, Error, Result};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

/// A Python interpreter of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// The path of its program: in the virtual environment if it belongs to one; not a version
    /// manager's wrapper.
    pub path: PathBuf,
    /// The version, such as `3.11.2`.
    pub version: String,
    /// The platform that native modules have to fit, such as `cpython-311 x86_64-linux-gnu`.
    pub platform: String,
}

/// A Python program that prints the three fields, a line each.
const QUERY: &str = "import sys; i = sys.implementation; \
    print(sys.executable, '.'.join(map(str, sys.version_info[:3])), \
    i.cache_tag + getattr(sys, 'abiflags', '') + ' ' + getattr(i, '_multiarch', sys.platform), \
    sep='\\n')";

/// An interpreter, and the stamp of the program that described it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct KnownInterpreter {
    stamp: Stamp,
    interpreter: Interpreter,
}

impl Interpreter {
    /// Asks the interpreter `program` (a path, or a name to find in `PATH`) to describe itself. The
    /// cache keeps its answer until the program changes.
    ///
    /// # Errors
    /// [`Error::Start`] when the program does not start or is not a Python.
    pub fn query<'q>(objects: &'q Objects, program: &'q Path) -> BoxFuture<'q, Result<Self>> {
        Box::pin(async move {
            // Only an absolute path means the same program next time.
            let file = program.is_absolute().then(|| {
                let id = object_id("python", &[program.as_os_str().as_encoded_bytes()]);
                objects.root.join("interpreters").join(format!("{id}.json"))
            });
            let stamp = fs::metadata(program).ok().map(|metadata| Stamp::new(&metadata));
            let known = file.as_ref().and_then(|path| {
                serde_json::from_slice::<KnownInterpreter>(&fs::read(path).ok()?).ok()
            });
            if let Some(known) = known.filter(|known| stamp.as_ref() == Some(&known.stamp)) {
                return Ok(known.interpreter);
            }
            let interpreter = Self::run(program).await?;
            // A version manager's wrapper runs another interpreter in another directory.
            let is_itself =
                fs::canonicalize(program).ok() == fs::canonicalize(&interpreter.path).ok();
            if let (Some(path), Some(stamp), true) = (file, stamp, is_itself) {
                let known = KnownInterpreter { stamp, interpreter: interpreter.clone() };
                objects.write_json(&path, &known)?;
            }
            Ok(interpreter)
        })
    }

    async fn run(program: &Path) -> Result<Self> {
        let failed = |source| Error::Start {
            what: format!("the interpreter {}", program.display()),
            source,
        };
        let mut command = Command::new(program);
        command.args(["-I", "-S", "-c", QUERY]).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.map_err(|error| failed(error.into()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        match text.lines().collect::<Vec<_>>()[..] {
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
                format!("it is not a Python 3 ({}); name another one", output.status).into(),
            )),
        }
    }
}
