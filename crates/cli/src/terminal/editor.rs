//! A block of code in the person's own editor.

use std::{
    io::{self, Write as _},
    process::Command,
};

use cellblock_answer::CodeBlock;

/// The editor that the person chose, as a command for a shell: `VISUAL`, else `EDITOR`.
pub fn chosen() -> Option<String> {
    let variable = |name| std::env::var(name).ok().filter(|program| !program.trim().is_empty());
    variable("VISUAL").or_else(|| variable("EDITOR"))
}

/// The code of a block as the person left it.
///
/// # Errors
/// When the editor cannot be started or fails; the code is as it was then.
pub fn edit(program: &str, block: &CodeBlock) -> io::Result<String> {
    // A file name of the block's says more to an editor than any of ours; its directories do not matter.
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
    // For the person alone, and gone when this is over.
    let mut file = tempfile::Builder::new().prefix("cellblock-").suffix(&ending).tempfile()?;
    file.write_all(block.code.as_bytes())?;
    // As others do it, so that `code --wait` and the like work.
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("{program} \"$1\""))
        .arg("sh")
        .arg(file.path())
        .status()?;
    if !status.success() {
        return Err(io::Error::other(format!("the editor `{program}` ended with {status}")));
    }
    // Not by the open file: many editors put a new one in its place.
    std::fs::read_to_string(file.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_editor_gets_the_code_and_gives_it_back() {
        let block = cellblock_answer::code_blocks("```python\nprint(1)\n```\n").remove(0);
        let with_arguments = "sed -i -e s/1/2/";
        assert_eq!(edit(with_arguments, &block).unwrap(), "print(2)\n");
        assert!(edit("false", &block).is_err());
        assert!(edit("exit 3; true", &block).unwrap_err().to_string().contains("exit 3"));
    }
}
