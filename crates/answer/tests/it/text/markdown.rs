//! The table of Markdown fixtures: `fixtures/markdown/NAME.md` and, beside it, the blocks in
//! `NAME.json`.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use cellblock_answer::{CodeBlock, code_blocks};
use cellblock_exec::Language;

fn fixtures() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", "fixtures", "markdown"].iter().collect()
}

#[test]
fn every_fixture_gives_its_blocks() {
    let mut tried = 0;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let blocks = code_blocks(&fs::read_to_string(&path).unwrap());
        let expected: Vec<CodeBlock> =
            serde_json::from_str(&fs::read_to_string(path.with_extension("json")).unwrap())
                .unwrap();
        if blocks != expected {
            wrong.push(format!(
                "{}:\n{}",
                path.display(),
                serde_json::to_string_pretty(&blocks).unwrap()
            ));
        }
        tried += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried >= 25, "only {tried} fixtures");
}

#[test]
fn fifty_megabytes_and_ten_thousand_blocks() {
    const BLOCKS: usize = 10_000;
    let prose = "Some *prose* with `code` in it.\n".repeat(160);
    let text: String =
        (0..BLOCKS).map(|number| format!("{prose}\n```python\nprint({number})\n```\n\n")).collect();
    assert!(text.len() > 50_000_000);

    let start = Instant::now();
    let blocks = code_blocks(&text);
    let elapsed = start.elapsed();
    assert_eq!(blocks.len(), BLOCKS);
    for (index, block) in blocks.iter().enumerate() {
        assert_eq!((block.index, block.line), (index, 165 * index + 162));
        assert_eq!(block.code, format!("print({index})\n"));
    }
    // It takes some seconds without optimisation. Anything quadratic takes hours.
    assert!(elapsed < Duration::from_secs(120), "{elapsed:?}");
}

/// Texts of some hundred kilobytes each that take quadratic time in a parser that rescans.
#[test]
fn hostile_texts_take_linear_time() {
    let deep = |marker: &str, line: &str| marker.repeat(100_000) + "a\n" + &line.repeat(100_000);
    for text in [
        deep("> ", "a\n"),
        deep("- ", "a\n"),
        deep("1. ", "    ```\n"),
        "- ".repeat(100_000) + "```\n" + &" \n".repeat(100_000),
        "    ```x\n".repeat(200_000),
        "```\n> ```\n".repeat(100_000),
        "[".repeat(200_000),
        "`a".repeat(200_000),
        "*a_ ".repeat(100_000),
        "<!--".repeat(200_000),
        "\r".repeat(1_000_000),
    ] {
        let start = Instant::now();
        code_blocks(&text);
        let elapsed = start.elapsed();
        assert!(elapsed < Duration::from_secs(60), "{:?}…: {elapsed:?}", &text[..20]);
    }
}

#[test]
fn deep_nesting_leaves_the_code_as_it_is() {
    let code = format!("{}- x > y 1. z\n", " ".repeat(300));
    let blocks = code_blocks(&format!("```python\n{code}```\n> - ```python\n>   {code}>   ```\n"));
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        assert_eq!((block.language, block.code.as_str()), (Some(Language::PYTHON), code.as_str()));
    }
}
