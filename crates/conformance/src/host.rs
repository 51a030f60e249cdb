//! Functions of the host that a program may call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::steps::{assert_limited, assert_outcome, assert_sound, open, run, run_request, succeed};
use crate::traces::eventually;
use cellblock_exec::{
    ExecutionRequest, ExecutionResult, Executor, HostFunction, HostTools, Isolation, Limit,
    Outcome, Session,
};

/// The functions that the host offers in these cases. Calls are recorded.
#[derive(Debug, Default)]
struct Desk {
    offers: Vec<&'static str>,
    calls: Mutex<Vec<(String, Map<String, Value>)>>,
    /// The number of calls of `wait` that began, and of those that were dropped.
    waiting: AtomicUsize,
    dropped: AtomicUsize,
}

/// Creates a desk that offers these of its functions.
fn desk(offers: &[&'static str]) -> Arc<Desk> {
    Arc::new(Desk { offers: offers.to_vec(), ..Desk::default() })
}

impl Desk {
    fn calls(&self) -> Vec<(String, Map<String, Value>)> {
        self.calls.lock().clone()
    }

    /// Returns the names of the called functions.
    fn called(&self) -> Vec<String> {
        self.calls().into_iter().map(|(name, _)| name).collect()
    }
}

/// Counts its drop.
struct Guard<'d>(&'d AtomicUsize);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl HostTools for Desk {
    fn functions(&self) -> Vec<HostFunction> {
        let function = |name: &&str| {
            let parameters = match *name {
                "add" => json!({
                    "type": "object",
                    "properties": { "first": { "type": "number" }, "second": { "type": "number" } },
                    "required": ["second", "first"],
                }),
                "repeat" => json!({
                    "type": "object",
                    "properties": { "count": { "type": "integer", "default": 2 }, "value": {} },
                    "required": ["value"],
                }),
                "fail" => {
                    json!({ "type": "object", "properties": { "why": { "type": "string" } } })
                }
                _ => json!({ "type": "object" }),
            };
            HostFunction {
                name: (*name).to_owned(),
                description: format!("Does {name}."),
                parameters,
            }
        };
        self.offers.iter().map(function).collect()
    }

    async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<Value, String> {
        self.calls.lock().push((name.to_owned(), arguments.clone()));
        let number = |name: &str| {
            arguments.get(name).and_then(Value::as_f64).ok_or(format!("{name} is no number"))
        };
        match name {
            // Not the sum, which would hide swapped arguments.
            "add" => Ok(json!(10.0 * number("second")? + number("first")?)),
            "repeat" => {
                // It takes its time, as functions of hosts do.
                tokio::task::yield_now().await;
                let count = arguments.get("count").and_then(Value::as_u64).unwrap_or(2);
                let value = arguments.get("value").cloned().unwrap_or_default();
                Ok(Value::Array(vec![value; usize::try_from(count).unwrap_or(0)]))
            }
            "fail" => {
                Err(arguments.get("why").and_then(Value::as_str).unwrap_or_default().to_owned())
            }
            "wait" => {
                let _guard = Guard(&self.dropped);
                self.waiting.fetch_add(1, Ordering::SeqCst);
                std::future::pending().await
            }
            "any name" => Ok(json!({ "called": name })),
            _ => Ok(json!("secret")),
        }
    }
}

fn granted(desk: &Arc<Desk>, code: &str) -> ExecutionRequest {
    ExecutionRequest { host: Some(desk.clone()), ..ExecutionRequest::python(code) }
}

async fn run_granted(session: &mut dyn Session, desk: &Arc<Desk>, code: &str) -> ExecutionResult {
    run_request(session, granted(desk, code)).await
}

