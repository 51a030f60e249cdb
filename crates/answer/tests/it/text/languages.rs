//! Tags, and the inference of untagged code.

use std::collections::HashMap;

use cellblock_answer::language::{file_extension, from_filename, from_tag, infer, is_program};
use cellblock_exec::Language;

#[test]
fn tags_name_languages() {
    let table = [
        ("python", "python"),
        ("Python", "python"),
        ("Python3", "python"),
        ("python3.12", "python"),
        ("py", "python"),
        ("py3", "python"),
        ("ipython", "python"),
        (".python", "python"),
        ("language-python", "python"),
        (" py ", "python"),
        ("bash", "bash"),
        ("shell", "bash"),
        ("sh", "sh"),
        ("zsh", "zsh"),
        ("js", "javascript"),
        ("node", "javascript"),
        ("Node.js", "javascript"),
        ("ts", "typescript"),
        ("c++", "cpp"),
        ("cpp", "cpp"),
        ("C#", "csharp"),
        ("rb", "ruby"),
        ("ps1", "powershell"),
        ("pwsh", "powershell"),
        ("powershell", "powershell"),
        ("html", "html"),
        ("css", "css"),
        ("sqlite3", "sql"),
        ("R", "r"),
        ("txt", "text"),
        ("plaintext", "text"),
        ("output", "output"),
        ("console", "console"),
        ("shell-session", "console"),
        ("json", "json"),
        ("yml", "yaml"),
        ("COBOL", "cobol"),
        ("Brainfuck", "brainfuck"),
    ];
    for (tag, name) in table {
        assert_eq!(from_tag(tag).unwrap().as_str(), name, "{tag}");
    }
    assert_eq!(from_tag(""), None);
    assert_eq!(from_tag("  "), None);
}

#[test]
fn blocks_that_are_there_to_be_read_are_no_programs() {
    for tag in [
        "text", "output", "console", "json", "yaml", "csv", "html", "css", "mermaid", "diff",
        "log", "pycon",
    ] {
        assert!(!is_program(&from_tag(tag).unwrap()), "{tag}");
    }
    for tag in ["python", "bash", "sh", "js", "sql", "cobol", "powershell", "no-such-language"] {
        assert!(is_program(&from_tag(tag).unwrap()), "{tag}");
    }
}

#[test]
fn extensions_lead_to_a_language_and_back() {
    for name in [
        "python",
        "bash",
        "sh",
        "javascript",
        "typescript",
        "ruby",
        "powershell",
        "html",
        "css",
        "sql",
        "r",
        "json",
    ] {
        let language = from_tag(name).unwrap();
        let file = format!("dir.d/file.{}", file_extension(&language));
        assert_eq!(from_filename(&file), Some(language), "{file}");
    }
    assert_eq!(file_extension(&Language::new("no-such-language")), "txt");
    assert_eq!(from_filename("a/PLOT.PY"), Some(Language::PYTHON));
    for none in ["Makefile", ".profile", "a.unknown", "dir.py/file", ""] {
        assert_eq!(from_filename(none), None, "{none}");
    }
}

/// Untagged code; `#` marks the expected language, `-` means unknown.
const CASES: &str = include_str!("inference.txt");

#[test]
fn untagged_code() {
    let mut wrong = Vec::new();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for case in CASES.split("\n=== ").skip(1) {
        let (expected, code) = case.split_once('\n').unwrap();
        let inferred = infer(code);
        let inferred = inferred.as_ref().map_or("-", Language::as_str);
        *seen.entry(expected).or_default() += 1;
        if inferred != expected {
            wrong.push(format!("expected {expected}, got {inferred}:\n{code}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n---\n"));
    assert!(
        seen["python"] >= 20 && seen["sh"] >= 15 && seen["-"] >= 20,
        "the table was read: {seen:?}"
    );
}

#[test]
fn nothing_is_inferred_from_nothing() {
    for code in ["", " ", "\n\n", "\u{feff}", "\0"] {
        assert_eq!(infer(code), None, "{code:?}");
    }
}
