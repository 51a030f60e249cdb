//! The module `host` in an interpreter of this machine, with a host that is a few lines of Python.

use super::*;
use crate::python::HOST;

/// Answers as a host does: `echo` returns its arguments, `fail` fails. It prints the questions. A
/// block whose first line is `# nothing` is granted nothing; one with `# other` another function.
const HOST_AND_DRIVER: &str = r##"
_granted = []
_ECHO = {"name": "echo", "description": "Gives back what it gets.", "parameters": {
    "type": "object", "required": ["text"], "additionalProperties": False, "properties": {
        "count": {"type": "integer", "default": 1},
        "text": {"type": "string", "description": "what to give back"},
        "why": {}}}}
_FAIL = {"name": "fail", "description": "", "parameters": {}}
_ODD_PARAMETERS = {"properties": {"from": {}, "others": {"type": "null"}}}
_ODD = {"name": "odd name", "description": "Odd.", "parameters": _ODD_PARAMETERS}
def _ask(question):
    import json
    print("asked", question.decode())
    if question == b"l":
        return b"v" + json.dumps(_granted).encode()
    name, arguments = json.loads(question[1:])
    return b"e" + "no wäy".encode() if name == "fail" else b"v" + json.dumps(arguments).encode()
import sys
sys.path.insert(0, "")
for _count, _block in enumerate(sys.argv[1:]):
    _first = _block.partition("\n")[0]
    _granted = {"# nothing": [], "# other": [_FAIL]}.get(_first, [_ECHO, _FAIL, _ODD])
    _forget_offers()
    print("=", _run_block(_block, f"<block {_count + 1}>"), "|", flush=True)
"##;

/// Returns the output of each block, and the standard error of all.
fn blocks(directory: &Path, blocks: &[&str]) -> (String, Vec<String>) {
    let (stderr, lines) =
        start(directory, &format!("{NOTEBOOK}\n{HOST}\n{HOST_AND_DRIVER}"), blocks);
    let turns = turns(&[vec![String::new()], lines].concat());
    (stderr, turns.into_iter().map(|(printed, _)| printed).collect())
}

/// Returns the output of one block, after the question for the list.
fn block(code: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let (stderr, printed) =
        blocks(directory.path(), &[&format!("from host import tools, ToolError\n{code}")]);
    assert_eq!(stderr, "");
    printed[0].strip_prefix("asked l\n").unwrap_or(&printed[0]).to_owned()
}

