//! The location of the user's cache.

use std::{ffi::OsString, path::PathBuf};

use cellblock_exec::{Error, Result};

/// Returns the user's cache directory: `$CELLBLOCK_CACHE`, else `$XDG_CACHE_HOME/cellblock`, else
/// `~/.cache/cellblock`. The directory is not created.
///
/// # Errors
/// [`Error::Invalid`] when neither these variables nor `HOME` are set.
pub fn user_directory() -> Result<PathBuf> {
    from_variables(|name| std::env::var_os(name))
}

fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    let variable = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("CELLBLOCK_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("cellblock")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache").join("cellblock")))
        .ok_or_else(|| Error::Invalid {
            what: "cache directory",
            why: "neither CELLBLOCK_CACHE, XDG_CACHE_HOME nor HOME is set; set CELLBLOCK_CACHE"
                .to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::from_variables;

    #[test]
    fn the_most_particular_variable_decides() {
        let all = [("CELLBLOCK_CACHE", "/a"), ("XDG_CACHE_HOME", "/b"), ("HOME", "/c")];
        let expected = ["/a", "/b/cellblock", "/c/.cache/cellblock"];
        for (first, expected) in expected.into_iter().enumerate() {
            // The variables before it are unset or empty.
            for unset in [None, Some("")] {
                let found = from_variables(|name| {
                    let (at, (_, value)) =
                        all.iter().enumerate().find(|(_, (known, _))| *known == name)?;
                    if at < first { unset.map(Into::into) } else { Some((*value).into()) }
                });
                assert_eq!(found.unwrap().to_str(), Some(expected));
            }
        }
        let why = from_variables(|_| None).unwrap_err().to_string();
        assert!(why.contains("set CELLBLOCK_CACHE"), "{why}");
    }
}
