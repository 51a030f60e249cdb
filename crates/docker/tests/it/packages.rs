//! The installation of packages. These tests fetch from the package index.

use std::time::Instant;

use bollard::query_parameters::RemoveImageOptions;
use cellblock_docker::{Options, images};
use cellblock_exec::{Error, Executor, Requirement, SessionSpec};

use crate::engine::{client, executor, executor_with, succeed};

fn requirements(texts: &[&str]) -> Vec<Requirement> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Removes the layers with a package, so that it has to be fetched.
async fn forget(package: &str) {
    let docker = client().await;
    for image in images().await.unwrap() {
        if image.packages.iter().any(|name| name.starts_with(package)) {
            let _ = docker.remove_image(&image.name, None::<RemoveImageOptions>, None).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_installed_once_and_then_kept() {
    let Some(executor) = executor().await else { return };
    forget("humanize").await;
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    succeed(session.as_mut(), "x = 7").await;
    let code = "try: import humanize\nexcept ImportError: print('missing')";
    assert_eq!(succeed(session.as_mut(), code).await, "missing\n");

    let began = Instant::now();
    let report = session.install(&requirements(&["humanize==4.9.0"])).await.unwrap();
    let fetched = began.elapsed();
    assert_eq!(report.installed, ["humanize==4.9.0"]);
    let code = "import humanize\n\
                print(humanize.intcomma(12345), humanize.__file__.startswith('/packages/'), x)";
    assert_eq!(succeed(session.as_mut(), code).await, "12,345 True 7\n");
    // Programs cannot change what was installed.
    let code = "try: open(humanize.__file__, 'a')\nexcept OSError as error: print('denied')";
    assert_eq!(succeed(session.as_mut(), code).await, "denied\n");

    // The same request again installs nothing.
    let report = session.install(&requirements(&["humanize==4.9.0"])).await.unwrap();
    assert!(report.installed.is_empty(), "{report:?}");
    session.close().await.unwrap();

    // Another session gets it from the layer.
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    let began = Instant::now();
    let report = session.install(&requirements(&["humanize==4.9.0"])).await.unwrap();
    println!("fetched in {fetched:?}, from the layer in {:?}", began.elapsed());
    assert_eq!(report.installed, ["humanize==4.9.0"]);
    assert!(
        began.elapsed() < fetched / 2,
        "{:?} after {fetched:?}: was it fetched again?",
        began.elapsed()
    );
    assert_eq!(
        succeed(session.as_mut(), "import humanize\nprint(humanize.intcomma(1000))").await,
        "1,000\n"
    );

    // A second package is added to the first, which keeps its version.
    let report = session.install(&requirements(&["tabulate"])).await.unwrap();
    assert_eq!(report.installed.len(), 1, "{report:?}");
    assert!(report.installed[0].starts_with("tabulate=="), "{report:?}");
    let code = "import importlib, humanize, tabulate\nprint(humanize.__version__)";
    assert_eq!(succeed(session.as_mut(), code).await, "4.9.0\n");
    session.close().await.unwrap();
    let found = images().await.unwrap();
    assert!(found.iter().any(|image| image.packages == ["humanize==4.9.0"]), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_image_has_is_not_installed_again() {
    let Some(executor) = executor().await else { return };
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    let report = session.install(&requirements(&["numpy", "pandas>=2"])).await.unwrap();
    assert!(report.installed.is_empty(), "{report:?}");
    // This package needs numpy, which the image has.
    let report = session.install(&requirements(&["numexpr"])).await.unwrap();
    assert_eq!(report.installed.len(), 1, "{report:?}");
    assert_eq!(
        succeed(session.as_mut(), "import numexpr\nprint(numexpr.evaluate('2*3'))").await,
        "6\n"
    );
    session.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_of_a_package_can_be_started() {
    let Some(executor) = executor().await else { return };
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    session.install(&requirements(&["tabulate"])).await.unwrap();
    let code = "import subprocess\n\
                ended = subprocess.run(['tabulate'], input='a 1', capture_output=True, text=True)\n\
                print(ended.stdout)";
    assert!(succeed(session.as_mut(), code).await.contains('a'));
    session.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_does_not_exist_is_reported() {
    let Some(executor) = executor().await else { return };
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    let table = [
        ("cellblock-no-such-package-7f3a", "there is no such package, or no wheel of it"),
        ("humanize==0.0.0.1", "there is no such package, or no wheel of it"),
    ];
    for (package, expected) in table {
        match session.install(&requirements(&[package])).await {
            Err(Error::Install { packages, why }) => {
                assert_eq!(packages, package);
                assert!(why.contains(expected), "{package}: {why}");
            }
            other => panic!("{package}: {other:?}"),
        }
    }
    assert_eq!(succeed(session.as_mut(), "print('alive')").await, "alive\n");
    session.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_without_a_wheel_needs_a_grant() {
    let Some(executor) = executor().await else { return };
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    // It was published as source only, and is pure Python.
    let package = requirements(&["docopt==0.6.2"]);
    match session.install(&package).await {
        Err(Error::Install { why, .. }) => assert!(why.contains("no wheel of it"), "{why}"),
        other => panic!("a package without a wheel was installed: {other:?}"),
    }
    session.close().await.unwrap();

    let options = Options { idle: 0, source_builds: true, ..Options::default() };
    let executor = executor_with(options).await.unwrap();
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    let report = session.install(&package).await.unwrap();
    assert_eq!(report.installed, ["docopt==0.6.2"]);
    assert_eq!(
        succeed(session.as_mut(), "import docopt\nprint(docopt.__version__)").await,
        "0.6.2\n"
    );
    session.close().await.unwrap();
}
