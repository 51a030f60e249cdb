use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cellblock_exec::{
    Error, ExecutionRequest, Executor, HostFunction, HostRule, HostTools, Limits, Network, Outcome,
    SessionSpec,
};

use crate::{executor, output, run};

#[tokio::test]
async fn top_level_await_and_asyncio_work() {
    let mut session = executor().await.open(SessionSpec::default()).await.unwrap();
    assert_eq!(
        output(&mut session, "import asyncio\nawait asyncio.sleep(0.01)\nprint('slept')").await,
        "slept\n"
    );
    let gather = "async def twice(n):\n    await asyncio.sleep(0.01)\n    return 2 * n\n\
                  async def main():\n\
                  \x20   return await asyncio.gather(*[twice(n) for n in range(3)])\n\
                  asyncio.run(main())";
    assert_eq!(output(&mut session, gather).await, "[0, 2, 4]\n");
}

#[tokio::test]
async fn the_scientific_stack_works() {
    let mut session = executor().await.open(SessionSpec::default()).await.unwrap();
    let code = "import numpy as np, pandas as pd, scipy.optimize, sklearn.linear_model, sympy\n\
                frame = pd.DataFrame({'x': range(10)}).assign(y=lambda f: 2 * f.x + 1)\n\
                model = sklearn.linear_model.LinearRegression().fit(frame[['x']], frame.y)\n\
                root = scipy.optimize.brentq(lambda x: x * x - 2, 0, 2)\n\
                integral = sympy.integrate('2*x', sympy.Symbol('x'))\n\
                print(round(float(model.coef_[0]), 6), round(root, 6), integral)";
    assert_eq!(output(&mut session, code).await, "2.0 1.414214 x**2\n");
}

#[tokio::test]
async fn tracebacks_name_blocks_and_show_their_source() {
    let mut session = executor().await.open(SessionSpec::default()).await.unwrap();
    output(&mut session, "def divide():\n    return 1 / 0").await;
    let result = run(&mut session, "divide()").await;
    let stderr = result.stderr.text();
    assert!(
        stderr.contains("File \"<block 2>\", line 1")
            && stderr.contains("File \"<block 1>\", line 2"),
        "{stderr}"
    );
    assert!(stderr.contains("return 1 / 0"), "{stderr}");
    assert!(!stderr.contains("cellblock"), "frames of the driver are not the program's: {stderr}");
}

#[tokio::test]
async fn the_value_of_a_last_expression_is_shown() {
    let mut session = executor().await.open(SessionSpec::default()).await.unwrap();
    for (code, shown) in [
        ("x = 5", ""),
        ("x", "5\n"),
        ("x;", ""),
        ("x == 5", "True\n"),
        ("dict(\nx=7)", "{'x': 7}\n"),
        ("print('a')", "a\n"),
        ("print('a'), 1", "a\n(None, 1)\n"),
        ("print('(') or ')'", "(\n')'\n"),
        ("'''\nx = 1'''", "'\\nx = 1'\n"),
        ("[\n1,\n2]", "[1, 2]\n"),
        ("x += 1\nx", "6\n"),
        ("if x:\n    x", ""),
        ("# only a comment", ""),
        ("_", "6\n"),
        ("def print_(v): return v\nprint = print_\nprint(3)", "3\n"),
    ] {
        assert_eq!(output(&mut session, code).await, shown, "{code}");
    }
}

/// A session that sleeps holds no thread: a thousand of them sleep at once, on two threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sessions_sleep_at_once() {
    let executor = Arc::new(executor().await);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let executor = executor.clone();
        tasks.spawn(async move {
            let mut session = executor.open(SessionSpec::default()).await.unwrap();
            output(
                &mut session,
                &format!("import time; number = {number}; time.sleep(5); print(number)"),
            )
            .await
        });
    }
    let started = Instant::now();
    let mut printed: Vec<u32> =
        tasks.join_all().await.into_iter().map(|output| output.trim().parse().unwrap()).collect();
    printed.sort_unstable();
    assert_eq!(printed, (0..1000).collect::<Vec<_>>());
    // One after another they would take 5,000 seconds. The bound allows for a slow machine.
    assert!(started.elapsed() < Duration::from_secs(120), "{:?}", started.elapsed());
}

/// On one thread, a guest that computes lets other guests and the caller's own tasks run.
#[tokio::test(flavor = "current_thread")]
async fn a_busy_guest_shares_its_thread() {
    let executor = executor().await;
    let mut busy = executor.open(SessionSpec::default()).await.unwrap();
    let mut quick = executor.open(SessionSpec::default()).await.unwrap();
    let request = ExecutionRequest::python("while True: pass");
    let cancel = request.cancel.clone();
    let (result, ()) = tokio::join!(busy.execute(request), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(output(&mut quick, "print(6 * 7)").await, "42\n");
        cancel.cancel();
    });
    assert_eq!(result.unwrap().outcome, Outcome::Cancelled);
}

#[tokio::test]
async fn there_is_no_network_to_grant() {
    let network = Network::Allow(vec![HostRule { host: "localhost".into(), port: None }]);
    let refused = executor().await.open(SessionSpec { network, ..SessionSpec::default() }).await;
    assert!(matches!(refused, Err(Error::Unsupported(_))));
}

