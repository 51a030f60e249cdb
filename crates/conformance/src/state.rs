//! State that blocks of one session share, and sessions do not.

use std::collections::BTreeMap;

use crate::steps::{
    artifact_paths, assert_outcome, limits, open, open_spec, run, run_fresh, run_request, succeed,
};
use cellblock_exec::{ExecutionRequest, Executor, Outcome, SessionSpec};

/// Where state is claimed, variables, functions and imports stay from block to block; elsewhere
/// none of them does.
pub async fn state_across_blocks(executor: &dyn Executor) {
    let mut session = open(executor).await;
    succeed(session.as_mut(), "import math\nx = 41\ndef next_of(n):\n    return n + 1\n").await;
    let result = run(session.as_mut(), "print(next_of(x), math.floor(2.5))").await;
    if executor.capabilities().state {
        assert_outcome(&result, &Outcome::Exited { code: 0 });
        assert_eq!(result.stdout.text(), "42 2\n");
        assert!(!result.state_lost);
    } else {
        assert_outcome(&result, &Outcome::Exited { code: 1 });
        assert!(result.stderr.text().contains("NameError"), "{}", result.stderr.text());
    }
}

/// A failing block does not change the state of earlier blocks.
pub async fn an_exception_keeps_state(executor: &dyn Executor) {
    let mut session = open(executor).await;
    succeed(session.as_mut(), "kept = 'kept'\nopen('kept.txt', 'w').write(kept)\nNone").await;
    let failed = run(session.as_mut(), "raise ValueError('no')").await;
    assert_outcome(&failed, &Outcome::Exited { code: 1 });
    assert_eq!(succeed(session.as_mut(), "print(open('kept.txt').read())").await, "kept\n");
    if executor.capabilities().state {
        assert!(!failed.state_lost);
        assert_eq!(succeed(session.as_mut(), "print(kept)").await, "kept\n");
    }
}

/// Where state is claimed, a final expression is echoed as a notebook does, and `None` is not.
pub async fn last_expression_is_echoed(executor: &dyn Executor) {
    let mut session = open(executor).await;
    let echoed = succeed(session.as_mut(), "x = 20\nx + 1").await;
    assert_eq!(echoed, if executor.capabilities().state { "21\n" } else { "" });
    assert_eq!(succeed(session.as_mut(), "None").await, "");
    assert_eq!(succeed(session.as_mut(), "y = 5").await, "");
}

/// The name of a block is in its tracebacks, and its code is saved in the workspace under this
/// name, with its directories.
pub async fn file_names(executor: &dyn Executor) {
    let mut session = open(executor).await;
    let code = "# the first line\ndef fail():\n    raise ValueError('x')\nfail()\n";
    let request = ExecutionRequest {
        filename: Some("src/deep/analysis.py".into()),
        ..ExecutionRequest::python(code)
    };
    let result = run_request(session.as_mut(), request).await;
    assert_outcome(&result, &Outcome::Exited { code: 1 });
    let traceback = result.stderr.text();
    assert!(
        traceback.contains("src/deep/analysis.py") && traceback.contains("line 3"),
        "{traceback}"
    );
    assert_eq!(
        succeed(session.as_mut(), "print(open('src/deep/analysis.py').read(), end='')").await,
        code
    );
}

/// Two sessions share no variable, no file and no environment.
pub async fn sessions_are_isolated(executor: &dyn Executor) {
    let mut first = open(executor).await;
    let mut second = open(executor).await;
    let code = "import os, tempfile\nsecret = 1\nos.environ['SECRET'] = 'x'\nopen('secret.txt', \
        'w').close()\n\
                open(os.path.join(tempfile.gettempdir(), 'secret.txt'), 'w').close()";
    let made = run(first.as_mut(), code).await;
    assert_outcome(&made, &Outcome::Exited { code: 0 });
    assert!(artifact_paths(&made).contains(&"secret.txt"), "{made:?}");
    let code = "import os, tempfile\nprint('secret' in globals(), 'SECRET' in os.environ, \
        os.path.exists('secret.txt'), \
                os.path.exists(os.path.join(tempfile.gettempdir(), 'secret.txt')))";
    assert_eq!(succeed(second.as_mut(), code).await, "False False False False\n");
    let mut third = open(executor).await;
    assert_eq!(succeed(third.as_mut(), code).await, "False False False False\n");
}

/// Random numbers of two fresh sessions differ, from every common source.
pub async fn randomness_differs(executor: &dyn Executor) {
    let code = "import os, random, secrets, uuid\n\
                print(random.random()); print(secrets.token_hex(16)); print(uuid.uuid4()); \
                print(os.urandom(16).hex())\n\
                try:\n    import numpy\nexcept ImportError:\n    pass\nelse:\n    \
                print(numpy.random.rand()); print(numpy.random.default_rng().random())\n";
    let first = run_fresh(executor, code).await;
    let second = run_fresh(executor, code).await;
    assert_outcome(&first, &Outcome::Exited { code: 0 });
    assert_outcome(&second, &Outcome::Exited { code: 0 });
    let (first, second) = (first.stdout.text(), second.stdout.text());
    assert!(first.lines().count() >= 4);
    for (one, other) in first.lines().zip(second.lines()) {
        assert_ne!(one, other, "\n{first}\n{second}");
    }
}

/// A seed set by the program gives the same numbers everywhere: reseeding must not undo it.
pub async fn a_seed_is_kept(executor: &dyn Executor) {
    let code = "import random\nrandom.seed(7)\nprint([random.randrange(100) for _ in range(3)])";
    assert_eq!(succeed(open(executor).await.as_mut(), code).await, "[41, 19, 50]\n");
}

/// The host's environment is not visible; variables of the specification are.
pub async fn environment_is_fresh(executor: &dyn Executor) {
    let name = "CARGO_MANIFEST_DIR";
    let Ok(value) = std::env::var(name) else {
        panic!("run the suite by cargo: it needs {name} in the host's environment")
    };
    let environment = BTreeMap::from([("GREETING".to_string(), "hello, wörld".to_string())]);
    let spec = SessionSpec { limits: limits(executor), environment, ..SessionSpec::default() };
    let code = "import os\nprint(os.environ.get('GREETING'))\nprint(sorted(os.environ.items()))";
    let shown = succeed(open_spec(executor, spec).await.as_mut(), code).await;
    assert!(shown.starts_with("hello, wörld\n"), "{shown}");
    assert!(!shown.contains(name) && !shown.contains(&value), "{shown}");
    let shown = run_fresh(executor, code).await.stdout.text();
    assert!(shown.starts_with("None\n"), "{shown}");
}
