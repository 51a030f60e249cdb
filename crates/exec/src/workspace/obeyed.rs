//! Names that tools of a host obey just because a file has them.
//!
//! A program chooses the names of its artifacts, and a person then works in the directory that they
//! are written to. There `git status` runs the command that `.git/config` names, a shell with
//! direnv runs `.envrc`, and Python runs the lines of `*.pth`. This module has the only table of
//! such names. Files of version control, which tools obey without being asked, are no artifacts.
//! For the others [`obeyed_by`] says what could run them, for a note about the file.

/// Directories, and files in their place, that belong to a version control system. Their files name
/// commands: `core.fsmonitor` and `core.pager` of git, the hooks of Mercurial, Jujutsu and Pijul,
/// the programs that `repo` starts, the posthooks of Darcs.
const VERSION_CONTROL: [&str; 11] = [
    ".git",
    ".hg",
    ".svn",
    ".bzr",
    ".jj",
    ".sl",
    ".pijul",
    ".repo",
    "_darcs",
    ".fslckout",
    "_fossil_",
];

/// Git treats every directory with this file, `objects/` and `refs/` as a repository.
const HEAD: &str = "head";

/// Names that one kind of tool obeys. All are in lower case.
struct ObeyedNames {
    /// Last components.
    files: &'static [&'static str],
    /// Ends of last components.
    endings: &'static [&'static str],
    /// Components before the last one.
    directories: &'static [&'static str],
    /// The tool that could run such a file.
    by: &'static str,
}

/// The first row that matches counts.
const OBEYED: [ObeyedNames; 12] = [
    ObeyedNames {
        files: &[".envrc", "mise.toml", ".mise.toml"],
        endings: &[],
        directories: &[],
        by: "direnv or mise can run it when a shell enters its directory",
    },
    ObeyedNames {
        files: &[
            ".profile",
            ".bashrc",
            ".bash_profile",
            ".bash_login",
            ".bash_logout",
            ".bash_aliases",
            ".zshrc",
            ".zshenv",
            ".zprofile",
            ".zlogin",
            ".zlogout",
            ".kshrc",
            ".cshrc",
            ".tcshrc",
            ".login",
            ".logout",
            ".inputrc",
            "config.fish",
        ],
        endings: &[],
        directories: &[],
        by: "a shell runs it at its start, from a home directory",
    },
    ObeyedNames {
        files: &["sitecustomize.py", "usercustomize.py"],
        endings: &[".pth"],
        directories: &[],
        by: "Python runs it at its start, from a directory that it imports modules from",
    },
    ObeyedNames {
        files: &["conftest.py"],
        endings: &[],
        directories: &[],
        by: "pytest runs it, with the tests in its directory and below",
    },
    ObeyedNames {
        files: &[".rprofile", ".renviron", ".rdata", ".octaverc", "startup.m", ".irbrc", ".pryrc"],
        endings: &[],
        directories: &[],
        by: "R, Octave, MATLAB or Ruby can load it when started in its directory",
    },
    ObeyedNames {
        files: &["autorun.inf", "desktop.ini"],
        endings: &[".lnk", ".url", ".scf", ".library-ms", ".searchconnector-ms"],
        directories: &[],
        by: "Windows follows what it names when its directory or disk is shown",
    },
    ObeyedNames {
        files: &[".directory"],
        endings: &[".desktop", ".webloc", ".inetloc", ".fileloc", ".command", ".terminal"],
        directories: &[],
        by: "a desktop starts what it names when it is opened",
    },
    ObeyedNames {
        files: &[".devcontainer.json"],
        endings: &[".code-workspace"],
        directories: &[".vscode", ".idea", ".devcontainer", ".zed", ".fleet"],
        by: "an editor can run tasks that it names when its directory is opened",
    },
    ObeyedNames {
        files: &[
            ".vimrc",
            ".gvimrc",
            ".exrc",
            ".nvimrc",
            ".nvim.lua",
            ".emacs",
            ".dir-locals.el",
            ".gdbinit",
            ".lldbinit",
        ],
        endings: &[],
        directories: &[".emacs.d"],
        by: "an editor or a debugger can run it when started in its directory",
    },
    ObeyedNames {
        files: &[
            ".npmrc",
            ".yarnrc",
            ".yarnrc.yml",
            ".pnpmfile.cjs",
            ".pnp.cjs",
            "pip.conf",
            "pip.ini",
        ],
        endings: &[],
        directories: &[".cargo", ".yarn", ".bundle", ".mvn", "node_modules"],
        by: "a package manager or its programs can run what it holds or names",
    },
    ObeyedNames {
        files: &[],
        endings: &[],
        directories: &[".ssh", "cvs"],
        by: "ssh or CVS can run commands that it names",
    },
    ObeyedNames {
        files: &[],
        endings: &[],
        directories: &[".husky", ".github", ".gitlab", ".circleci"],
        by: "hooks and build servers run what it names, once it is in a repository",
    },
];

