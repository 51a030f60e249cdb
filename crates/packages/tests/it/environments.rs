use std::fs;

use cellblock_cache::Objects;
use cellblock_exec::{Error, Silent};
use cellblock_packages::environments::{self, Environment};

use crate::{Steps, cache, list, output, python};

#[tokio::test]
async fn an_environment_is_kept_and_grows() {
    let (_directory, objects) = cache();
    let python = python(&objects).await;
    assert_eq!(environments::names(&objects).unwrap(), Vec::<String>::new());
    assert_eq!(environments::read(&objects, "data").unwrap(), Environment::default());
    let steps = Steps::default();
    let one = environments::install(&objects, "data", &python, &list("humanize==4.8.0"), &steps)
        .await
        .unwrap();
    let two = environments::install(&objects, "data", &python, &list("markupsafe"), &steps)
        .await
        .unwrap();
    assert_eq!(two.packages.len(), 2);
    assert_eq!(two.report_since(Some(&one)).installed.len(), 1);
    let kept = environments::read(&objects, "data").unwrap();
    assert_eq!(
        kept,
        Environment {
            requirements: list("humanize==4.8.0 markupsafe"),
            objects: vec![two.key.clone()]
        }
    );
    assert_eq!(environments::names(&objects).unwrap(), ["data"]);
    assert_eq!(environments::needed_objects(&objects).unwrap(), [two.key.as_str()]);

    // Another process opens it, without a network.
    let before = steps.count();
    let other = Objects::open(objects.root.clone()).unwrap();
    let opened = environments::install(&other, "data", &python, &[], &steps).await.unwrap();
    assert_eq!((&opened, steps.count()), (&two, before));
    let version = "from importlib.metadata import version; print(version('humanize'))";
    assert_eq!(output(&python, &objects.path(&opened.key), version), "4.8.0\n");

    // A failed installation changes nothing.
    for impossible in ["cellblock-no-such-package-xyzzy", "humanize==4.9.0 humanize==4.7.0"] {
        let failed =
            environments::install(&objects, "data", &python, &list(impossible), &Silent).await;
        assert!(matches!(failed, Err(Error::Install { .. })));
        assert_eq!(environments::read(&objects, "data").unwrap(), kept);
    }
    // A new version replaces the old one.
    let three = environments::install(&objects, "data", &python, &list("humanize==4.9.0"), &Silent)
        .await
        .unwrap();
    assert_eq!(output(&python, &objects.path(&three.key), version), "4.9.0\n");

    assert!(environments::remove(&objects, "data").await.unwrap());
    assert!(!environments::remove(&objects, "data").await.unwrap());
    assert_eq!(environments::needed_objects(&objects).unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn two_who_add_to_an_environment_at_once_both_find_theirs() {
    let (_directory, objects) = cache();
    let python = python(&objects).await;
    let other = Objects::open(objects.root.clone()).unwrap();
    let (left, right) = (list("humanize"), list("markupsafe"));
    let (one, two) = tokio::join!(
        environments::install(&objects, "shared", &python, &left, &Silent),
        environments::install(&other, "shared", &python, &right, &Silent),
    );
    let mut sizes = [one.unwrap().packages.len(), two.unwrap().packages.len()];
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2]);
    assert_eq!(
        environments::read(&objects, "shared").unwrap().requirements,
        list("humanize markupsafe")
    );
}

#[tokio::test]
async fn bad_names_and_damaged_files_are_refused() {
    let (_directory, objects) = cache();
    let python = python(&objects).await;
    for name in ["", "Upper", "../x", "a/b", "a.json", "a b", &"x".repeat(65)] {
        assert!(
            matches!(environments::read(&objects, name), Err(Error::Invalid { .. })),
            "{name:?}"
        );
        assert!(
            matches!(environments::remove(&objects, name).await, Err(Error::Invalid { .. })),
            "{name:?}"
        );
        let made = environments::install(&objects, name, &python, &[], &Silent).await;
        assert!(matches!(made, Err(Error::Invalid { .. })), "{name:?}");
    }
    fs::create_dir(objects.root.join("environments")).unwrap();
    for text in ["", "{", r#"{"requirements": ["-r x"], "objects": []}"#] {
        fs::write(objects.root.join("environments/damaged.json"), text).unwrap();
        let error = environments::read(&objects, "damaged").unwrap_err().to_string();
        assert!(error.contains("cannot parse") && error.contains("damaged.json"), "{error}");
        assert!(
            environments::install(&objects, "damaged", &python, &list("humanize"), &Silent)
                .await
                .is_err()
        );
    }
}
