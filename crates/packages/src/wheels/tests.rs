//! Requirements, before they reach an installer.

use cellblock_cache::Objects;
use cellblock_exec::{Error, Requirement, Silent};

use super::{install, requirement_lines, union};
use crate::Interpreter;

fn list(text: &str) -> Vec<Requirement> {
    text.split_whitespace().map(|requirement| requirement.parse().unwrap()).collect()
}

#[test]
fn what_is_asked_for_later_counts_for_a_package_that_is_there() {
    let cases = [
        ("", "", ""),
        ("", "b a a", "a b"),
        ("a", "b", "a b"),
        ("a==1", "a", "a==1"),
        ("a", "a==1", "a==1"),
        ("a==1 b", "a==2", "a==2 b"),
        ("a[x]==1", "a[y]", "a[x,y]==1"),
        ("a[x]", "a[y]==2", "a[x,y]==2"),
        // The installer judges requirements that come together.
        ("", "a==1 a==2", "a==1 a==2"),
        ("a>=1 a<3", "a", "a<3 a>=1"),
        ("a>=1 a<3", "a==4", "a==4"),
    ];
    for (present, new, expected) in cases {
        assert_eq!(union(&list(present), &list(new)), list(expected), "{present} and {new}");
    }
}

#[tokio::test]
async fn what_is_no_package_of_the_index_never_reaches_an_installer() {
    let directory = tempfile::tempdir().unwrap();
    let objects = Objects::open(directory.path().to_owned()).unwrap();
    // There is no such interpreter, so an installation would fail with another error.
    let interpreter =
        Interpreter { path: "/gone".into(), version: "3.11.2".into(), platform: "none".into() };
    let refused = async |name: &str, version: &str| {
        let requirement =
            Requirement { name: name.to_owned(), extras: Vec::new(), version: version.to_owned() };
        let error = install(&objects, &interpreter, &[requirement], &Silent).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{name} {version}: {error}");
    };
    for name in [
        "-r/etc/passwd",
        "--index-url=x",
        "https://host/x.whl",
        "../x",
        "./x",
        "x y",
        "x\n-r y",
        "a;b",
        "",
    ] {
        refused(name, "").await;
        assert!(name.parse::<Requirement>().is_err(), "{name}");
    }
    for version in [" @ https://host/x.whl", "\n--pre", ";python_version>'3'", "==1 --hash=x"] {
        refused("humanize", version).await;
    }
    assert_eq!(requirement_lines(&list("b a==1 b")).unwrap(), ["a==1", "b"]);
}

#[tokio::test]
async fn a_set_of_nothing_needs_no_interpreter() {
    let directory = tempfile::tempdir().unwrap();
    let objects = Objects::open(directory.path().to_owned()).unwrap();
    let interpreter =
        Interpreter { path: "/gone".into(), version: "3.11.2".into(), platform: "none".into() };
    let set = install(&objects, &interpreter, &[], &Silent).await.unwrap();
    assert!(set.packages.is_empty());
}
