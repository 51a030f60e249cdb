//! Runs the command in a new directory.

use std::{
    fmt,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    sync::Once,
};

/// A temporary directory to run the command in.
pub struct TestDir(tempfile::TempDir);

/// The exit status and output of the command.
pub struct CommandOutput {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl fmt::Display for CommandOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or("none".into(), |code| code.to_string());
        write!(
            f,
            "exit status: {code}\n----- stdout -----\n{}\n----- stderr -----\n{}",
            self.stdout, self.stderr
        )
    }
}

impl CommandOutput {
    /// Returns the text without the lists of providers and of model fields, which grow.
    pub fn without_lists(&self) -> String {
        let mut text = self.to_string();
        for (before, end) in
            [("PROVIDER/MODEL with one of ", ';'), ("expected one of `model`, ", '\n')]
        {
            if let Some(at) = text.find(before).map(|at| at + before.len()) {
                let length = text[at..].find(end).unwrap_or(text.len() - at);
                text.replace_range(at..at + length, "[LIST]");
            }
        }
        text
    }

    /// Parses standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not one JSON value: {error}\n{self}"))
    }
}

impl TestDir {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Returns the command, without the preferences of the person who runs the tests.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cellblock"));
        command
            .args(args)
            .current_dir(&self.0)
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .env_remove("CELLBLOCK_LOG")
            .env_remove("CELLBLOCK_PRICES")
            .env("COLUMNS", "100");
        // No test may ask a model that costs money.
        for provider in cellblock_models::choose::PROVIDERS {
            for name in provider.key_variable.iter().chain(&provider.address_variable) {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the command with this standard input.
    pub fn run_with(&self, args: &[&str], stdin: &[u8]) -> CommandOutput {
        let mut child = self.command(args).spawn().unwrap();
        // Fails if the command ends without reading its input.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        let output = child.wait_with_output().unwrap();
        CommandOutput {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub fn run(&self, args: &[&str]) -> CommandOutput {
        self.run_with(args, b"")
    }
}

/// Returns the path of a file in `fixtures`.
pub fn fixture(name: &str) -> String {
    format!("{}/../../fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Pulls the image, so that no test prints the progress of that.
pub fn require_image() {
    static PULL: Once = Once::new();
    PULL.call_once(|| {
        let output = TestDir::new().run(&["image", "pull", "python"]);
        assert_eq!(output.code, Some(0), "{output}");
    });
}

/// Asserts that a directory has exactly these files.
#[track_caller]
pub fn assert_files(directory: &Path, expected: &[&str]) {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .map(|entries| {
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        })
        .unwrap_or_default();
    names.sort();
    assert_eq!(names, expected);
}
