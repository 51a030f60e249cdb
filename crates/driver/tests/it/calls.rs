//! Calls of functions of the host through the driver: events meanwhile, and errors of a worker.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use cellblock_exec::{
    ExecutionRequest, ExecutionResult, Executor, HostFunction, HostTools, Language, Limit, Outcome,
    Session, Stream,
};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use crate::{bare::Bare, sessions::unlimited};

/// Offers `echo`, and `wait`, which ends when the test says so.
#[derive(Debug, Default)]
struct Tools {
    release: Notify,
    waiting: AtomicUsize,
    called: AtomicUsize,
}

#[async_trait]
impl HostTools for Tools {
    fn functions(&self) -> Vec<HostFunction> {
        let parameters = json!({"type": "object", "properties": {"value": {}}});
        ["echo", "wait"]
            .map(|name| HostFunction {
                name: name.into(),
                description: String::new(),
                parameters: parameters.clone(),
            })
            .to_vec()
    }

    async fn call(&self, name: &str, mut arguments: Map<String, Value>) -> Result<Value, String> {
        self.called.fetch_add(1, Ordering::SeqCst);
        if name == "wait" {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            self.release.notified().await;
        }
        Ok(arguments.remove("value").unwrap_or_default())
    }
}

/// The beginning of programs below: `raw` is the worker's own end of the line.
const BEGIN: &str = "import os, sys, time\nfrom host import tools, ToolError\n\
                     own = sys.modules['_cellblock']\nraw = own._line\n\
                     def length(n): return n.to_bytes(4, 'little')\n\
                     def refused():\n    try:\n        return tools.echo(1)\n    \
                     except ToolError as error:\n        return str(error)\n";

async fn run(
    session: &mut Box<dyn Session>,
    tools: &Arc<Tools>,
    code: &str,
    wall: u64,
) -> ExecutionResult {
    let code = format!("{BEGIN}{code}");
    let wall = Some(Duration::from_secs(wall));
    session
        .execute(ExecutionRequest {
            host: Some(tools.clone()),
            wall,
            ..ExecutionRequest::python(code)
        })
        .await
        .unwrap()
}

async fn open() -> Box<dyn Session> {
    Bare.open(unlimited()).await.unwrap()
}

#[tokio::test]
async fn output_continues_while_a_call_is_pending() {
    let tools = Arc::new(Tools::default());
    let mut session = open().await;
    let said = Arc::new(Mutex::new(String::new()));
    let sink = {
        let (said, tools) = (said.clone(), tools.clone());
        Arc::new(move |_: Stream, bytes: &[u8]| {
            let mut said = said.lock().unwrap();
            said.push_str(std::str::from_utf8(bytes).unwrap());
            // The call ends only once this has arrived.
            if said.ends_with("now\n") {
                tools.release.notify_one();
            }
        })
    };
    let code = "import threading, time\nfrom host import tools\n\
                def say():\n    while not done:\n        time.sleep(0.1)\n        \
                print('x' * 200_000)\n        print('now')\n\
                done = []\nthread = threading.Thread(target=say)\nthread.start()\n\
                value = tools.wait(5)\ndone.append(1)\nthread.join()\nprint(value)";
    let request = ExecutionRequest {
        host: Some(tools.clone()),
        sink: Some(sink),
        ..ExecutionRequest::python(code)
    };
    let result = session.execute(request).await.unwrap();
    assert_eq!(result.outcome, Outcome::Exited { code: 0 }, "{}", result.stderr.text());
    assert!(result.stdout.text().ends_with("now\n5\n"));
}

