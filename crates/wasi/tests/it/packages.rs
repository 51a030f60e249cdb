//! Installing packages. This needs a package index and an installer; without them the tests fail
//! with an error that says so.

use cellblock_exec::{Error, Executor, SessionSpec};

use crate::{executor, output, run};

#[tokio::test]
async fn a_pure_package_is_installed_once() {
    let executor = executor().await;
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    let missing = run(&mut session, "import humanize").await;
    assert!(missing.stderr.text().contains("ModuleNotFoundError"), "{missing:?}");
    let report = session.install(&["humanize".parse().unwrap()]).await.unwrap();
    assert!(report.installed.iter().any(|version| version.starts_with("humanize==")), "{report:?}");
    assert_eq!(
        output(&mut session, "import humanize; print(humanize.intcomma(1234567))").await,
        "1,234,567\n"
    );
    let again = session.install(&["humanize".parse().unwrap()]).await.unwrap();
    assert!(again.installed.is_empty(), "{again:?}");
    // A fork has it; a new session does not.
    let mut fork = session.fork().await.unwrap();
    output(&mut fork, "import humanize").await;
    let mut other = executor.open(SessionSpec::default()).await.unwrap();
    assert!(!run(&mut other, "import humanize").await.outcome.is_success());
    // Packages survive the loss of the interpreter.
    run(&mut session, "import os; os._exit(1)").await;
    output(&mut session, "import humanize").await;
}

#[tokio::test]
async fn packages_of_the_guest_count_as_installed() {
    let mut session = executor().await.open(SessionSpec::default()).await.unwrap();
    let report =
        session.install(&["numpy".parse().unwrap(), "pandas>=2".parse().unwrap()]).await.unwrap();
    assert!(report.installed.is_empty(), "{report:?}");
}

#[tokio::test]
async fn native_and_unknown_packages_are_refused() {
    let mut session = executor().await.open(SessionSpec::default()).await.unwrap();
    for package in ["psycopg2-binary", "cellblock-no-such-package-8c1f"] {
        let refused = session.install(&[package.parse().unwrap()]).await;
        assert!(
            matches!(&refused, Err(Error::Install { why, .. }) if !why.is_empty()),
            "{package}: {refused:?}"
        );
    }
    output(&mut session, "print('continues')").await;
}