/// The note for any other name with a component that begins with a dot.
const HIDDEN: &str = "it is hidden, and programs read their settings from such files";

/// Describes what on a host could run a file of this name, in words that follow the name and a
/// colon; `None` for a name that means nothing to tools.
///
/// ```
/// use cellblock_exec::workspace::obeyed_by;
/// assert!(obeyed_by("site-packages/x.pth").is_some_and(|by| by.starts_with("Python")));
/// assert_eq!(obeyed_by("figure-1.png"), None);
/// ```
pub fn obeyed_by(path: &str) -> Option<&'static str> {
    let components: Vec<_> = path.split('/').map(fold).collect();
    let (name, directories) = components.split_last()?;
    let matches = |row: &&ObeyedNames| {
        row.files.contains(&name.as_str())
            || row.endings.iter().any(|ending| name.ends_with(ending))
            || directories.iter().any(|name| row.directories.contains(&name.as_str()))
    };
    let is_hidden = || components.iter().any(|name| name.starts_with('.'));
    OBEYED.iter().find(matches).map(|row| row.by).or_else(|| is_hidden().then_some(HIDDEN))
}

/// Returns the part of a path that makes its file no artifact, and the reason.
pub fn refusal(path: &str) -> Option<(&str, String)> {
    let mut start = 0;
    for component in path.split('/') {
        let end = start + component.len();
        let folded = fold(component);
        if let Some(name) = VERSION_CONTROL.iter().find(|name| is_name(&folded, name)) {
            let reason = format!(
                "version control treats it as `{name}` and runs commands that its files name; give \
                 it another name"
            );
            return Some((&path[..end], reason));
        }
        if end == path.len() && folded == HEAD {
            let reason = "git treats a directory with a file `HEAD` as a repository and runs \
                          commands that files beside it name; give it another name, such as \
                          `HEAD.txt`";
            return Some((path, reason.to_owned()));
        }
        start = end + 1;
    }
    None
}

/// True if a folded component is `name` or its short name on NTFS: `.git` is also `GIT~1` there.
fn is_name(folded: &str, name: &str) -> bool {
    let is_short = |(stem, number): (&str, &str)| {
        let plain = name.trim_start_matches('.');
        !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && stem == &plain[..plain.len().min(6)]
    };
    folded == name || folded.rsplit_once('~').is_some_and(is_short)
}