#[tokio::test]
async fn a_worker_that_breaks_its_line_has_none() {
    let tools = Arc::new(Tools::default());
    for code in [
        // A message longer than any, and the end of the line.
        "os.write(raw.questions, b'\\xff' * 8 + b'x' * 1000)",
        "os.write(raw.questions, own._QUESTION + length(8 << 20)); os.close(raw.questions)",
        // A message of another kind, one without its fields, and one whose fields do not fit.
        "os.write(raw.questions, own._ENDED + bytes(4))",
        "os.write(raw.questions, own._QUESTION + bytes(4))",
        "os.write(raw.questions, own._QUESTION + length(4) + b'\\xff' * 4)",
        "os.close(raw.answers)",
    ] {
        let mut session = open().await;
        let result = run(&mut session, &tools, "print(tools.echo(2))\nkept = 3", 20).await;
        assert_eq!(result.stdout.text(), "2\n");
        let result =
            run(&mut session, &tools, &format!("{code}\ntime.sleep(0.2)\nprint(refused())"), 20)
                .await;
        assert_eq!(
            result.stdout.text(),
            "the connection to the host is broken\n",
            "{code}: {}",
            result.stderr.text()
        );
        // Everything else still works, and a fresh worker has a line.
        let result = run(&mut session, &tools, "print(kept, refused())", 20).await;
        assert_eq!(result.stdout.text(), "3 the connection to the host is broken\n");
        assert!(!result.state_lost);
        run(&mut session, &tools, "os._exit(1)", 20).await;
        assert_eq!(run(&mut session, &tools, "print(refused())", 20).await.stdout.text(), "1\n");
    }
}

#[tokio::test]
async fn half_questions_and_floods_of_them_block_nobody_else() {
    let tools = Arc::new(Tools::default());
    let question = "own._encode(own._QUESTION, b'abcd', b'c[\"echo\",{}]')";
    for code in [
        // The next question is read as the rest of this one.
        "os.write(raw.questions, own._QUESTION + length(8 << 20))\nrefused()".to_owned(),
        format!("while True: os.write(raw.questions, {question})"),
        format!("data = 1000 * ({question})\nwhile True: os.write(raw.questions, data)"),
    ] {
        let mut session = open().await;
        let start = Instant::now();
        let result =
            run(&mut session, &tools, &format!("print('begun', flush=True)\n{code}"), 2).await;
        assert_eq!(
            result.outcome,
            Outcome::LimitExceeded { limit: Limit::Wall },
            "{code}: {}",
            result.stderr.text()
        );
        assert_eq!(result.stdout.text(), "begun\n");
        assert!(start.elapsed() < Duration::from_secs(20), "{code}: {:?}", start.elapsed());
        let result = run(&mut session, &tools, "print(refused())", 20).await;
        assert_eq!(result.stdout.text(), "1\n");
    }
}

/// A signal handler that interrupts a call gives it up. The next call gets its own answer and not
/// the late one.
#[tokio::test]
async fn an_interrupted_call_is_given_up() {
    let tools = Arc::new(Tools::default());
    let mut session = open().await;
    let code = "import signal\ndef late(*_):\n    try:\n        tools.echo(0)\n    \
                except ToolError as error:\n        print(error)\n    \
                raise TimeoutError\nsignal.signal(signal.SIGALRM, late)\n\
                for n in range(3):\n    signal.setitimer(signal.ITIMER_REAL, 0.3)\n    \
                try:\n        tools.wait(n)\n    except TimeoutError:\n        \
                print(tools.echo(10 + n))";
    let result = run(&mut session, &tools, code, 30).await;
    let expected = (10..13).map(|n| {
        format!("a host function cannot be called while this thread waits for another one\n{n}\n")
    });
    assert_eq!(result.stdout.text(), expected.collect::<String>(), "{}", result.stderr.text());
    assert_eq!((tools.waiting.load(Ordering::SeqCst), tools.called.load(Ordering::SeqCst)), (3, 6));
}

/// A program in another language has no functions, and neither does a Python that it starts.
#[tokio::test]
async fn only_python_blocks_have_functions() {
    let tools = Arc::new(Tools::default());
    let mut session = open().await;
    let code = "python3 -c 'import host' 2>&1 | tail -n 1";
    let language = Language::BASH;
    let request =
        ExecutionRequest { language, host: Some(tools.clone()), ..ExecutionRequest::python(code) };
    let result = session.execute(request).await.unwrap();
    assert_eq!(result.stdout.text(), "ModuleNotFoundError: No module named 'host'\n");
    // The control.
    assert_eq!(run(&mut session, &tools, "print(tools.echo(4))", 20).await.stdout.text(), "4\n");
}
