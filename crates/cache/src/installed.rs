//! What an installer left in a directory.

use std::{fs, io, path::Path};

use cellblock_exec::PackageName;
use serde::{Deserialize, Serialize};

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Its name, normalised as PyPA says.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The modules that it brings, by the name that `import` takes, without submodules. Sorted.
    pub modules: Vec<String>,
}

/// The packages that were installed into `directory` (`pip install --target`), sorted by name.
///
/// # Errors
/// Those of reading.
pub fn installed(directory: &Path) -> io::Result<Vec<Package>> {
    let mut packages = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(info) =
            path.file_name().and_then(|name| name.to_str()?.strip_suffix(".dist-info"))
        else {
            continue;
        };
        let Some((name, version)) = info.rsplit_once('-') else { continue };
        let modules = modules(&fs::read_to_string(path.join("RECORD"))?);
        packages.push(Package { name: normalised(name), version: version.to_owned(), modules });
    }
    packages.sort();
    Ok(packages)
}

/// A package's name in the form that PyPA defines; a name that is not one stays as it is.
fn normalised(name: &str) -> String {
    name.parse::<PackageName>().map_or_else(|_| name.to_owned(), String::from)
}

/// The top-level modules in a wheel's RECORD: `path,hash,size` a line.
fn modules(record: &str) -> Vec<String> {
    let mut modules: Vec<String> = record
        .lines()
        .filter_map(|line| {
            let path = line.split(',').next()?.trim_matches('"');
            // A native module's name goes on with what it fits: `_speedups.cpython-311-x86_64-linux-gnu.so`.
            let native = || path.strip_suffix(".so").and_then(|path| path.split('.').next());
            let module = path
                .strip_suffix("/__init__.py")
                .or_else(|| path.strip_suffix(".py"))
                .or_else(native);
            module.filter(|name| !name.contains('/'))
        })
        .map(str::to_owned)
        .collect();
    modules.sort();
    modules.dedup();
    modules
}

/// Visits the files below `directory`, in order, with their paths relative to it, written with `/`.
///
/// # Errors
/// Those of `visit` and of reading; and for what is neither file nor directory, or has a name that is no text: a wheel
/// has no such thing.
pub fn files(
    directory: &Path,
    visit: &mut dyn FnMut(&str, &Path) -> io::Result<()>,
) -> io::Result<()> {
    visit_below(directory, "", visit)
}

fn visit_below(
    directory: &Path,
    prefix: &str,
    visit: &mut dyn FnMut(&str, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let mut entries: Vec<fs::DirEntry> = fs::read_dir(directory)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let refused =
            || io::Error::other(format!("{} is no plain file or directory", path.display()));
        let name = format!("{prefix}{}", entry.file_name().to_str().ok_or_else(refused)?);
        let kind = entry.file_type()?;
        if kind.is_dir() {
            visit_below(&path, &format!("{name}/"), visit)?;
        } else if kind.is_file() {
            visit(&name, &path)?;
        } else {
            return Err(refused());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::{Package, files, installed, modules};

    #[test]
    fn modules_are_what_can_be_imported() {
        let record = "\
            numpy/__init__.py,sha256=x,1\nnumpy/core/__init__.py,,\nsix.py,,\n_yaml.cpython-311-x86_64-linux-gnu.so,,\n\
            plain.abi3.so,,\nnumpy/core/deep.so,,\nnumpy.libs/libblas.so,,\nsix-1.0.dist-info/METADATA,,\n\
            ../../bin/tool,,\nnamespace/part/__init__.py,,\n\"quoted.py\",,\nsix.py,,\n";
        assert_eq!(modules(record), ["_yaml", "numpy", "plain", "quoted", "six"]);
    }

    #[test]
    fn packages_are_read_from_what_installers_leave() {
        let directory = tempfile::tempdir().unwrap();
        for (info, record) in
            [("Zope.Interface-7.1.dist-info", "x.py,,\n"), ("a_b-1-1.dist-info", "")]
        {
            fs::create_dir(directory.path().join(info)).unwrap();
            fs::write(directory.path().join(info).join("RECORD"), record).unwrap();
        }
        fs::create_dir(directory.path().join("bin")).unwrap();
        let package = |name: &str, version: &str, modules: &[&str]| Package {
            name: name.to_owned(),
            version: version.to_owned(),
            modules: modules.iter().map(|module| (*module).to_owned()).collect(),
        };
        let expected = [package("a-b-1", "1", &[]), package("zope-interface", "7.1", &["x"])];
        assert_eq!(installed(directory.path()).unwrap(), expected);
    }

    #[test]
    fn a_link_is_not_taken_for_a_file() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("deep")).unwrap();
        for name in ["b", "deep/c", "a"] {
            fs::write(directory.path().join(name), name).unwrap();
        }
        let mut seen = Vec::new();
        let mut visit = |name: &str, path: &std::path::Path| {
            assert_eq!(fs::read_to_string(path)?, name);
            seen.push(name.to_owned());
            Ok(())
        };
        files(directory.path(), &mut visit).unwrap();
        assert_eq!(seen, ["a", "b", "deep/c"]);
        symlink("/etc/passwd", directory.path().join("deep/link")).unwrap();
        let why = files(directory.path(), &mut |_, _| Ok(())).unwrap_err().to_string();
        assert!(why.contains("deep/link"), "{why}");
    }
}