/// Returns a component in the form in which the file systems of hosts compare it. HFS+ ignores
/// characters that show nothing. NTFS takes what follows `:` for the name of a stream. It and FAT
/// drop dots and blanks at the end. All of them ignore case, and APFS takes `ſ` and the Kelvin sign
/// for letters.
fn fold(component: &str) -> String {
    let visible: String = component.chars().filter(|c| !shows_nothing(*c)).collect();
    let file = visible.split(':').next().unwrap_or_default();
    let file = file.trim_end_matches(['.', ' ']);
    file.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// True for characters that HFS+ ignores in names, and for the others that Unicode calls ignorable.
fn shows_nothing(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_control_is_known_in_every_disguise() {
        for (path, part) in [
            (".git/config", ".git"),
            (".git", ".git"),
            ("a/b/.git/hooks/pre-commit", "a/b/.git"),
            (".GIT/config", ".GIT"),
            (".gIt/config", ".gIt"),
            // NTFS: short names, dots and blanks at the end, streams.
            ("git~1/config", "git~1"),
            ("GIT~12/config", "GIT~12"),
            (".git./config", ".git."),
            (".git . /config", ".git . "),
            (".git::$INDEX_ALLOCATION/config", ".git::$INDEX_ALLOCATION"),
            (".git:x", ".git:x"),
            ("git~1.:x/config", "git~1.:x"),
            // HFS+ and APFS: characters that are ignored, and other forms of letters.
            (".g\u{200c}it/config", ".g\u{200c}it"),
            ("\u{feff}.git/config", "\u{feff}.git"),
            (".gi\u{206a}t\u{200d}/config", ".gi\u{206a}t\u{200d}"),
            (".\u{17f}vn/x", ".\u{17f}vn"),
            (".hg/hgrc", ".hg"),
            ("HG~1/hgrc", "HG~1"),
            (".svn/wc.db", ".svn"),
            (".bzr/branch/branch.conf", ".bzr"),
            (".jj/repo/config.toml", ".jj"),
            ("_darcs/prefs/defaults", "_darcs"),
            ("fslcko~1", "fslcko~1"),
            // A bare repository.
            ("HEAD", "HEAD"),
            ("any.dir/HEAD", "any.dir/HEAD"),
            ("head", "head"),
            ("Head. ", "Head. "),
            ("H\u{200b}EAD", "H\u{200b}EAD"),
        ] {
            assert_eq!(refusal(path).map(|(part, _)| part), Some(part), "{path:?}");
        }
    }

    #[test]
    fn other_names_are_artifacts() {
        for path in [
            "config",
            "objects/x",
            "refs/heads/main",
            "git/config",
            "git",
            ".gitignore",
            ".gitattributes",
            "x.git",
            ".git2/config",
            "a.git/config",
            "git~/x",
            "git~a/x",
            "digit~1/x",
            "HEAD.txt",
            "HEAD/x",
            "ahead",
            "hg",
            "svn/x",
            "a:b.csv",
        ] {
            assert_eq!(refusal(path), None, "{path:?}");
        }
    }

    #[test]
    fn what_obeys_a_name_is_said() {
        for (path, word) in [
            (".envrc", "direnv"),
            ("sub/.ENVRC", "direnv"),
            (".bashrc", "shell"),
            (".config/fish/config.fish", "shell"),
            ("lib/evil.pth", "Python"),
            ("evil.PTH.", "Python"),
            ("sitecustomize.py", "Python"),
            ("lib/usercustomize.py", "Python"),
            ("tests/conftest.py", "pytest"),
            (".Rprofile", "MATLAB"),
            ("AUTORUN.INF", "Windows"),
            ("desktop.ini", "Windows"),
            ("a/report.lnk", "Windows"),
            ("page.url", "Windows"),
            ("report.pdf.desktop", "desktop"),
            (".vscode/tasks.json", "editor"),
            ("x.code-workspace", "editor"),
            (".vimrc", "editor"),
            (".cargo/config.toml", "package manager"),
            ("node_modules/x/index.js", "package manager"),
            (".ssh/authorized_keys", "ssh"),
            (".github/workflows/x.yml", "build servers"),
            (".anything", "hidden"),
            (".config/x/y", "hidden"),
        ] {
            let by = obeyed_by(path).unwrap_or_else(|| panic!("nothing obeys {path}"));
            assert!(by.contains(word), "{path}: {by}");
        }
        for path in [
            "figure-1.png",
            "prices.csv",
            "plot.py",
            "a/b.txt",
            "envrc",
            "x.pth.txt",
            "pth",
            "desktop",
            "index.html",
            "Makefile",
            "vscode/tasks.json",
            "a..b",
            "notes.",
        ] {
            assert_eq!(obeyed_by(path), None, "{path}");
        }
    }

    #[test]
    fn the_table_is_written_in_the_form_that_names_are_compared_in() {
        let rows = OBEYED.iter().flat_map(|row| [row.files, row.endings, row.directories]);
        for name in rows.flatten().chain(&VERSION_CONTROL).chain(&[HEAD]) {
            assert_eq!(fold(name), *name, "no name would ever match");
        }
    }
}
