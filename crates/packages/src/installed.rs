//! The packages in a directory that an installer has filled.

use std::{fs, io, path::Path};

use cellblock_exec::PackageName;
use serde::{Deserialize, Serialize};

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InstalledPackage {
    /// The name, normalized as PyPA defines.
    pub name: String,
    /// The version.
    pub version: String,
    /// The modules of the package by the name that `import` takes, without submodules. Sorted.
    pub modules: Vec<String>,
}

/// Returns the packages that were installed into `directory` (`pip install --target`), sorted by
/// name.
///
/// # Errors
/// Errors of reading.
pub fn installed_packages(directory: &Path) -> io::Result<Vec<InstalledPackage>> {
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
        packages.push(InstalledPackage {
            name: normalized_name(name),
            version: version.to_owned(),
            modules,
        });
    }
    packages.sort();
    Ok(packages)
}

/// Returns a package's name in the form that PyPA defines. An invalid name stays as it is.
pub fn normalized_name(name: &str) -> String {
    name.parse::<PackageName>().map_or_else(|_| name.to_owned(), String::from)
}

/// Returns the top-level modules in a wheel's RECORD, which has a line `path,hash,size` for each
/// file.
fn modules(record: &str) -> Vec<String> {
    let mut modules: Vec<String> = record
        .lines()
        .filter_map(|line| {
            let path = line.split(',').next()?.trim_matches('"');
            // The file name of a native module names its platform, too:
            // `_speedups.cpython-311-x86_64-linux-gnu.so`.
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{InstalledPackage, installed_packages, modules};

    #[test]
    fn modules_are_what_can_be_imported() {
        let record = "numpy/__init__.py,sha256=x,1\nnumpy/core/__init__.py,,\nsix.py,,\n\
            _yaml.cpython-311-x86_64-linux-gnu.so,,\nplain.abi3.so,,\nnumpy/core/deep.so,,\n\
            numpy.libs/libblas.so,,\nsix-1.0.dist-info/METADATA,,\n../../bin/tool,,\n\
            namespace/part/__init__.py,,\n\"quoted.py\",,\nsix.py,,\n";
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
        let package = |name: &str, version: &str, modules: &[&str]| InstalledPackage {
            name: name.to_owned(),
            version: version.to_owned(),
            modules: modules.iter().map(|module| (*module).to_owned()).collect(),
        };
        let expected = [package("a-b-1", "1", &[]), package("zope-interface", "7.1", &["x"])];
        assert_eq!(installed_packages(directory.path()).unwrap(), expected);
    }
}