#[tokio::test]
async fn a_fork_has_everything_and_is_independent() {
    let executor = executor().await;
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    output(
        &mut session,
        "import pandas as pd, numpy as np\nframe = pd.DataFrame(np.ones((125_000, 100)))\n\
         file = open('log.txt', 'w+'); file.write('one'); file.flush()\n\
         counter = (n for n in range(10)); next(counter);",
    )
    .await;
    // The first fork freezes the written memory; the second one copies from the frozen state.
    for _ in 0..2 {
        let mut fork = session.fork().await.unwrap();
        let code = "file.write('two'); file.seek(0);\n\
                    print(file.read(), int(frame.sum().sum()), next(counter))";
        assert_eq!(output(&mut fork, code).await, "onetwo 12500000 1\n");
        output(&mut fork, "frame.iloc[:] = 0").await;
    }
    let code = "file.seek(0); print(file.read(), int(frame.sum().sum()), next(counter))";
    assert_eq!(output(&mut session, code).await, "one 12500000 1\n");
}

#[tokio::test]
async fn a_frozen_session_continues_in_another_executor() {
    let directory = tempfile::tempdir().unwrap();
    let frozen = directory.path().join("frozen");
    {
        let mut session = executor().await.open(SessionSpec::default()).await.unwrap();
        output(
            &mut session,
            "numbers = list(range(5)); file = open('a.txt', 'w+'); file.write('text')",
        )
        .await;
        session.freeze(&frozen).await.unwrap();
        output(&mut session, "numbers.clear()").await;
    }
    // Like another process, a second executor shares only the cache with the first one.
    let mut resumed = executor().await.resume(&frozen, Limits::default()).await.unwrap();
    let code = "file.seek(0); print(numbers, file.read(), open('a.txt').read())";
    assert_eq!(output(&mut resumed, code).await, "[0, 1, 2, 3, 4] text text\n");
}

#[tokio::test]
async fn a_damaged_frozen_session_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let frozen = directory.path().join("frozen");
    let executor = executor().await;
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    session.freeze(&frozen).await.unwrap();
    assert!(session.freeze(&frozen).await.is_err(), "an existing directory is not overwritten");
    std::fs::write(frozen.join("state.postcard"), b"nonsense").unwrap();
    assert!(matches!(
        executor.resume(&frozen, Limits::default()).await,
        Err(Error::Storage { .. })
    ));
    assert!(executor.resume(&directory.path().join("missing"), Limits::default()).await.is_err());
}

/// Offers `nap`, which takes this long.
#[derive(Debug)]
struct NapTools(Duration);

#[async_trait::async_trait]
impl HostTools for NapTools {
    fn functions(&self) -> Vec<HostFunction> {
        let parameters = serde_json::json!({"type": "object", "properties": {"number": {}}});
        vec![HostFunction { name: "nap".into(), description: "Sleeps.".into(), parameters }]
    }

    async fn call(
        &self,
        _name: &str,
        mut arguments: serde_json::Map<String, serde_json::Value>,
    ) -> Result<serde_json::Value, String> {
        tokio::time::sleep(self.0).await;
        arguments.remove("number").ok_or_else(|| "which number?".to_owned())
    }
}

/// Programs that wait for the host are suspended: on one thread, all of them wait at once.
#[tokio::test(flavor = "current_thread")]
async fn many_sessions_wait_for_the_host_at_once() {
    let executor = Arc::new(executor().await);
    let naps: Arc<dyn HostTools> = Arc::new(NapTools(Duration::from_secs(2)));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..100 {
        let (executor, naps) = (executor.clone(), naps.clone());
        tasks.spawn(async move {
            let mut session = executor.open(SessionSpec::default()).await.unwrap();
            let code = format!("from host import tools\nprint(tools.nap({number}))");
            let request = ExecutionRequest { host: Some(naps), ..ExecutionRequest::python(code) };
            let result = session.execute(request).await.unwrap();
            assert_eq!(result.stdout.text(), format!("{number}\n"), "{}", result.stderr.text());
        });
    }
    let started = Instant::now();
    tasks.join_all().await;
    // One after another they would take 200 seconds.
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

/// The grant of a block is not part of its session's state.
#[tokio::test]
async fn forks_and_frozen_sessions_have_no_grant() {
    let executor = executor().await;
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    let naps: Arc<dyn HostTools> = Arc::new(NapTools(Duration::ZERO));
    let granted = |code: &str| ExecutionRequest {
        host: Some(naps.clone()),
        ..ExecutionRequest::python(code)
    };
    let code = "from host import tools, ToolError\nnap = tools.nap\nprint(nap(1))";
    assert_eq!(session.execute(granted(code)).await.unwrap().stdout.text(), "1\n");
    let directory = tempfile::tempdir().unwrap();
    let frozen = directory.path().join("frozen");
    session.freeze(&frozen).await.unwrap();
    let fork = session.fork().await.unwrap();
    let resumed = executor.resume(&frozen, Limits::default()).await.unwrap();
    let denied =
        "try:\n    print(nap(2))\nexcept ToolError as error:\n    print('refused', len(tools))";
    for mut other in [fork, resumed, session] {
        assert_eq!(output(&mut other, denied).await, "refused 0\n");
        assert_eq!(other.execute(granted(denied)).await.unwrap().stdout.text(), "2\n");
    }
}
