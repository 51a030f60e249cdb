//! Cases 10 to 22: an agent that runs code in the local executor, at the level that works here.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use cellblock_agents::{Agent, Chat, ChatResult, CodeExecution, Error, HumanInputMode};
use cellblock_exec::{Limits, SessionSpec};
use cellblock_local::{LocalExecutor, Options};

use crate::cast::{last, recites, says};

async fn runner_with(options: Options, session: SessionSpec) -> Agent {
    let executor = Arc::new(LocalExecutor::start(options).await.unwrap());
    let code = Some(CodeExecution { session, ..CodeExecution::new(executor) });
    Agent { code, human_input: HumanInputMode::Never, ..Agent::new("user") }
}

async fn runner() -> Agent {
    runner_with(Options::default(), SessionSpec::default()).await
}

/// Returns the answer of the agent that runs a message's code.
async fn answer_of(runner: Agent, message: &str) -> ChatResult {
    let chat = Chat { max_turns: Some(1), ..Chat::between(says("assistant", ""), runner) };
    let result = chat.run(message).await.unwrap();
    assert_eq!(result.history.len(), 2, "{}", result.stop);
    result
}

async fn answer(message: &str) -> String {
    last(&answer_of(runner().await, message).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn case_10_python_by_any_of_its_names() {
    for tag in ["python", "Python", "py"] {
        let answer = answer(&format!("```{tag}\nprint('hello world')\n```")).await;
        assert_eq!(
            answer, "exitcode: 0 (execution succeeded)\nCode output: hello world\n",
            "{tag}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_11_the_output_of_two_blocks() {
    let answer =
        answer("```python\nprint('first one')\n```\nand\n```sh\necho second one\n```").await;
    assert!(answer.starts_with("exitcode: 0 (execution succeeded)\nCode output: "), "{answer}");
    assert!(answer.contains("first one\n") && answer.contains("second one\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_12_an_exit_code_stops_the_message() {
    let result = answer_of(
        runner().await,
        "```python\nimport sys\nsys.exit(3)\n```\n```python\nopen('ran.txt', 'w').close()\n```",
    )
    .await;
    let answer = last(&result);
    assert!(answer.starts_with("exitcode: 3 (execution failed)\nCode output: "), "{answer}");
    assert!(answer.contains("[block 1, python: not run]"), "{answer}");
    assert!(result.history[1].artifacts.is_empty());
    // Control: without the exit, the second block creates its file.
    let control = answer_of(
        runner().await,
        "```python\n3\n```\n```python\nopen('ran.txt', 'w').close()\n```",
    )
    .await;
    assert_eq!(control.history[1].artifacts[0].path, "ran.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_13_a_block_with_a_file_name_is_saved() {
    let code = "# filename: test.py\nprint(open('test.py').readline(), end='')";
    let result = answer_of(runner().await, &format!("```python\n{code}\n```")).await;
    assert_eq!(
        last(&result),
        "exitcode: 0 (execution succeeded)\nCode output: # filename: test.py\n"
    );
    let saved = &result.history[1].artifacts[0];
    assert_eq!(
        (saved.path.as_str(), saved.content.as_slice()),
        ("test.py", format!("{code}\n").as_bytes())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn case_14_markup_is_saved_under_its_name() {
    let message = "```css\n/* filename: my.css */\nbody { margin: 0 }\n```\n\
                   ```html\n<!-- filename: page.html -->\n<p>hi</p>\n```\n\
                   ```python\nprint(open('my.css').read() + open('page.html').read())\n```";
    let result = answer_of(runner().await, message).await;
    let answer = last(&result);
    assert!(answer.starts_with("exitcode: 0"), "{answer}");
    assert!(answer.contains("body { margin: 0 }") && answer.contains("<p>hi</p>"), "{answer}");
    assert!(
        answer.contains("it was saved as my.css") && answer.contains("it was saved as page.html"),
        "{answer}"
    );
    let saved: Vec<_> =
        result.history[1].artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
    assert_eq!(saved, ["my.css", "page.html"]);
}

/// AutoGen saves JavaScript and does not run it; here it runs with Node, and the answer says so if
/// there is none.
#[tokio::test(flavor = "multi_thread")]
async fn case_14_javascript_runs_where_it_can() {
    let runner = runner().await;
    let languages = &runner.code.as_ref().unwrap().executor.capabilities().languages;
    let can = languages.contains(&cellblock_exec::Language::JAVASCRIPT);
    let answer =
        last(&answer_of(runner, "```js\n// filename: my.js\nconsole.log(6 * 7)\n```").await);
    match can {
        true => assert_eq!(answer, "exitcode: 0 (execution succeeded)\nCode output: 42\n"),
        false => {
            assert!(answer.starts_with("exitcode: 1") && answer.contains("javascript"), "{answer}")
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_15_a_timeout_is_124() {
    let limits = Limits { wall: Duration::from_secs(1), ..Limits::default() };
    let runner =
        runner_with(Options::default(), SessionSpec { limits, ..SessionSpec::default() }).await;
    let message = "```python\nimport time\nprint('before', flush=True)\ntime.sleep(10)\n```";
    let answer = last(&answer_of(runner, message).await);
    assert!(
        answer.starts_with("exitcode: 124 (execution failed)\nCode output: before\nTimeout\n"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn case_16_a_file_name_outside_is_refused() {
    let message = "```python\n# filename: /tmp/cellblock-case-16.py\nprint('ran')\n```";
    let answer = answer(message).await;
    assert!(answer.starts_with("exitcode: 1 (execution failed)"), "{answer}");
    assert!(
        answer.contains("/tmp/cellblock-case-16.py") && answer.contains("absolute"),
        "{answer}"
    );
    assert!(!answer.contains("ran\n"), "{answer}");
    assert!(!Path::new("/tmp/cellblock-case-16.py").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn case_17_an_unknown_language_is_named() {
    let answer = answer("```cobol\nDISPLAY 'HI'.\n```").await;
    assert!(
        answer.starts_with("exitcode: 1 (execution failed)") && answer.contains("cobol"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn case_18_a_timeout_of_zero_is_an_error_before_anything_is_said() {
    let limits = Limits { wall: Duration::ZERO, ..Limits::default() };
    let runner =
        runner_with(Options::default(), SessionSpec { limits, ..SessionSpec::default() }).await;
    let error = Chat::between(says("assistant", ""), runner).run("hi").await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)) && error.to_string().contains("wall"), "{error}");
}

/// The packages of the environment can be imported. AutoGen asserts that by `sys.prefix`; here the
/// interpreter is the environment's base, with the environment's packages before it.
#[tokio::test(flavor = "multi_thread")]
async fn case_19_a_virtual_environment() {
    let directory = tempfile::tempdir().unwrap();
    // Programs may run as another user, who must be able to read it.
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let venv = directory.path().join("venv");
    let made =
        Command::new("/usr/bin/python3").args(["-m", "venv", "--without-pip"]).arg(&venv).output();
    if !made.is_ok_and(|made| made.status.success()) {
        // Debian without python3-venv: the layout of PEP 405 by hand.
        let _ = std::fs::remove_dir_all(&venv);
        std::fs::create_dir_all(venv.join("bin")).unwrap();
        std::fs::create_dir_all(venv.join("lib/python3.11/site-packages")).unwrap();
        std::fs::write(
            venv.join("pyvenv.cfg"),
            "home = /usr/bin\ninclude-system-site-packages = false\n",
        )
        .unwrap();
        std::os::unix::fs::symlink("/usr/bin/python3", venv.join("bin/python3")).unwrap();
    }
    let library = std::fs::read_dir(venv.join("lib")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(library.join("site-packages/only_in_the_environment.py"), "value = 42\n")
        .unwrap();
    let message =
        "```python\nimport only_in_the_environment\nprint(only_in_the_environment.value)\n```";
    let options = Options { venv: Some(venv), ..Options::default() };
    let inside =
        last(&answer_of(runner_with(options, SessionSpec::default()).await, message).await);
    assert_eq!(inside, "exitcode: 0 (execution succeeded)\nCode output: 42\n");
    let outside = answer(message).await;
    assert!(
        outside.starts_with("exitcode: 1") && outside.contains("ModuleNotFoundError"),
        "{outside}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn case_20_files_stay_between_blocks_and_messages() {
    let first =
        "```python\nopen('kept.txt', 'w').write('still here')\n```\n```sh\ncat kept.txt\n```";
    let assistant = recites("assistant", ["```python\nprint(open('kept.txt').read())\n```"]);
    let chat = Chat { max_turns: Some(2), ..Chat::between(assistant, runner().await) };
    let result = chat.run(first).await.unwrap();
    assert!(result.history[1].text().contains("still here"), "{}", result.history[1].text());
    assert_eq!(last(&result), "exitcode: 0 (execution succeeded)\nCode output: still here\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_21_nobody_is_at_standard_input() {
    let answer = answer("```python\ninput('name? ')\n```").await;
    assert!(
        answer.starts_with("exitcode: 1 (execution failed)") && answer.contains("EOFError"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn case_22_variables_stay_and_a_timeout_says_what_is_lost() {
    let limits = Limits { wall: Duration::from_secs(3), ..Limits::default() };
    let runner =
        runner_with(Options::default(), SessionSpec { limits, ..SessionSpec::default() }).await;
    let assistant = recites(
        "assistant",
        [
            "```python\nprint(x)\n```",
            "```python\nopen('f.txt', 'w').write('kept')\nwhile True: pass\n```",
            "```python\nprint(open('f.txt').read(), 'x' in globals())\n```",
        ],
    );
    let chat = Chat { max_turns: Some(4), ..Chat::between(assistant, runner) };
    let result = chat.run("```python\nx = 123 + 123\n```").await.unwrap();
    let said = crate::cast::texts(&result);
    assert_eq!(said[3], "exitcode: 0 (execution succeeded)\nCode output: 246\n");
    assert!(said[5].starts_with("exitcode: 124"), "{}", said[5]);
    assert!(
        said[5].contains("variables and imports of earlier blocks are lost; files are kept"),
        "{}",
        said[5]
    );
    assert_eq!(said[7], "exitcode: 0 (execution succeeded)\nCode output: kept False\n");
}
