//! File names of artifacts, which must have no effect on this machine.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    command::{CommandOutput, TestDir, assert_files, require_image},
    executors::has_docker,
    recording::{answer, recorded},
};

/// Creates files with names that must not reach the host, then two with harmless names.
const ODD: &str = r"
import os
for name in [rb'a\b', rb'C:\x', b'tab\t.txt', b'two\nlines.txt', b'not\xffutf8',
             '\u202egnp.exe'.encode(), b'.git/config', b'HEAD', b'a:b.csv', b'fine.txt']:
    try:
        if os.path.dirname(name): os.makedirs(os.path.dirname(name))
        open(name, 'w').close()
    except (OSError, ValueError): pass
";

/// Runs Python in the sandbox.
fn exec(dir: &TestDir, code: &str, more: &[&str]) -> CommandOutput {
    require_image();
    dir.run(&[&["exec", "-l", "python", "-c", code], more].concat())
}

/// Returns a field of each artifact, or of each refused file, of the only block.
fn fields(json: &Value, list: &str, field: &str) -> Vec<String> {
    let files = json["blocks"][0][list].as_array().unwrap();
    files.iter().map(|file| file[field].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_name_never_decides_the_exit_status() {
    let mut executors = vec!["wasi", "local"];
    if has_docker() {
        let pulled = TestDir::new().run(&["image", "pull", "docker-python"]);
        assert_eq!(pulled.code, Some(0), "{pulled}");
        executors.push("docker");
    }
    for executor in executors {
        let dir = TestDir::new();
        let output = exec(&dir, ODD, &["--executor", executor]);
        assert_eq!((output.code, output.stdout.as_str()), (Some(0), ""), "{executor}: {output}");
        assert!(output.stderr.contains("refused: a\\b: its name has a backslash"), "{output}");
        assert!(output.stderr.contains("refused: two\\u{a}lines.txt: "), "{output}");
        assert!(output.stderr.contains("refused: .git: version control"), "{output}");
        assert!(!output.stderr.contains("report"), "{output}");
        assert_files(&dir.path("cellblock-out"), &["a:b.csv", "fine.txt"]);

        let json = exec(&dir, ODD, &["--executor", executor, "--json", "--out", "o"]).json();
        assert_eq!((&json["exit_code"], json.get("error")), (&0.into(), None), "{json}");
        assert_eq!(fields(&json, "artifacts", "file"), ["o/a:b.csv", "o/fine.txt"]);
        let refused = fields(&json, "refused", "path");
        assert!(refused.len() >= 7 && refused.contains(&"two\nlines.txt".to_owned()), "{json}");
    }
}

#[test]
fn a_name_never_decides_how_a_chat_ends() {
    require_image();
    let content = format!("```ini .git/config\n[core]\n```\n```python\n{ODD}\n```");
    let exchanges = [answer("", &content), answer("", "TERMINATE")];
    let run = |more: &[&str]| {
        let dir = recorded(&exchanges);
        let output = dir.run(&[&["chat", "x", "--replay", "answers.jsonl"], more].concat());
        assert_eq!(output.code, Some(0), "{output}");
        assert_files(&dir.path("cellblock-out"), &["a:b.csv", "fine.txt"]);
        output
    };
    let shown = run(&[]);
    assert!(shown.stderr.contains("refused: a\\b: its name has a backslash"), "{shown}");
    assert!(shown.stderr.contains("refused: .git: version control"), "{shown}");

    let json = run(&["--json"]).json();
    let message = &json["chat_history"][2];
    assert_eq!(message["artifacts"][0]["file"], "cellblock-out/a:b.csv", "{json}");
    let content = message["content"].as_str().unwrap();
    assert!(content.starts_with("exitcode: 0"), "{content}");
    assert!(content.contains("\nnote: two\\u{a}lines.txt was refused: "), "{content}");

    let events = run(&["--events"]);
    let is_finished = |event: &Value| event["event"] == "block_finished";
    let events = events.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let finished: Vec<_> = events.filter(is_finished).collect();
    assert_eq!(finished[1]["report"]["artifacts"][1]["file"], "cellblock-out/fine.txt");
}

/// Returns files that make `root` a git repository, with a command that `git status` runs.
fn repository(root: &Path, below: &str, ran: &Path) -> Vec<(String, String)> {
    let config = format!(
        "[core]\nrepositoryformatversion = 0\nbare = false\nworktree = {}\nfsmonitor = \"touch {}; \
         false\"\n",
        root.display(),
        ran.display()
    );
    [
        ("config", config.as_str()),
        ("HEAD", "ref: refs/heads/main\n"),
        ("objects/x", ""),
        ("refs/x", ""),
    ]
    .map(|(name, content)| (format!("{below}{name}"), content.to_owned()))
    .into()
}

/// Runs `git status` with the default settings, as a person who looks at the files would.
fn git_status(directory: &Path) {
    let mut git = Command::new("git");
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_CONFIG_PARAMETERS"] {
        git.env_remove(variable);
    }
    git.args(["-c", "safe.directory=*", "-c", "safe.bareRepository=all", "status"])
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .current_dir(directory)
        .output()
        .unwrap();
}

/// Runs a block that writes a repository into the output directory, then git there.
#[allow(clippy::print_stdout)]
fn a_repository_is_not_obeyed(below: &str, refused: &str) {
    if Command::new("git").arg("--version").output().is_err() {
        println!("skipped: no git");
        return;
    }
    let dir = TestDir::new();
    let (out, ran) = (dir.path("out"), dir.path("ran"));
    let files = repository(&out, below, &ran);
    let code = format!(
        "import os\nfor path, text in {}:\n    \
         os.makedirs(os.path.dirname(path) or '.', exist_ok=True)\n    \
         with open(path, 'w') as f: n = f.write(text)\nopen('fine.txt', 'w').close()",
        json!(files)
    );
    for executor in ["wasi", "local"] {
        for overwrite in [[].as_slice(), &["--overwrite"]] {
            let options = [&["--executor", executor, "--out", "out"], overwrite].concat();
            let output = exec(&dir, &code, &options);
            assert_eq!(output.code, Some(0), "{output}");
            assert!(output.stderr.contains(&format!("refused: {refused}: ")), "{output}");
            assert!(out.join("fine.txt").exists());
            git_status(&out);
            assert!(!ran.exists(), "{executor}: git ran the command of the block");
        }
    }
    // The control: the same files, written by the test.
    for (path, content) in files {
        dir.write(&format!("out/{path}"), content);
    }
    git_status(&out);
    assert!(ran.exists(), "git does not run the command of such a repository");
}

#[test]
fn git_does_not_obey_a_repository_that_a_block_writes() {
    a_repository_is_not_obeyed(".git/", ".git");
}

#[test]
fn git_does_not_obey_a_bare_repository_that_a_block_writes() {
    a_repository_is_not_obeyed("", "HEAD");
}

#[test]
fn existing_files_of_the_output_directory_stay() {
    let dir = TestDir::new();
    for name in [".git/config", ".envrc", "prices.csv", "sub/notes.txt"] {
        dir.write(name, "mine");
    }
    let code = "import os\n\
                for name in ['.git/config', '.envrc', 'prices.csv', 'sub/notes.txt']:\n    \
                os.makedirs(os.path.dirname(name) or '.', exist_ok=True)\n    \
                with open(name, 'w') as f: n = f.write('new')";
    // Once as an output directory only, once also as the directory of the input files.
    for (number, more) in [(2, [].as_slice()), (3, &["--workspace", "."])] {
        let output = exec(&dir, code, &[&["--out", "."], more].concat());
        assert_eq!(output.code, Some(0), "{output}");
        for name in [".git/config", ".envrc", "prices.csv", "sub/notes.txt"] {
            assert_eq!(dir.read(name), "mine", "{name}");
        }
        assert_eq!(dir.read(&format!("prices-{number}.csv")), "new");
        assert_eq!(dir.read(&format!("sub/notes-{number}.txt")), "new");
        assert_eq!(dir.read(&format!(".envrc-{number}")), "new");
        let wrote =
            format!("wrote ./prices-{number}.csv (text/csv, 3 B); prices.csv already existed");
        assert!(output.stderr.contains(&wrote), "{output}");
        assert!(output.stderr.contains("refused: .git: version control"), "{output}");
    }
    assert_files(&dir.path(".git"), &["config"]);
    // The control.
    let output = exec(&dir, code, &["--out", ".", "--overwrite"]);
    assert_eq!((output.code, dir.read("prices.csv").as_str()), (Some(0), "new"), "{output}");
    assert_eq!((dir.read(".envrc").as_str(), dir.read(".git/config").as_str()), ("new", "mine"));
    assert!(output.stderr.contains("note: ./.envrc: direnv or mise can run it"), "{output}");
}

#[test]
fn json_has_the_file_of_each_artifact() {
    require_image();
    let dir = TestDir::new();
    dir.write("answer.md", "```python\nwith open('a.txt', 'w') as f: n = f.write('1')\n```\n");
    let run = |more: &[&str]| {
        let output = dir.run(&[&["run", "answer.md", "--json", "--out", "o"], more].concat());
        assert_eq!(output.code, Some(0), "{output}");
        let json = output.json();
        assert_eq!(fields(&json, "artifacts", "path"), ["a.txt"]);
        fields(&json, "artifacts", "file").remove(0)
    };
    assert_eq!(run(&[]), "o/a.txt");
    assert_eq!(run(&[]), "o/a-2.txt");
    assert_eq!(run(&["--overwrite"]), "o/a.txt");
    assert_files(&dir.path("o"), &["a-2.txt", "a.txt"]);
}

#[test]
fn a_later_block_replaces_the_file_of_an_earlier_one() {
    require_image();
    let dir = TestDir::new();
    dir.write("cellblock-out/a.txt", "mine");
    let block = |text: &str| {
        format!("```python\nwith open('a.txt', 'w') as f: n = f.write('{text}')\n```\n")
    };
    dir.write("answer.md", format!("{}{}", block("one"), block("two")));
    let output = dir.run(&["run", "answer.md"]);
    assert_eq!(output.code, Some(0), "{output}");
    assert_files(&dir.path("cellblock-out"), &["a-2.txt", "a.txt"]);
    assert_eq!(dir.read("cellblock-out/a-2.txt"), "two");
    assert!(output.stderr.contains("1 file in cellblock-out"), "{output}");
    assert_eq!(fs::read_to_string(dir.path("cellblock-out/a.txt")).unwrap(), "mine");
}

#[test]
fn names_that_tools_obey_are_noted_once_for_each_kind() {
    let dir = TestDir::new();
    let code =
        "for name in ['.envrc', 'a.pth', 'b.pth', 'c.pth', 'plot.py']: open(name, 'w').close()";
    let output = exec(&dir, code, &[]);
    assert_eq!(output.code, Some(0), "{output}");
    let notes: Vec<_> = output.stderr.lines().filter(|line| line.starts_with("note: ")).collect();
    assert_eq!(notes.len(), 2, "{output}");
    assert!(notes[0].starts_with("note: cellblock-out/.envrc: direnv"), "{output}");
    assert!(
        notes[1].starts_with("note: cellblock-out/a.pth and 2 more: Python runs it"),
        "{output}"
    );
    let json = exec(&dir, code, &["--json", "--out", "o"]).json();
    assert!(json["blocks"][0]["notes"][1].as_str().unwrap().contains("Python"), "{json}");
}
