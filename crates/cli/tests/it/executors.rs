//! The choice of executors, and the messages about it.

use crate::command::{CommandOutput, TestDir, require_image};

const MIXED: &str = "\
```python
with open('numbers.txt', 'w') as f: n = f.write('3\\n1\\n2\\n')
x = 5
```

```bash
sort numbers.txt | tr '\\n' ' '
```

```python
print(x)
```
";

/// True if there is a Docker engine. Fails if one is required and there is none.
#[allow(clippy::print_stdout)]
pub fn has_docker() -> bool {
    let found = std::process::Command::new("docker")
        .arg("info")
        .output()
        .is_ok_and(|output| output.status.success());
    let required = std::env::var_os("CELLBLOCK_REQUIRE_DOCKER").is_some_and(|value| value == "1");
    assert!(found || !required, "a Docker engine is required, and there is none");
    if !found {
        println!("skipped: no Docker engine");
    }
    found
}

/// Returns the executor and the isolation of a block.
fn ran_in(output: &CommandOutput, block: usize) -> (String, String) {
    let json = output.json();
    let text = |field: &str| json["blocks"][block][field].as_str().unwrap_or_default().to_owned();
    (text("executor"), text("isolation"))
}

#[test]
fn a_local_session_runs_several_languages() {
    let dir = TestDir::new();
    dir.write("answer.md", MIXED);
    let output = dir.run(&["run", "answer.md", "--executor", "local", "--json"]);
    assert_eq!(output.code, Some(0), "{output}");
    let json = output.json();
    assert_eq!(
        (&json["executor"], &json["blocks"][1]["stdout"]),
        (&"local".into(), &"1 2 3 ".into())
    );
    assert_eq!(json["blocks"][2]["stdout"], "5\n");
    let isolation = json["isolation"].as_str().unwrap();
    assert!(["namespaces", "landlock"].contains(&isolation), "{isolation}");
}

#[test]
fn auto_chooses_the_strictest_that_can_and_says_why() {
    require_image();
    let dir = TestDir::new();
    dir.write("answer.md", MIXED);
    // Without Docker, so that the result is the same on every machine.
    let run = |arguments: &[&str]| {
        let mut command = dir.command(&[&["run", "answer.md"], arguments].concat());
        let output = command.env("DOCKER_HOST", "unix:///nowhere/docker.sock").output().unwrap();
        CommandOutput {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    };
    let output = run(&["--json"]);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(ran_in(&output, 0), ("wasi".into(), "wasm".into()));
    assert_eq!(ran_in(&output, 1).0, "local");
    assert_eq!(ran_in(&output, 2).0, "wasi");
    let json = output.json();
    assert_eq!(
        (&json["blocks"][1]["stdout"], &json["blocks"][2]["stdout"]),
        (&"1 2 3 ".into(), &"5\n".into())
    );
    let note = json["blocks"][1]["notes"][0].as_str().unwrap().to_owned();
    assert!(note.starts_with("ran in local; wasi: it runs python; docker: "), "{note}");
    assert_eq!(json["isolation"], json["blocks"][1]["isolation"], "the weakest that ran");

    let output = run(&["--isolation", "wasm", "--json"]);
    assert_eq!(output.code, Some(126), "{output}");
    let outcome = output.json()["blocks"][1]["outcome"].clone();
    assert_eq!(outcome["kind"], "unsupported", "{outcome}");
}

#[test]
fn a_container_runs_the_same_answer() {
    if !has_docker() {
        return;
    }
    let dir = TestDir::new();
    let pulled = dir.run(&["image", "pull", "docker-python"]);
    assert_eq!(pulled.code, Some(0), "{pulled}");
    dir.write("answer.md", MIXED);
    let output = dir.run(&["run", "answer.md", "--executor", "docker", "--json"]);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(ran_in(&output, 0), ("docker".into(), "container".into()));
    let json = output.json();
    assert_eq!(
        (&json["blocks"][1]["stdout"], &json["blocks"][2]["stdout"]),
        (&"1 2 3 ".into(), &"5\n".into())
    );
    let listed = dir.run(&["image", "list", "--json"]).json();
    let ours = listed.as_array().unwrap().iter().find(|image| image["name"] == "docker-python");
    assert_eq!(ours.unwrap()["state"], "ready", "{listed}");
}

#[test]
fn unsupported_options_are_refused_with_a_hint() {
    let dir = TestDir::new();
    for (arguments, says) in [
        (["--executor", "wasi", "--allow-host", "example.org"].as_slice(), "network"),
        (&["--executor", "docker", "--isolation", "wasm"], "container"),
        (&["--executor", "wasi", "--venv", "/tmp"], "--venv"),
        (&["--executor", "local", "--mount", "/a:/a"], "--mount"),
        (&["--executor", "local", "--fuel", "5"], "--fuel"),
        (&["--executor", "docker", "--environment", "name"], "--environment"),
        (&["--executor", "local", "--image", "python"], "--image"),
    ] {
        if arguments.contains(&"--allow-host") {
            require_image();
        }
        let output =
            dir.run(&[&["exec", "-l", "python", "-c", "print('ran')"], arguments].concat());
        assert_eq!(
            (output.code, output.stdout.as_str()),
            (Some(126), ""),
            "{arguments:?}\n{output}"
        );
        assert!(
            output.stderr.contains(says) && output.stderr.contains("hint:"),
            "{arguments:?}\n{output}"
        );
    }
}

#[test]
fn a_missing_engine_says_what_to_do() {
    let dir = TestDir::new();
    let mut command =
        dir.command(&["exec", "--executor", "docker", "-l", "bash", "-c", "echo ran"]);
    let output = command.env("DOCKER_HOST", "unix:///nowhere/docker.sock").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(125), b"".as_slice()),
        "{stderr}"
    );
    assert!(stderr.contains("/nowhere/docker.sock") && stderr.contains("hint:"), "{stderr}");
}

#[test]
fn isolation_none_must_be_named() {
    let dir = TestDir::new();
    let output = dir.run(&[
        "exec",
        "--executor",
        "local",
        "--isolation",
        "none",
        "-l",
        "sh",
        "--json",
        "-c",
        "echo ran",
    ]);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(ran_in(&output, 0), ("local".into(), "none".into()));
    let output = dir.run(&["exec", "--executor", "local", "-l", "sh", "--json", "-c", "echo ran"]);
    assert_ne!(ran_in(&output, 0).1, "none");
}

#[test]
fn a_granted_host_is_reached_and_no_other() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let (port, closed) =
        (listener.local_addr().unwrap().port(), other.local_addr().unwrap().port());
    let greeter = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"hello from the host\n").unwrap();
    });
    let code = format!(
        "exec 3<>/dev/tcp/localhost/{port}; head -n 1 <&3; \
         (exec 4<>/dev/tcp/127.0.0.1/{closed}) 2>/dev/null || echo closed"
    );
    let host = format!("localhost:{port}");
    let dir = TestDir::new();
    let output =
        dir.run(&["exec", "--executor", "local", "-l", "bash", "--allow-host", &host, "-c", &code]);
    assert_eq!(
        (output.code, output.stdout.as_str()),
        (Some(0), "hello from the host\nclosed\n"),
        "{output}"
    );
    greeter.join().unwrap();
    assert!(other.accept().is_err());
}

#[test]
fn doctor_shows_each_executor() {
    let output = TestDir::new().run(&["doctor"]);
    for executor in ["wasi", "docker", "local"] {
        assert!(output.stdout.lines().any(|line| line == executor), "{output}");
    }
    assert!(output.stdout.contains("namespaces") && output.stdout.contains("landlock"), "{output}");
}
