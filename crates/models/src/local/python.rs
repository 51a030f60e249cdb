//! The search for the Python that runs the server.

use std::{
    env,
    path::{Path, PathBuf},
};

use cellblock_agents::ModelError;
use cellblock_cache::Objects;
use cellblock_packages::Interpreter;

/// The minimum version that llama.cpp's wheel supports.
const MIN_VERSION: (u32, u32) = (3, 10);

/// Returns the given interpreter, or the first one in `PATH` and `/usr/bin` that is new enough.
pub async fn find(objects: &Objects, given: Option<&Path>) -> Result<Interpreter, ModelError> {
    if let Some(given) = given {
        let failed = |why| ModelError::Start {
            what: format!("the local model cannot use `{}`", given.display()),
            source: Some(why),
        };
        let interpreter =
            Interpreter::query(objects, given).await.map_err(|error| failed(error.into()))?;
        return match is_new_enough(&interpreter.version) {
            true => Ok(interpreter),
            false => Err(failed(format!("it is Python {}", interpreter.version).into())),
        };
    }
    let mut seen = Vec::new();
    for program in candidates() {
        if let Ok(interpreter) = Interpreter::query(objects, &program).await {
            if is_new_enough(&interpreter.version) {
                return Ok(interpreter);
            }
            seen.push(format!("{} is Python {}", program.display(), interpreter.version));
        }
    }
    let (major, minor) = MIN_VERSION;
    let seen = if seen.is_empty() { String::new() } else { format!(" ({})", seen.join(", ")) };
    let what = format!(
        "the local model needs Python {major}.{minor} or newer, and none was found{seen}; install \
         it (Debian: `apt-get install python3`), or set a key for another model"
    );
    Err(ModelError::Start { what, source: None })
}

fn candidates() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain([PathBuf::from("/usr/bin")]);
    let programs = directories
        .filter(|directory| directory.is_absolute())
        .flat_map(|directory| ["python3", "python"].map(|name| directory.join(name)));
    let mut found: Vec<PathBuf> = Vec::new();
    for program in programs.filter(|program| program.is_file()) {
        if !found.contains(&program) {
            found.push(program);
        }
    }
    found
}

/// True if a version such as `3.11.2` is new enough.
fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= MIN_VERSION,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        for good in ["3.10.0", "3.11.7", "3.100.1", "4.0.0"] {
            assert!(is_new_enough(good), "{good}");
        }
        for bad in ["3.9.18", "2.7.18", "3", "", "three.ten"] {
            assert!(!is_new_enough(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_program_that_is_not_python_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let objects = Objects::open(directory.path().to_owned()).unwrap();
        let error = find(&objects, Some(Path::new("/bin/true"))).await.unwrap_err();
        assert!(error.to_string().contains("cannot use `/bin/true`"), "{error}");
        assert!(find(&objects, None).await.is_ok());
    }
}
