//! The person at the terminal, with a pseudo-terminal.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use serde_json::json;

use crate::{
    command::{TestDir, fixture},
    recording::{answer, exchange, recorded},
};

/// The command at its own pseudo-terminal.
struct TerminalSession {
    child: std::process::Child,
    keys: File,
    screen: Receiver<Vec<u8>>,
    shown: String,
}

impl TerminalSession {
    fn start(dir: &TestDir, args: &[&str]) -> Self {
        Self::start_with(dir, args, &[("TERM", "xterm")])
    }

    /// Starts the command at a terminal that these variables describe.
    fn start_with(dir: &TestDir, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let pty = nix::pty::openpty(None, None).unwrap();
        let (keys, mut output) =
            (File::from(pty.master.try_clone().unwrap()), File::from(pty.master));
        let slave = File::from(pty.slave);
        let given = dir.command(args);
        // `setsid` makes the terminal the controlling one, which the command opens as /dev/tty.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(given.get_program()).args(given.get_args());
        command.current_dir(dir.path(""));
        for (name, value) in given.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        // Without the history, editor and terminal of the person who runs the tests.
        for name in ["VISUAL", "EDITOR", "TMUX", "TERM_PROGRAM", "KITTY_WINDOW_ID"] {
            command.env_remove(name);
        }
        command.env("CELLBLOCK_CACHE", dir.path("cache")).envs(variables.iter().copied());
        command.stdin(Stdio::from(slave.try_clone().unwrap()));
        command.stdout(Stdio::from(slave.try_clone().unwrap())).stderr(Stdio::from(slave));
        let child = command.spawn().unwrap();
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Fails when all processes have closed the terminal.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keys, screen, shown: String::new() }
    }

    /// Waits until a text is shown after the last one that was waited for.
    #[track_caller]
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.shown.find(text) {
                let rest = self.shown.split_off(at + text.len());
                return std::mem::replace(&mut self.shown, rest);
            }
            match self.screen.recv_timeout(Duration::from_secs(120)) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(why) => panic!("`{text}` was not shown ({why}): {}", self.shown),
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Returns the exit status, and the output since the last text that was waited for.
    fn end(mut self) -> (Option<i32>, String) {
        // Until all processes have closed the terminal.
        while let Ok(bytes) = self.screen.recv_timeout(Duration::from_secs(120)) {
            self.shown.push_str(&String::from_utf8_lossy(&bytes));
        }
        let code = self.child.wait().unwrap().code();
        (code, self.shown)
    }
}

/// The prompt of the line editor.
const PROMPT: &str = "> ";

#[test]
fn a_person_corrects_edits_and_approves() {
    let dir = recorded(&[
        answer("Plot it", "```sh\necho dollars\n```"),
        answer("No, please plot % change!", "```sh\necho percentage\n```"),
        answer("Code output: percent", "Done. TERMINATE"),
    ]);
    let args = ["chat", "--executor", "local", "--approve", "always", "--replay", "answers.jsonl"];
    let mut chat = TerminalSession::start(&dir, &args);
    chat.wait_for("What is the task?");
    chat.wait_for(PROMPT);
    chat.press("Plot it\r");
    chat.wait_for("1 | echo dollars");
    chat.wait_for("[a]pprove, [e]dit, [s]kip");
    chat.wait_for(PROMPT);
    chat.press("No, please plot % change!\r");
    chat.wait_for("1 | echo percentage");
    chat.wait_for(PROMPT);
    chat.press("e\r");
    chat.wait_for("Edit the line");
    chat.wait_for(PROMPT);
    // Three times the key that deletes to the left.
    chat.press("\u{7f}\u{7f}\u{7f}\r");
    chat.wait_for("Code output: percent\r\n");
    chat.wait_for("Your answer to assistant");
    chat.wait_for(PROMPT);
    chat.press("\r");
    let (code, shown) = chat.end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("Termination message condition"), "{shown}");
    // The task is in the history, which only the user can read.
    let history = dir.path("cache/chat-history");
    assert!(std::fs::read_to_string(&history).unwrap().contains("Plot it"));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&history).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_person_sees_hidden_characters() {
    let dir = recorded(&[
        answer("Add", "```sh\necho 1 #\u{1b}]0;\necho EVIL\n#\u{7}\n```"),
        answer("", "Done. TERMINATE"),
    ]);
    let args = [
        "--executor",
        "local",
        "--approve",
        "always",
        "--human",
        "never",
        "--replay",
        "answers.jsonl",
    ];
    let mut chat = TerminalSession::start(&dir, &[&["chat", "Add"], &args[..]].concat());
    chat.wait_for("   1 | echo 1 #\\u{1b}]0;\r\n   2 | echo EVIL\r\n   3 | #\\u{7}\r\n");
    chat.wait_for(PROMPT);
    // The line editor would write it to the terminal.
    chat.press("e\r");
    chat.wait_for("Set VISUAL or EDITOR to an editor");
    chat.wait_for(PROMPT);
    chat.press("s\r");
    chat.wait_for("Why?");
    chat.wait_for(PROMPT);
    chat.press("\r");
    let (code, shown) = chat.end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(!shown.contains("Code output: 1"), "{shown}");
}

