//! The programs that packages contain.

use std::{fs, io, path::Path};

/// The maximum length of a first line that every Linux accepts, in bytes: `BINPRM_BUF_SIZE` before
/// Linux 5.1, less the line end.
const MAX_FIRST_LINE: usize = 127;

/// Makes the Python programs in `directory` start with `interpreter`. The installer made them start
/// with the Python that it chose.
pub fn start_with(directory: &Path, interpreter: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let interpreter = interpreter
        .to_str()
        .ok_or_else(|| io::Error::other("the path of the interpreter is not UTF-8"))?;
    for entry in entries {
        let path = entry?.path();
        let content = fs::read(&path)?;
        if let Some(changed) = changed(&content, interpreter) {
            // In place, so that it stays executable.
            fs::write(&path, changed)?;
        }
    }
    Ok(())
}

/// Returns the Python program `content` with `interpreter` in its first line; `None` for any other
/// program.
fn changed(content: &[u8], interpreter: &str) -> Option<Vec<u8>> {
    let (arguments, rest) = split(content)?;
    let simple = format!("#!{interpreter}{arguments}\n");
    let first = if simple.len() <= MAX_FIRST_LINE && !interpreter.contains(char::is_whitespace) {
        simple
    } else {
        // A shell runs the second line; to Python it is the start of a string that ends with the
        // third.
        let quoted = interpreter.replace('\'', r#"'"'"'"#);
        format!("#!/bin/sh\n'''exec' '{quoted}'{arguments} \"$0\" \"$@\"\n' '''\n")
    };
    Some([first.as_bytes(), rest].concat())
}

/// Splits a Python program into the interpreter's arguments in its first lines, with a space before
/// each, and the rest of the program.
fn split(content: &[u8]) -> Option<(&str, &[u8])> {
    let (first, rest) = line(content.strip_prefix(b"#!")?)?;
    if first == "/bin/sh" {
        // The form that pip and uv write for a path that is long or has spaces.
        let (second, rest) = line(rest)?;
        let (third, rest) = line(rest)?;
        let call = second.strip_prefix("'''exec' ")?.strip_suffix(" \"$0\" \"$@\"")?;
        let arguments = match call.chars().next()? {
            quote @ ('"' | '\'') => call[1..].split_once(quote)?.1,
            _ => call.find(' ').map_or("", |end| &call[end..]),
        };
        return (third == "' '''").then_some((arguments, rest));
    }
    let first = first.trim_start();
    let (program, arguments) = first.split_at(first.find(' ').unwrap_or(first.len()));
    let name = program.rsplit('/').next().unwrap_or(program);
    (name.starts_with("python") || name.starts_with("pypy")).then_some((arguments, rest))
}

fn line(content: &[u8]) -> Option<(&str, &[u8])> {
    let end = content.iter().position(|byte| *byte == b'\n')?;
    let text = std::str::from_utf8(&content[..end]).ok()?;
    Some((text.trim_end(), &content[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::changed;

    #[test]
    fn only_the_interpreter_of_a_python_program_changes() {
        let long = format!("/opt/{}/python3", "x".repeat(200));
        let trick = |path: &str, more: &str| {
            format!("#!/bin/sh\n'''exec' '{path}'{more} \"$0\" \"$@\"\n' '''\nimport x\n")
        };
        let cases = [
            (
                "#!python\nimport x\n",
                "/usr/bin/python3",
                Some("#!/usr/bin/python3\nimport x\n".to_owned()),
            ),
            (
                "#!pythonw -E\r\nimport x\n",
                "/p/python3",
                Some("#!/p/python3 -E\nimport x\n".to_owned()),
            ),
            (
                "#!/tmp/build/bin/python3.11 -I -s\nimport x\n",
                "/p",
                Some("#!/p -I -s\nimport x\n".to_owned()),
            ),
            ("#!/opt/pypy3\nimport x\n", "/p", Some("#!/p\nimport x\n".to_owned())),
            (&trick("/a b/python", ""), "/p/python", Some("#!/p/python\nimport x\n".to_owned())),
            (&trick("/a b/python", " -E"), "/p", Some("#!/p -E\nimport x\n".to_owned())),
            (
                "#!/bin/sh\n'''exec' /a/python \"$0\" \"$@\"\n' '''\nimport x\n",
                "/p",
                Some("#!/p\nimport x\n".to_owned()),
            ),
            (
                &trick("/a b/python", " -E").replace("'/a b/python'", "\"/a b/python\""),
                "/p",
                Some("#!/p -E\nimport x\n".to_owned()),
            ),
            ("#!python\nimport x\n", "/it's a/python", Some(trick("/it'\"'\"'s a/python", ""))),
            ("#!python\nimport x\n", "/a b/python", Some(trick("/a b/python", ""))),
            ("#!python -E\nimport x\n", &long, Some(trick(&long, " -E"))),
            ("#!/bin/sh\necho python\n", "/p", None),
            ("#!/bin/bash\n", "/p", None),
            ("#!/usr/bin/env node\n", "/p", None),
            ("\x7fELF python\n", "/p", None),
            ("#!", "/p", None),
            ("", "/p", None),
        ];
        for (program, interpreter, expected) in cases {
            let seen = changed(program.as_bytes(), interpreter);
            assert_eq!(
                seen.map(|bytes| String::from_utf8(bytes).unwrap()),
                expected,
                "{program:?}"
            );
        }
    }
}
