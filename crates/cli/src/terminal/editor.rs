//! Edits a block of code in the person's own editor.

use std::{
    io::{self, Write as _},
    process::Command,
};

use cellblock_answer::CodeBlock;

/// Returns the editor that the person chose, as a shell command: `VISUAL`, else `EDITOR`.
pub fn chosen() -> Option<String> {
    let variable = |name| std::env::var(name).ok().filter(|program| !program.trim().is_empty());
    variable("VISUAL").or_else(|| variable("EDITOR"))
}

/// Opens the code of a block in an editor, and returns the saved text.
///
/// # Errors
/// If the editor cannot be started or fails.
pub fn edit(program: &str, block: &CodeBlock) -> io::Result<String> {
    // An editor recognizes the language by the extension of the block's own file name.
    let name =
        block.filename.as_deref().and_then(|name| name.rsplit('/').next()).unwrap_or("block");
    let ending =
        match (name.rsplit_once('.'), block.language.as_ref().map(|language| language.as_str())) {
            (Some((_, ending)), _) => format!(".{ending}"),
            (None, Some("python")) => ".py".to_owned(),
            (None, Some("javascript")) => ".js".to_owned(),
            (None, Some("bash" | "sh")) => ".sh".to_owned(),
            (None, _) => ".txt".to_owned(),
        };
    // Readable by the person only, and removed at the end.
    let mut file = tempfile::Builder::new().prefix("cellblock-").suffix(&ending).tempfile()?;
    file.write_all(block.code.as_bytes())?;
    // Through a shell, so that commands with arguments such as `code --wait` work.
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("{program} \"$1\""))
        .arg("sh")
        .arg(file.path())
        .status()?;
    if !status.success() {
        return Err(io::Error::other(format!("the editor `{program}` ended with {status}")));
    }
    // By path, not through the open file: many editors replace the file.
    std::fs::read_to_string(file.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_editor_gets_the_code_and_returns_it() {
        let block = cellblock_answer::code_blocks("```python\nprint(1)\n```\n").remove(0);
        let with_arguments = "sed -i -e s/1/2/";
        assert_eq!(edit(with_arguments, &block).unwrap(), "print(2)\n");
        assert!(edit("false", &block).is_err());
        assert!(edit("exit 3; true", &block).unwrap_err().to_string().contains("exit 3"));
    }
}