#[test]
fn a_failure_is_shown_once() {
    let dir = TestDir::new();
    let recording = fixture("recordings/stock-chart.jsonl");
    let args = ["chat", "Tell me a joke.", "--text-only", "--replay", &recording];
    let (code, shown) = TerminalSession::start(&dir, &args).end();
    assert_eq!(
        (code, shown.matches("the recording has no answer").count()),
        (Some(125), 1),
        "{shown}"
    );
}

#[test]
fn a_person_is_asked_about_the_code_of_a_team() {
    let team = "[[agents]]\nname = \"user\"\nkind = \"user\"\n\
                [[agents]]\nname = \"lead\"\nteam = [\"coder\"]\n\
                [[agents]]\nname = \"coder\"\ncode = true\n[chat]\nmax_turns = 2\n";
    let call = json!({"id": "1", "name": "ask_coder", "arguments": "{\"task\":\"Add\"}"});
    let dir = recorded(&[
        exchange("Count", json!({"tool_calls": [call]})),
        answer("Add", "```sh\necho $((40 + 2))\n```"),
        answer("Code output: 42", "It is 42. TERMINATE"),
        answer("It is 42", "42. TERMINATE"),
    ]);
    dir.write("team.toml", team);
    let args = [
        "chat",
        "Count.",
        "--config",
        "team.toml",
        "--executor",
        "local",
        "--approve",
        "always",
        "--human",
        "never",
        "--replay",
        "answers.jsonl",
    ];
    let mut chat = TerminalSession::start(&dir, &args);
    chat.wait_for("lead wants to run:");
    chat.wait_for("1 | echo $((40 + 2))");
    chat.wait_for(PROMPT);
    chat.press("a\r");
    let (code, shown) = chat.end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("    Code output: 42"), "{shown}");
}

#[test]
fn a_person_who_leaves_ends_the_chat() {
    for (keys, status, says) in [
        ("\u{4}", 0, "User requested to end"),
        ("\u{3}", 130, "Cancelled"),
        ("exit\r", 0, "User requested to end"),
    ] {
        let dir = TestDir::new();
        let recording = fixture("recordings/stock-chart.jsonl");
        let args = [
            "chat",
            "Which stock did better?",
            "--human",
            "always",
            "--executor",
            "local",
            "--replay",
            &recording,
        ];
        let mut chat = TerminalSession::start(&dir, &args);
        chat.wait_for("`exit` ends the chat)");
        chat.wait_for(PROMPT);
        chat.press(keys);
        let (code, shown) = chat.end();
        assert_eq!(code, Some(status), "{keys:?}: {shown}");
        assert!(shown.contains(says), "{keys:?}: {shown}");
    }
}

#[test]
fn a_question_ends_when_the_chat_runs_out_of_time() {
    let dir = TestDir::new();
    let recording = fixture("recordings/stock-chart.jsonl");
    let args = [
        "chat",
        "Which stock did better?",
        "--human",
        "always",
        "--max-time",
        "2s",
        "--text-only",
        "--replay",
        &recording,
    ];
    let mut chat = TerminalSession::start(&dir, &args);
    chat.wait_for(PROMPT);
    let (code, shown) = chat.end();
    assert_eq!(code, Some(124), "{shown}");
    assert!(shown.contains("the time limit of 2 s is reached"), "{shown}");
}

#[test]
fn pictures_are_shown_where_the_terminal_can() {
    // A shell writes the header of a picture with 16 by 16 pixels.
    let header = r"\211PNG\r\n\032\n\000\000\000\015IHDR\000\000\000\020\000\000\000\020";
    let code = format!("```sh\nprintf '{header}' > a.png\n```");
    let args =
        ["chat", "Draw.", "--executor", "local", "--human", "never", "--replay", "answers.jsonl"];
    for (variables, shows) in [
        ([("TERM", "xterm-kitty")].as_slice(), "\u{1b}_Ga=T,f=100,q=2,m=0;"),
        (
            &[("TERM", "xterm"), ("TERM_PROGRAM", "iTerm.app")],
            "\u{1b}]1337;File=inline=1;preserveAspectRatio=1;size=24;width=auto:",
        ),
        (&[("TERM", "xterm")], ""),
    ] {
        let dir = recorded(&[answer("a.png", "Done. TERMINATE"), answer("", &code)]);
        let (code, shown) = TerminalSession::start_with(&dir, &args, variables).end();
        assert_eq!(code, Some(0), "{shown}");
        assert!(shown.contains("cellblock-out/a.png (image/png, 24 B)"), "{shown:?}");
        assert!(shown.contains(shows), "{shown:?}");
        let any = shown.contains("\u{1b}_G") || shown.contains("\u{1b}]1337");
        assert_eq!(any, !shows.is_empty(), "{shown:?}");
    }
}
