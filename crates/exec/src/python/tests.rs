//! The notebook in an interpreter of this machine, with a minimal driver.

#![allow(clippy::unwrap_used)]

mod host;

use std::{path::Path, process::Command};

use super::NOTEBOOK;

/// Runs blocks, and prints the status and the modules that are new after each of them on lines that
/// begin with `=`.
const DRIVER: &str = r#"
import sys
sys.path.insert(0, "")
_loaded = set(sys.modules)
hook_figures_on_import()
def _new():
    new = sorted(set(sys.modules) - _loaded)
    _loaded.update(new)
    return " ".join(new)
print("=", _new(), flush=True)
_count = 0
for _block in sys.argv[1:]:
    _count += 1
    _status = _run_block(_block, f"<block {_count}>")
    print("=", _status, "|", _new(), flush=True)
print("=", len(sys.meta_path))
"#;

/// Runs blocks one after another in one interpreter. Returns its standard error and the driver's
/// lines.
fn run(directory: &Path, blocks: &[&str]) -> (String, Vec<String>) {
    start(directory, &format!("{NOTEBOOK}\n{DRIVER}"), blocks)
}

/// Runs a driver with these arguments. Returns its standard error and its lines.
fn start(directory: &Path, driver: &str, arguments: &[&str]) -> (String, Vec<String>) {
    const START: &str = "import sys, types\nspace = types.ModuleType('driver').__dict__\n\
                         exec(compile(sys.argv.pop(1), '<driver>', 'exec'), space)";
    let output = Command::new("python3")
        .current_dir(directory)
        .args(["-I", "-S", "-c", START, driver])
        .args(arguments)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    (stderr, String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

#[test]
fn nothing_is_imported_before_it_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let (_, lines) = run(directory.path(), &["x = 1", "print(x)", "x.real = 3", "x", "x = 2; x"]);
    let expected = [
        "= ",
        "= {'code': 0} | ",
        "1",
        "= {'code': 0} | ",
        "= {'code': 1, 'exception': 'AttributeError'} | ",
        "1",
        "= {'code': 0} | ",
        "2",
        "= {'code': 0} | ",
    ];
    let seen: Vec<&str> =
        lines.iter().map(|line| line.split_inclusive("| ").next().unwrap_or_default()).collect();
    assert_eq!(seen[..expected.len()], expected);
    // The modules that show a traceback came with the first one, and the parser's classes with
    // them.
    assert!(
        lines[4].contains(" traceback")
            && lines[4].contains(" linecache")
            && !lines[8].contains("traceback")
    );
    let (_, lines) = run(directory.path(), &["x = 1", "1 + 1"]);
    assert_eq!(lines[3], "= {'code': 0} | _ast");
}

/// Returns the output of each block, and the status that it ended with.
fn turns(lines: &[String]) -> Vec<(String, String)> {
    let mut turns = Vec::new();
    let mut printed = Vec::new();
    for line in &lines[1..] {
        match line.strip_prefix("= ").and_then(|line| line.split_once(" |")) {
            Some((status, _)) => {
                turns.push((std::mem::take(&mut printed).join("\n"), status.to_owned()))
            }
            None => printed.push(line.as_str()),
        }
    }
    turns
}

#[test]
fn values_are_shown_as_a_notebook_shows_them() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        ("1 + 1", "2"),
        ("x = 5", ""),
        ("x += 1", ""),
        ("x == 6", "True"),
        ("x = 7; x", "7"),
        ("x;", ""),
        ("print(x)", "7"),
        ("print(x); x", "7\n7"),
        ("'abc\\\nx = 5'", "'abcx = 5'"),
        ("'''\nx = 5'''", "'\\nx = 5'"),
        ("None", ""),
        ("import asyncio\nawait asyncio.sleep(0, 8)", "8"),
        ("dict(\n    a=1,\n)", "{'a': 1}"),
        ("dict(\na=(1))", "{'a': 1}"),
        ("x\n# x = 3", "7"),
        ("if x:\n    x", ""),
        ("def print(x): return x + 1\nprint(x)", "8"),
        ("print(x)", "8"),
    ];
    let (_, lines) = run(directory.path(), &cases.map(|(block, _)| block));
    assert_eq!(turns(&lines).len(), cases.len());
    for ((block, expected), seen) in cases.into_iter().zip(turns(&lines)) {
        assert_eq!(seen, (expected.to_owned(), "{'code': 0}".to_owned()), "{block}");
    }
}

