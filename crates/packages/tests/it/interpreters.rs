use std::{path::Path, process::Command};

use cellblock_exec::Error;
use cellblock_packages::Interpreter;

use crate::{cache, python};

#[tokio::test]
async fn an_interpreter_says_what_it_is_once() {
    let (directory, objects) = cache();
    let found = python(&objects).await;
    assert!(found.path.is_absolute() && found.version.starts_with("3."), "{found:?}");
    assert!(
        found.platform.contains("python-3") || found.platform.contains("cpython-3"),
        "{found:?}"
    );
    let asked = Interpreter::query(&objects, &found.path).await.unwrap();
    assert_eq!(asked, found);
    // The cache keeps the answer, which is changed here to see that it is used.
    let kept = std::fs::read_dir(objects.root.join("interpreters"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let text = std::fs::read_to_string(&kept).unwrap().replace(&found.version, "3.0.0");
    std::fs::write(&kept, text).unwrap();
    assert_eq!(Interpreter::query(&objects, &found.path).await.unwrap().version, "3.0.0");
    // The answer does not count for another program in its place.
    let venv = directory.path().join("venv");
    let made = Command::new(&found.path).args(["-m", "venv", "--without-pip"]).arg(&venv).status();
    assert!(made.unwrap().success());
    let own = venv.join("bin/python3");
    let before = Interpreter::query(&objects, &own).await.unwrap();
    assert_eq!((&before.path, &before.version), (&own, &found.version));
    std::fs::remove_file(&own).unwrap();
    script(&own, &format!("echo {}; echo 3.99.1; echo other", own.display()));
    assert_eq!(Interpreter::query(&objects, &own).await.unwrap().version, "3.99.1");
}

#[tokio::test]
async fn the_answer_of_a_stand_in_is_not_kept() {
    let (directory, objects) = cache();
    let found = python(&objects).await;
    let (shim, choice) = (directory.path().join("python3"), directory.path().join("choice"));
    script(&shim, &format!("echo {}; cat {}; echo other", found.path.display(), choice.display()));
    for version in ["3.10.1", "3.12.1"] {
        std::fs::write(&choice, format!("{version}\n")).unwrap();
        assert_eq!(Interpreter::query(&objects, &shim).await.unwrap().version, version);
    }
}

#[tokio::test]
async fn what_is_no_python_is_refused() {
    let (directory, objects) = cache();
    let other = directory.path().join("other");
    script(&other, "echo hello");
    for program in
        [other.as_path(), Path::new("/bin/true"), Path::new("/bin/false"), Path::new("/gone")]
    {
        let error = Interpreter::query(&objects, program).await.unwrap_err();
        assert!(matches!(error, Error::Start { .. }), "{error}");
        assert!(error.to_string().contains(&program.display().to_string()), "{error}");
    }
}

fn script(path: &Path, body: &str) {
    let text = path.with_extension("text");
    std::fs::write(&text, format!("#!/bin/sh\n{body}\n")).unwrap();
    // Another process writes it: a program that another test starts at that moment would inherit
    // the file if it were open for writing here.
    let made =
        std::process::Command::new("install").arg("-m755").arg(&text).arg(path).status().unwrap();
    assert!(made.success());
}
