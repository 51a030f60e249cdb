//! The file names of blocks.

use cellblock_answer::{CodeBlock, code_blocks};
use cellblock_exec::{Language, workspace::PathFault};

/// The only block of a fence with this info string and this code.
fn block(info: &str, code: &str) -> CodeBlock {
    let blocks = code_blocks(&format!("~~~~ {info}\n{code}\n~~~~\n"));
    assert_eq!(blocks.len(), 1, "{info:?} {code:?}");
    blocks.into_iter().next().unwrap()
}

#[test]
fn comments_name_files() {
    for (code, name) in [
        ("# filename: plot.py", Some("plot.py")),
        ("#filename:plot.py", Some("plot.py")),
        ("## Filename: plot.py  ", Some("plot.py")),
        ("// filename: x.js", Some("x.js")),
        ("/* filename: x.css */", Some("x.css")),
        ("/* filename: x.css", Some("x.css")),
        ("<!-- filename: x.html -->", Some("x.html")),
        ("-- filename: q.sql", Some("q.sql")),
        ("; filename: x.el", Some("x.el")),
        ("% filename: x.tex", Some("x.tex")),
        ("(* filename: x.ml *)", Some("x.ml")),
        ("{- filename: x.hs -}", Some("x.hs")),
        ("\n  # filename: sub/dir/plot.py\nx", Some("sub/dir/plot.py")),
        ("#!/usr/bin/env python3\n# filename: plot.py", Some("plot.py")),
        ("# filename: ./plot.py", Some("plot.py")),
        ("# filename: \"my plot.py\"", Some("my plot.py")),
        ("# filename: `plot.py`", Some("plot.py")),
        ("# filename: my plot.py", Some("my plot.py")),
        ("# filename: plot.py (draws the chart)", Some("plot.py")),
        ("# filename: Makefile", Some("Makefile")),
        ("# filename: the file that is read", None),
        ("# filename:", None),
        ("# Load the data", None),
        ("# plot.py", None),
        ("filename: plot.py", None),
        ("x = 1\n# filename: plot.py", None),
        ("# the filename: plot.py", None),
        ("", None),
    ] {
        let block = block("python", code);
        assert_eq!(block.filename.as_deref(), name, "{code:?}");
        assert_eq!(block.refused_filename, None, "{code:?}");
        assert_eq!(block.code, format!("{code}\n"), "the comment stays");
    }
}

#[test]
fn info_strings_name_files_and_languages() {
    let case = |language: Option<&str>, name: Option<&str>| {
        (language.map(str::to_owned), name.map(str::to_owned))
    };
    for (info, expected) in [
        ("python:plot.py", case(Some("python"), Some("plot.py"))),
        ("python:src/plot.py", case(Some("python"), Some("src/plot.py"))),
        ("python:line-numbers", case(Some("python"), None)),
        ("python filename=plot.py", case(Some("python"), Some("plot.py"))),
        ("python filename=\"my plot.py\"", case(Some("python"), Some("my plot.py"))),
        ("python {filename='plot.py'}", case(Some("python"), Some("plot.py"))),
        ("python file=Makefile", case(Some("python"), Some("Makefile"))),
        ("python title=\"plot.py\"", case(Some("python"), Some("plot.py"))),
        ("python title=\"a\"", case(Some("python"), None)),
        ("python title=\"The plot, part 2\"", case(Some("python"), None)),
        ("python title=\"v1.2\"", case(Some("python"), None)),
        ("python plot.py", case(Some("python"), Some("plot.py"))),
        ("plot.py", case(Some("python"), Some("plot.py"))),
        ("src/app/main.js", case(Some("javascript"), Some("src/app/main.js"))),
        ("title=\"plot.py\"", case(Some("python"), Some("plot.py"))),
        ("{.python}", case(Some("python"), None)),
        ("{.python .numberLines startFrom=\"100\"}", case(Some("python"), None)),
        ("{#example .python}", case(Some("python"), None)),
        ("{python}", case(Some("python"), None)),
        ("{r, echo=FALSE}", case(Some("r"), None)),
        ("py {linenos=true}", case(Some("python"), None)),
        ("py{linenos=true}", case(Some("python"), None)),
        ("rust,ignore", case(Some("rust"), None)),
        ("c++", case(Some("cpp"), None)),
        ("Python3", case(Some("python"), None)),
        ("node.js", case(Some("javascript"), None)),
        ("python 3", case(Some("python"), None)),
        ("lang=python", case(Some("python"), None)),
        ("json", case(Some("json"), None)),
        ("output", case(Some("output"), None)),
    ] {
        let block = block(info, "");
        let language = block.language.as_ref().map(|language| language.as_str().to_owned());
        assert_eq!((language, block.filename), expected, "{info}");
    }
}

#[test]
fn a_comment_goes_before_the_info_string() {
    assert_eq!(block("python:a.py", "# filename: b.py").filename.as_deref(), Some("b.py"));
}

#[test]
fn a_name_without_a_tag_tells_the_language() {
    let block = block("", "// filename: x.js\nfoo");
    assert_eq!((block.language, block.inferred), (Some(Language::JAVASCRIPT), true));
}

#[test]
fn an_unsafe_name_is_kept_as_refused() {
    for (info, code, fault) in [
        ("python", "# filename: ../x.py\nprint(1)", PathFault::LeavesWorkspace),
        ("python", "# filename: /tmp/test.py\nprint(1)", PathFault::Absolute),
        ("python:/etc/passwd", "print(1)", PathFault::Absolute),
        ("python filename=a\\\\b.py", "print(1)", PathFault::Backslash),
        ("python title=\"../../x.py\"", "print(1)", PathFault::LeavesWorkspace),
    ] {
        let block = block(info, code);
        assert_eq!(block.filename, None, "{info} {code}");
        assert_eq!(block.refused_filename.unwrap().fault, fault, "{info} {code}");
        assert_eq!(block.language, Some(Language::PYTHON));
        assert_eq!(block.code, format!("{code}\n"));
    }
}

#[test]
fn json_of_a_block_has_a_refused_name_only_when_there_is_one() {
    let json = serde_json::to_value(block("python", "# filename: a.py")).unwrap();
    let fields: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["code", "filename", "index", "inferred", "language", "line"]);
    let json = serde_json::to_value(block("python", "# filename: ../a.py")).unwrap();
    assert_eq!(json["refused_filename"]["fault"], "leaves_workspace");
}