#[test]
fn the_end_of_a_block_is_told_and_shown_without_the_drivers_frames() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        ("raise SystemExit", "{'code': 0}", ""),
        ("raise SystemExit(259)", "{'code': 3}", ""),
        ("raise SystemExit('over')", "{'code': 1}", "over\n"),
        (
            "def half(x):\n    return 1 / x\nhalf(0)",
            "{'code': 1, 'exception': 'ZeroDivisionError'}",
            "Traceback (most recent call last):\n  File \"<block 1>\", line 3, in <module>\n    \
                half(0)\n  \
             File \"<block 1>\", line 2, in half\n    return 1 / x\n",
        ),
        (
            "open('gone')",
            "{'code': 1, 'exception': 'OSError', 'errno': 2}",
            "No such file or directory: 'gone'\n",
        ),
        ("raise MemoryError", "{'code': 1, 'exception': 'MemoryError'}", "MemoryError\n"),
        ("1 +", "{'code': 1, 'exception': 'SyntaxError'}", "File \"<block 1>\", line 1\n    1 +\n"),
        (
            "import gone",
            "{'code': 1, 'exception': 'ModuleNotFoundError'}",
            "Error: No module named 'gone'\n",
        ),
        (
            "import sys\nsys.stderr = None\nraise ValueError('unseen?')",
            "{'code': 1, 'exception': 'ValueError'}",
            "ValueError: unseen?\n",
        ),
    ];
    // Some versions of Python mark the place in the line that failed.
    let is_mark = |line: &&str| {
        !line.trim().is_empty() && line.trim().chars().all(|c| matches!(c, '^' | '~'))
    };
    for (block, status, shown) in cases {
        let (stderr, lines) = run(directory.path(), &[block]);
        assert_eq!(turns(&lines)[0].1, status, "{block}");
        let unmarked: String = stderr.split_inclusive('\n').filter(|line| !is_mark(line)).collect();
        assert!(unmarked.contains(shown) && !stderr.contains("<driver>"), "{block}: {stderr}");
        assert_eq!(stderr.is_empty(), shown.is_empty(), "{block}: {stderr}");
    }
}

#[test]
fn a_module_of_the_programs_own_does_not_hide_what_failed() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("token.py"), "mine = 1").unwrap();
    // Not imported, it is not looked at; imported, it breaks the library, and a plain traceback is
    // shown.
    let (stderr, _) = run(directory.path(), &["1 / 0"]);
    assert!(stderr.contains("    1 / 0\n"), "{stderr}");
    let (stderr, lines) =
        run(directory.path(), &["import token; token.mine", "def f():\n    1 / 0\nf()"]);
    assert_eq!(turns(&lines)[0].0, "1");
    assert_eq!(
        stderr,
        "Traceback (most recent call last):\n  File \"<block 2>\", line 3, in <module>\n  \
         File \"<block 2>\", line 2, in f\nZeroDivisionError: division by zero\n"
    );
}

#[test]
fn a_programs_own_traceback_has_the_lines_of_all_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let show =
        "import traceback\ntry:\n    f()\nexcept Exception:\n    print(traceback.format_exc())";
    let (_, lines) = run(directory.path(), &["def f():\n    return undefined", show]);
    let shown = &turns(&lines)[1].0;
    assert!(shown.contains("    return undefined\n") && shown.contains("    f()\n"), "{shown}");
}

/// The part of matplotlib that the notebook touches.
const PYPLOT: &str = "
from types import SimpleNamespace
class Figure:
    def savefig(self, name): open(name, 'w').close()
    def show(self): raise RuntimeError('not hooked')
_pylab_helpers = SimpleNamespace(Gcf=SimpleNamespace(figs={}))
_figs = _pylab_helpers.Gcf.figs
def figure(number=None): return _figs.setdefault(number or len(_figs) + 1, Figure())
def get_fignums(): return list(_figs)
def close(what): _figs.clear()
def show(): raise RuntimeError('not hooked')
";

#[test]
fn figures_are_written_also_in_the_block_that_imports_pyplot() {
    let directory = tempfile::tempdir().unwrap();
    let package = directory.path().join("matplotlib");
    std::fs::create_dir(&package).unwrap();
    std::fs::write(package.join("__init__.py"), "").unwrap();
    std::fs::write(package.join("pyplot.py"), "raise ValueError('not yet')").unwrap();
    std::fs::write(package.join("repaired"), PYPLOT).unwrap();
    let blocks = [
        // A failed import keeps the hook, and its traceback does not show it.
        "from matplotlib import pyplot",
        "import os\nos.replace('matplotlib/repaired', 'matplotlib/pyplot.py')",
        "from matplotlib import pyplot as plt\nplt.figure(); plt.show(); \
            os.path.exists('figure-1.png')",
        "plt.figure().savefig('mine.png'); plt.figure(7).show(); os.path.exists('figure-2.png')",
        "plt.figure();",
        "sorted(name for name in os.listdir() if name.endswith('.png'))",
    ];
    let (stderr, lines) = run(directory.path(), &blocks);
    let turns = turns(&lines);
    assert_eq!(turns[0].1, "{'code': 1, 'exception': 'ValueError'}");
    assert!(stderr.contains("not yet") && !stderr.contains("<driver>"), "{stderr}");
    assert_eq!((turns[2].0.as_str(), turns[3].0.as_str()), ("True", "True"), "{stderr}");
    assert_eq!(turns[5].0, "['figure-1.png', 'figure-2.png', 'figure-3.png', 'mine.png']");
    // The three finders that Python starts with: the hooks have removed themselves.
    assert_eq!(lines.last().unwrap(), "= 3");
}
