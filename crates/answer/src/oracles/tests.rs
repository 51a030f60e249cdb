//! The oracles, on texts made of what matters to each reader.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// Markdown made of the pieces that matter to a parser.
fn markdown_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        select(vec![
            "```",
            "````",
            "~~~",
            "~~~~~",
            "```python",
            "``` py title=\"a\"",
            "~~~ {.python}",
            "`",
            "\n",
            "\n\n",
            "\r\n",
            "\r",
            "    ",
            "\t",
            "   ",
            "> ",
            ">",
            "- ",
            "* ",
            "1. ",
            "# ",
            "<div>",
            "<!--",
            "-->",
            "| a | b |",
            "---",
            "===",
            "\\",
            "&amp;",
            "[a]: b",
            "print(1)",
            "# filename: a.py",
            "# filename: ../a",
            "x = 1",
            "é🦀",
            "\u{feff}",
            "\u{fffd}",
            "\0",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,12}",
    ];
    vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// Blocks with install commands among other code.
fn code() -> impl Strategy<Value = String> {
    let lines = select(vec![
        "pip install x",
        "!pip install x",
        "    %pip install y",
        "pip install x \\",
        "  y",
        "x = 1",
        "s = '''",
        "'''",
        "f(",
        ")",
        "cat <<EOF",
        "EOF",
        "ls | tail",
        "echo 'a",
        "# c",
        "",
        "if x; then",
        "fi",
        "pip install x | tail",
        "a && pip install z",
    ]);
    (vec(lines, 0..12), any::<bool>()).prop_map(|(lines, closed)| {
        let mut code = lines.join("\n");
        code.push_str(if closed { "\n" } else { "" });
        code
    })
}

/// Errors of Python and shells for missing things, in pieces.
fn errors() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        select(vec![
            "Traceback (most recent call last):\n",
            "  File \"a.py\", line 1, in <module>\n",
            "ModuleNotFoundError: No module named 'a.b'",
            "ImportError: Missing optional dependency 'openpyxl'.",
            "ImportError: pip install -U x-y",
            "The above exception was the direct cause of the following exception:\n",
            "During handling of the above exception, another exception occurred:\n",
            "python3: No module named pytest",
            "bash: line 1: jq: command not found",
            "sh: 1: http: not found",
            "env: 'node': No such file or directory",
            "ValueError: ",
            "\n",
        ])
        .prop_map(str::to_owned),
        "[ -~\n]{0,8}",
    ];
    vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn blocks_come_from_the_text(text in prop_oneof![markdown_text(), any::<String>()]) {
        markdown(&text);
    }

    #[test]
    fn splitting_keeps_lines_and_leaves_nothing_to_install(
        code in prop_oneof![code(), any::<String>()],
    ) {
        install_commands(&code);
    }

    #[test]
    fn a_requirement_is_plain_text_and_the_policy_has_an_order(
        text in "[A-Za-z0-9._-]{1,8}(\\[[a-z,_]{0,6}\\])?([=<>!~]{1,2}[0-9.*]{1,5})?|\\PC{0,20}",
    ) {
        requirement(&text);
    }

    #[test]
    fn missing_packages_are_named_in_the_text(
        stderr in prop_oneof![errors(), any::<String>()],
    ) {
        missing_packages(&stderr);
    }
}

/// The controls: the oracles above see packages and blocks, not only refusals.
#[test]
fn the_oracles_reach_what_they_check() {
    assert_eq!(code_blocks("```py\npip\n```").len(), 1);
    let split = split_installs(&Language::BASH, "pip install x\nls").unwrap();
    assert_eq!((split.requests.len(), split.code.as_deref()), (1, Some("true\nls")));
}

/// Found by the target `requirements`: the normal form is longer than what was written.
#[test]
fn a_requirement_may_grow_into_its_normal_form() {
    for count in 1..200 {
        requirement(&format!("a>{}", vec!["1r1"; count].join(",>")));
    }
}
