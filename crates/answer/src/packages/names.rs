//! From the name of a module or command to the distribution that contains it.

use cellblock_exec::{PackageName, Requirement};

/// Import names whose distribution has another name: `import name<TAB>distribution`, sorted. Dotted
/// names are for namespace packages, where the first component alone is not enough.
const IMPORT_NAMES: &str = include_str!("import-names.tsv");

/// Commands of distributions on PyPI: `command<TAB>distribution`, sorted.
const COMMAND_NAMES: &str = include_str!("command-names.tsv");

/// Modules of Python's standard library, sorted, one a line: all of CPython 3.8 to 3.14, including
/// removed ones. If one is missing, the interpreter lacks it; a package of the same name on the
/// index is something else.
const STANDARD_LIBRARY: &str = include_str!("standard-library.txt");

/// Returns the distribution of a module, such as `opencv-python` for `cv2` and `protobuf` for
/// `google.protobuf.message`; `None` for a module of the standard library, and for a name that no
/// distribution can have.
///
/// The longest dotted prefix in the table decides. For other modules it is the distribution with
/// the name of their first component, as for most modules; the install policy has the last word.
pub fn distribution(module: &str) -> Option<Requirement> {
    let root = module.split('.').next().unwrap_or_default();
    if is_standard_library(root) {
        return None;
    }
    let name = distribution_in_table(module).unwrap_or(root);
    name.parse::<PackageName>().ok().map(Requirement::from)
}

/// Returns the distribution of a command, such as `httpie` for `http`; `None` for a command that is
/// not in the table.
pub fn distribution_of_command(command: &str) -> Option<Requirement> {
    lookup(COMMAND_NAMES, command)?.parse::<PackageName>().ok().map(Requirement::from)
}

/// True if the first component of a module's name belongs to Python's standard library.
pub fn is_standard_library(root: &str) -> bool {
    STANDARD_LIBRARY.lines().any(|line| line == root)
}

/// Returns the rows of the table of import names: import name and distribution.
pub fn import_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    rows(IMPORT_NAMES)
}

/// Returns the rows of the table of commands: command and distribution.
pub fn command_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    rows(COMMAND_NAMES)
}

/// Returns the distribution of the longest dotted prefix of `module` in the table.
pub fn distribution_in_table(module: &str) -> Option<&'static str> {
    let mut prefix = module;
    loop {
        if let Some(distribution) = lookup(IMPORT_NAMES, prefix) {
            return Some(distribution);
        }
        prefix = prefix.rsplit_once('.')?.0;
    }
}

fn lookup(table: &'static str, key: &str) -> Option<&'static str> {
    rows(table).find(|(name, _)| *name == key).map(|(_, distribution)| distribution)
}

fn rows(table: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    table.lines().filter_map(|line| line.split_once('\t'))
}