/// Runs code that may call the desk and must exit with 0. Returns its standard output.
async fn succeed_granted(session: &mut dyn Session, desk: &Arc<Desk>, code: &str) -> String {
    let result = run_granted(session, desk, code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    result.stdout.text()
}

/// Arguments are passed by position, required ones first, and by name. Results are JSON values.
pub async fn functions_are_called(executor: &dyn Executor) {
    let desk = desk(&["add", "repeat", "any name"]);
    let mut session = open(executor).await;
    let code = "from host import tools\n\
                print(tools.add(1, 2), tools.add(first=1, second=2), tools.add(1, first=2))\n\
                print(tools.repeat({'ключ': [1, None, True, 'ü\\n\\x00']}), tools.repeat(0.5, \
                count=0), tools.repeat('', 1))\n\
                print(tools['any name'](), dir(tools), list(tools), 'add' in tools, 'secret' in \
                tools)";
    assert_eq!(
        succeed_granted(session.as_mut(), &desk, code).await,
        "12.0 21.0 12.0\n\
         [{'ключ': [1, None, True, 'ü\\n\\x00']}, {'ключ': [1, None, True, 'ü\\n\\x00']}] [] ['']\n\
         {'called': 'any name'} ['add', 'repeat'] ['add', 'repeat', 'any name'] True False\n"
    );
    let calls = desk.calls();
    assert_eq!(calls.len(), 7);
    assert_eq!(Value::Object(calls[0].1.clone()), json!({ "second": 1, "first": 2 }));
    assert_eq!(
        Value::Object(calls[3].1.clone()),
        json!({ "value": { "ключ": [1, null, true, "ü\n\u{0}"] } })
    );
    let code = "import inspect\nprint(inspect.signature(tools.repeat))\nimport \
        pydoc\npydoc.help(tools.repeat)";
    let shown = succeed_granted(session.as_mut(), &desk, code).await;
    assert!(
        shown.starts_with("(value, count: int = 2)\n") && shown.contains("Does repeat."),
        "{shown}"
    );
    assert_eq!(desk.calls().len(), 7, "to look is not to call");
}

/// A failure is an exception, which a program can catch. Arguments that are no JSON are refused
/// before the host is asked.
pub async fn failures_are_raised(executor: &dyn Executor) {
    let desk = desk(&["add", "fail"]);
    let mut session = open(executor).await;
    let code = "from host import tools, ToolError\nkept = 1\n\
                try:\n    tools.fail('no sùch page')\nexcept ToolError as error:\n    \
                print(error)\n\
                try:\n    tools.add(object(), 1)\nexcept TypeError as error:\n    \
                print('TypeError')\n\
                try:\n    tools.add('1', 1)\nexcept ToolError as error:\n    print(error)\n\
                try:\n    tools.search\nexcept AttributeError as error:\n    print(error)";
    assert_eq!(
        succeed_granted(session.as_mut(), &desk, code).await,
        "no sùch page\nTypeError\nsecond is no number\nhost.tools has no function 'search'; there \
            are: add, fail\n"
    );
    let result =
        run_granted(session.as_mut(), &desk, "from host import tools\ntools.fail('gone')").await;
    assert_outcome(&result, &Outcome::Exited { code: 1 });
    let stderr = result.stderr.text();
    assert!(
        stderr.contains("line 2, in <module>") && stderr.ends_with("host.ToolError: gone\n"),
        "{stderr}"
    );
    assert_eq!(desk.called(), ["fail", "add", "fail"]);
    assert!(!result.state_lost);
}

/// A block can call the functions granted to it, and none that were granted to another block.
pub async fn nothing_is_granted_by_default(executor: &dyn Executor) {
    let (first, other) = (desk(&["add"]), desk(&["repeat"]));
    let mut session = open(executor).await;
    let denied = "from host import tools, ToolError\nprint(len(tools), tools)\n\
                  try:\n    tools.add(1, 2)\nexcept AttributeError as error:\n    print(error)";
    let none = "0 <host.tools: this block cannot call host functions>\n\
                host.tools has no function 'add': this block cannot call host functions\n";
    assert_eq!(succeed(session.as_mut(), denied).await, none);
    // The control: the same with a grant.
    let code = format!("{denied}\nprint(tools.add(1, 2))\nadd = tools.add");
    let shown = succeed_granted(session.as_mut(), &first, &code).await;
    assert!(shown.starts_with("1 <host.tools:\n  add(") && shown.ends_with("12.0\n"), "{shown}");
    assert_eq!(first.called(), ["add", "add"]);

    assert_eq!(succeed(session.as_mut(), denied).await, none);
    assert_eq!(
        succeed_granted(
            session.as_mut(),
            &other,
            "from host import tools\nprint(list(tools), tools.repeat(1))"
        )
        .await,
        "['repeat'] [1, 1]\n"
    );
    if executor.capabilities().state {
        // A function kept from an earlier block calls only what this block may call.
        let kept = "try:\n    print(add(1, 2))\nexcept ToolError as error:\n    print('refused')";
        assert_eq!(succeed(session.as_mut(), kept).await, "refused\n");
        assert_eq!(succeed_granted(session.as_mut(), &other, kept).await, "refused\n");
        assert_eq!(succeed_granted(session.as_mut(), &first, kept).await, "12.0\n");
    }
    assert_eq!(
        (first.called().len(), other.called().len()),
        (if executor.capabilities().state { 3 } else { 2 }, 1)
    );
}

/// Calls do not change variables, files and input; blocks with and without functions alternate.
pub async fn state_stays(executor: &dyn Executor) {
    let desk = desk(&["repeat", "fail"]);
    let mut session = open(executor).await;
    let code = "from host import tools\nfirst = input()\nx = tools.repeat(first)\nsecond = \
        input()\n\
                open('answer.txt', 'w').write(x[0] + second)\nNone";
    let request =
        ExecutionRequest { stdin: Arc::new(b"one\ntwo\n".to_vec()), ..granted(&desk, code) };
    let result = run_request(session.as_mut(), request).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(result.artifacts.len(), 1, "{result:?}");
    assert_eq!(*result.artifacts[0].content, b"onetwo");
    assert_outcome(
        &run_granted(session.as_mut(), &desk, "tools.fail('no')").await,
        &Outcome::Exited { code: 1 },
    );
    assert_eq!(succeed(session.as_mut(), "print(open('answer.txt').read())").await, "onetwo\n");
    if executor.capabilities().state {
        assert_eq!(succeed(session.as_mut(), "print(x, second)").await, "['one', 'one'] two\n");
        assert_eq!(
            succeed_granted(session.as_mut(), &desk, "print(tools.repeat(x, 1))").await,
            "[['one', 'one']]\n"
        );
    }
}

/// The time of a call counts. At the deadline the call is dropped, too, and the session continues.
pub async fn a_long_call_is_stopped(executor: &dyn Executor) {
    let desk = desk(&["wait", "add"]);
    let mut session = open(executor).await;
    let code = "from host import tools\nprint('before', flush=True)\ntry:\n    \
        tools.wait()\nfinally:\n    print('after')";
    let request = ExecutionRequest { wall: Some(Duration::from_secs(2)), ..granted(&desk, code) };
    let result = run_request(session.as_mut(), request).await;
    assert_limited(&result, Limit::Wall);
    assert_eq!(result.stdout.text(), "before\n");
    assert_eq!(desk.waiting.load(Ordering::SeqCst), 1, "it was called");
    eventually("the call was dropped", || desk.dropped.load(Ordering::SeqCst) == 1).await;
    let next = "from host import tools\nprint(tools.add(1, 2))";
    assert_eq!(succeed_granted(session.as_mut(), &desk, next).await, "12.0\n");
}

/// A token, and a dropped future, end a call at once.
pub async fn a_call_can_be_cancelled(executor: &dyn Executor) {
    let desk = desk(&["wait", "add"]);
    let code = "from host import tools\nprint('before', flush=True)\ntools.wait()";
    let called = |times: usize| {
        let desk = desk.clone();
        async move {
            while desk.waiting.load(Ordering::SeqCst) < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let mut session = open(executor).await;
    let cancel = CancellationToken::new();
    let request = ExecutionRequest { cancel: cancel.clone(), ..granted(&desk, code) };
    let (result, ()) = tokio::join!(run_request(session.as_mut(), request), async {
        called(1).await;
        cancel.cancel();
    });
    assert_outcome(&result, &Outcome::Cancelled);
    assert_eq!(result.stdout.text(), "before\n");
    eventually("the call was dropped", || desk.dropped.load(Ordering::SeqCst) == 1).await;

    tokio::select! {
        result = session.execute(granted(&desk, code)) => panic!("it ended by itself: {result:?}"),
        () = called(2) => {}
    }
    eventually("the call was dropped", || desk.dropped.load(Ordering::SeqCst) == 2).await;
    let next = "from host import tools\nprint(tools.add(1, 2))";
    assert_eq!(succeed_granted(session.as_mut(), &desk, next).await, "12.0\n");
    drop(session);
    assert_sound(executor).await;
}

/// Arguments and results can have at most 8 MiB each; a longer one is an exception.
pub async fn calls_have_a_maximum_length(executor: &dyn Executor) {
    let desk = desk(&["repeat"]);
    let mut session = open(executor).await;
    let code = "from host import tools, ToolError\n\
                longest = (8 << 20) - 100\n\
                print(tools.repeat(longest * 'x', 1) == [longest * 'x'])\n\
                for value, count in ((200 + longest) * 'x', 1), (longest // 2 * 'x', 4):\n\
                \x20   try:\n        print(len(tools.repeat(value, count)))\n\
                \x20   except ToolError as error:\n        print('longer than 8388608 bytes' in \
                str(error))\n\
                print(tools.repeat(1))";
    assert_eq!(succeed_granted(session.as_mut(), &desk, code).await, "True\nTrue\nTrue\n[1, 1]\n");
    assert_eq!(desk.calls().len(), 3, "what is too long is not called");
}

/// A thousand calls in one block return the right values.
pub async fn a_thousand_calls(executor: &dyn Executor) {
    let desk = desk(&["repeat"]);
    let mut session = open(executor).await;
    let code = "from host import tools\n\
                print(sum(tools.repeat(number, 3) == [number] * 3 for number in range(1000)))";
    assert_eq!(succeed_granted(session.as_mut(), &desk, code).await, "1000\n");
    let values: Vec<_> =
        desk.calls().into_iter().map(|(_, arguments)| arguments["value"].as_u64()).collect();
    assert_eq!(values, (0..1000).map(Some).collect::<Vec<_>>());
}

/// Threads call at the same time, and each gets its own answers. A thread that outlives its block
/// can no longer call.
pub async fn threads_may_call(executor: &dyn Executor) {
    let desk = desk(&["repeat", "wait"]);
    let mut session = open(executor).await;
    let code = "import threading\nfrom host import tools, ToolError\nright = []\n\
                def work(thread):\n    right.extend(tools.repeat([thread, n], 1) == [[thread, n]] \
                for n in range(25))\n\
                threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]\n\
                for thread in threads: thread.start()\n\
                for thread in threads: thread.join()\n\
                print(len(right), all(right))";
    let result = run_granted(session.as_mut(), &desk, code).await;
    if executor.capabilities().isolation == Isolation::Wasm && !result.outcome.is_success() {
        assert!(
            result.stderr.text().contains("can't start new thread"),
            "{}",
            result.stderr.text()
        );
        return;
    }
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(result.stdout.text(), "100 True\n");
    assert_eq!(desk.calls().len(), 100);

    let code = "import threading, time\nfrom host import tools, ToolError\nsaid = []\n\
                def work():\n    try:\n        tools.wait()\n    except ToolError as \
                error:\n        said.append(str(error))\n\
                \x20   time.sleep(0.2)\n    try:\n        tools.repeat(1)\n    except ToolError \
                as error:\n        said.append(str(error))\n\
                thread = threading.Thread(target=work)\nthread.start()\ntime.sleep(0.5)";
    succeed_granted(session.as_mut(), &desk, code).await;
    eventually("the call was dropped", || desk.dropped.load(Ordering::SeqCst) == 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    if executor.capabilities().state {
        let said = succeed(session.as_mut(), "thread.join()\nprint(said)").await;
        assert!(
            said.contains("the block has ended") && said.contains("no Python block is running"),
            "{said}"
        );
    }
    assert_eq!(desk.calls().len(), 101);
}

/// Processes that a block starts cannot call the host; the block itself still can.
pub async fn other_processes_may_not_call(executor: &dyn Executor) {
    let desk = desk(&["add"]);
    let mut session = open(executor).await;
    let code = "import os, sys\nfrom host import tools, ToolError\ntools.add(1, 2)\n\
                if hasattr(os, 'fork'):\n    child = os.fork()\n    if child == 0:\n\
                \x20       try:\n            tools.add(3, 4)\n        except \
                ToolError:\n            os._exit(7)\n        os._exit(0)\n\
                \x20   print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\nelse:\n    \
                print(7)\n\
                print(tools.add(5, 6))";
    assert_eq!(succeed_granted(session.as_mut(), &desk, code).await, "7\n56.0\n");
    assert_eq!(desk.calls().len(), 2);
}

/// Each session calls its own functions, also while others do.
pub async fn sessions_do_not_mix(executor: &dyn Executor) {
    let mut running = tokio::task::JoinSet::new();
    let desks: Vec<_> = (0..4).map(|_| desk(&["repeat"])).collect();
    for (number, desk) in desks.iter().cloned().enumerate() {
        let mut session = open(executor).await;
        running.spawn(async move {
            let code = format!(
                "from host import tools\nprint(sum(tools.repeat([{number}, n]) == [[{number}, n]] \
                    * 2 for n in range(50)))"
            );
            assert_eq!(succeed_granted(session.as_mut(), &desk, &code).await, "50\n");
        });
    }
    while let Some(ended) = running.join_next().await {
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    for (number, desk) in desks.iter().enumerate() {
        let calls = desk.calls();
        assert!(
            calls.len() == 50
                && calls.iter().all(|(_, arguments)| arguments["value"][0] == json!(number))
        );
    }
}

/// A program that sends its own questions instead of using `host.py` reaches only what is offered,
/// and harms only itself.
pub async fn forged_calls_reach_nothing(executor: &dyn Executor) {
    let desk = desk(&["add"]);
    let mut session = open(executor).await;
    let code = "import sys\nfrom host import tools, ToolError\nadd = tools.add\n\
                def refused(call, *arguments):\n    try:\n        call(*arguments)\n        \
                return False\n    except ToolError:\n        return True\n\
                add.__name__ = 'secret'\nprint(refused(add, 1, 2))\nadd.__name__ = 'add'\n\
                ask = getattr(sys.modules.get('_cellblock'), '_ask', None)\n\
                if ask is not None:\n\
                \x20   for question in b'', b'c', b'l' * 99, b'\\0' * 9999, b'c[\"secret\",{}]', \
                b'c[\"add\",[1,2]]', b'c' + b'[' * 99999, b'x' * (9 << 20):\n\
                \x20       answer = ask(question) if len(question) <= 8 << 20 else b'e'\n\
                \x20       if answer[:1] not in b'ev' or b'secret' == answer[1:]: \
                print(question[:9], answer[:99])\n\
                print(add(1, 2))";
    assert_eq!(succeed_granted(session.as_mut(), &desk, code).await, "True\n12.0\n");
    // The control: the same question with an offered name is answered.
    assert_eq!(desk.called(), ["add"]);
    assert!(desk.call("secret", Map::new()).await.is_ok());
    // The next session is not affected.
    run_granted(session.as_mut(), &desk, "import sys\nsys.modules['host'] = None\nimport host")
        .await;
    drop(session);
    let mut next = open(executor).await;
    let code = "from host import tools\nprint(tools.add(1, 2))";
    assert_eq!(succeed_granted(next.as_mut(), &desk, code).await, "12.0\n");
    let result = run(next.as_mut(), "from host import tools\ntools.add(1, 2)").await;
    assert_outcome(&result, &Outcome::Exited { code: 1 });
}