#[test]
fn arguments_are_passed_by_place_and_by_name() {
    for (call, question, answer) in [
        ("tools.echo('a')", r#"c["echo",{"text":"a"}]"#, "{'text': 'a'}"),
        ("tools.echo('ü', 2)", r#"c["echo",{"text":"ü","count":2}]"#, "{'text': 'ü', 'count': 2}"),
        (
            "tools.echo(count=2, text='a')",
            r#"c["echo",{"count":2,"text":"a"}]"#,
            "{'count': 2, 'text': 'a'}",
        ),
        (
            "tools['echo']('a', why=[None, True])",
            r#"c["echo",{"text":"a","why":[null,true]}]"#,
            "{'text': 'a', 'why': [None, True]}",
        ),
        ("tools['odd name'](**{'from': 1.5})", r#"c["odd name",{"from":1.5}]"#, "{'from': 1.5}"),
        ("tools['odd name'](self=1)", r#"c["odd name",{"self":1}]"#, "{'self': 1}"),
    ] {
        assert_eq!(block(call), format!("asked {question}\n{answer}"), "{call}");
    }
}

#[test]
fn what_cannot_be_called_is_told_before_the_host_is_asked() {
    for (call, error) in [
        ("tools.echo()", "TypeError: echo() needs 'text'"),
        ("tools.echo('a', 1, 2, 3)", "TypeError: echo() takes 3 arguments without a name, not 4"),
        ("tools.echo('a', text='b')", "TypeError: echo() got two values for 'text'"),
        (
            "tools.echo('a', txet='b')",
            "TypeError: echo() has no argument 'txet'; it takes text, count, why",
        ),
        (
            "tools.echo({1, 2})",
            "TypeError: echo(): the arguments are not valid JSON: Object of type set is not JSON \
                serializable",
        ),
        (
            "tools.echo(float('nan'))",
            "TypeError: echo(): the arguments are not valid JSON: Out of range float values",
        ),
        (
            "tools.echo('\\ud800')",
            "TypeError: echo(): the arguments are not valid JSON: 'utf-8' codec can't encode",
        ),
        (
            "x = []; x.append(x); tools.echo(x)",
            "TypeError: echo(): the arguments are not valid JSON: Circular reference",
        ),
        (
            "tools.echo('x' * (8 << 20))",
            "ToolError: echo(): the arguments are longer than 8388608 bytes as JSON",
        ),
        (
            "tools.serch",
            "AttributeError: host.tools has no function 'serch'; there are: echo, fail, odd name",
        ),
        (
            "tools['serch']",
            "KeyError: \"host.tools has no function 'serch'; there are: echo, fail, odd name\"",
        ),
        ("tools.echo = 1", "AttributeError: "),
    ] {
        let printed = block(&format!(
            "try:\n    {call}\nexcept Exception as error:\n    print(f'{{type(error).__name__}}: \
                {{error}}')"
        ));
        assert!(printed.starts_with(error), "{call}: {printed}");
    }
}

#[test]
fn a_failure_is_raised_where_the_program_called() {
    let directory = tempfile::tempdir().unwrap();
    let (stderr, _) =
        blocks(directory.path(), &["from host import tools\ndef f():\n    tools.fail()\nf()"]);
    assert_eq!(
        stderr,
        "Traceback (most recent call last):\n  File \"<block 1>\", line 4, in <module>\n    f()\n  \
         File \"<block 1>\", line 3, in f\n    tools.fail()\nhost.ToolError: no wäy\n"
    );
    let caught = "try:\n    tools.fail()\nexcept ToolError as error:\n    print(error)";
    assert_eq!(block(caught), "asked c[\"fail\",{}]\nno wäy");
}

#[test]
fn help_shows_what_a_function_takes() {
    let shown = block("import pydoc; pydoc.help(tools.echo)");
    assert_eq!(
        shown.replace("    \n", "\n"),
        "Help on Function in module host:\n\necho(text: str, count: int = 1, why=...)\n    \
         Gives back what it gets.\n\n    text: what to give back\n"
    );
    for (code, shown) in [
        (
            "import inspect; inspect.signature(tools.echo)",
            "<Signature (text: str, count: int = 1, why=...)>",
        ),
        ("tools.fail", "<host.tools function fail(**others)>"),
        ("tools['odd name']", "<host.tools function odd name(*, others=..., **others_)>"),
        (
            "tools",
            "<host.tools:\n  echo(text: str, count: int = 1, why=...)\n  fail(**others)\n  odd \
                name(*, others=..., **others_)>",
        ),
        ("dir(tools)", "['echo', 'fail']"),
        (
            "[*tools], len(tools), 'echo' in tools, 'x' in tools",
            "(['echo', 'fail', 'odd name'], 3, True, False)",
        ),
        (
            "class A:\n    run = tools.echo\nA().run('a')",
            "asked c[\"echo\",{\"text\":\"a\"}]\n{'text': 'a'}",
        ),
    ] {
        assert_eq!(block(code), shown, "{code}");
    }
}

#[test]
fn each_block_has_what_it_was_granted_and_asks_only_when_it_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let code = [
        "from host import tools\nimport host\nimport copy; copy.copy(host.tools)\nhost.tools is \
            tools",
        "tools.echo('a'); tools.echo('b');",
        "# other\ndir(tools)",
        "# nothing\nprint(list(tools), bool(tools), repr(tools))\ntools.fail",
        "tools.echo('c')",
        "sorted(name for name in __import__('sys').modules if name in ('json', 'inspect'))",
    ];
    let (stderr, printed) = blocks(directory.path(), &code);
    assert_eq!(printed[0], "True", "importing asks nothing");
    assert_eq!(
        printed[1],
        "asked l\nasked c[\"echo\",{\"text\":\"a\"}]\nasked c[\"echo\",{\"text\":\"b\"}]"
    );
    assert_eq!(printed[2], "asked l\n['fail']");
    assert_eq!(printed[3], "asked l\n[] False <host.tools: this block cannot call host functions>");
    assert!(
        stderr
            .contains("AttributeError: host.tools has no function 'fail': this block cannot call"),
        "{stderr}"
    );
    assert_eq!(printed[4], "asked l\nasked c[\"echo\",{\"text\":\"c\"}]\n{'text': 'c'}");
    assert_eq!(printed[5], "['json']");
}

#[test]
fn files_of_the_programs_own_are_not_in_the_way() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["host.py", "json.py", "inspect.py"] {
        std::fs::write(directory.path().join(name), "raise ValueError('not this one')").unwrap();
    }
    // The driver here uses `json` itself, so it has to come first.
    let preload = "import sys; sys.path.remove(''); import json; sys.path.insert(0, '')";
    let code = "import host\nfrom host import tools\ntools.echo(text='a'), host.tools.echo";
    let (stderr, printed) = blocks(directory.path(), &[preload, code]);
    assert_eq!(stderr, "");
    assert!(printed[1].ends_with(
        "({'text': 'a'}, <host.tools function echo(text: str, count: int = 1, why=...)>)"
    ));
}
