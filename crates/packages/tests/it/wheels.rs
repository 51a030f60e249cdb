use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use cellblock_cache::visit_files;
use cellblock_exec::{Error, Silent};
use cellblock_packages::{
    Interpreter,
    wheels::{SET, WheelSet, install},
};

use crate::{Steps, cache, list, output, python, run};

#[tokio::test]
async fn packages_are_installed_once_and_then_without_a_network() {
    let (directory, objects) = cache();
    let python = python(&objects).await;
    let steps = Steps::default();
    let requirements = list("markupsafe humanize");
    let set = install(&objects, &python, &requirements, &steps).await.unwrap();
    assert_eq!(steps.count(), 1);
    let names: Vec<&str> = set.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["humanize", "markupsafe"]);
    assert_eq!(
        (&set.packages[0].modules[..], &set.packages[1].modules[..]),
        (&["humanize".to_owned()][..], &["markupsafe".to_owned()][..])
    );
    let report = set.report_since(None);
    assert_eq!(report.installed[0], format!("humanize=={}", set.packages[0].version));

    let session = directory.path().join("session");
    objects.link_into(&set.key, &session, &[SET]).unwrap();
    assert!(!session.join(SET).exists());
    assert_eq!(output(&python, &session, "import humanize; print(humanize.ordinal(3))"), "3rd\n");
    // Native code for this machine.
    let native = "from markupsafe import escape, _speedups; print(escape('<'), _speedups.__file__)";
    let said = output(&python, &session, native);
    assert!(said.starts_with("&lt; ") && said.contains(".so"), "{said}");
    // Control: without the directory they are not there.
    assert!(!run(&python, directory.path(), "import humanize").status.success());

    // The same set in another order is not installed again.
    let requirements = list("humanize markupsafe humanize");
    assert_eq!(install(&objects, &python, &requirements, &steps).await.unwrap(), set);
    assert_eq!(steps.count(), 1);
    assert_eq!(set.report_since(Some(&set)).installed, Vec::<String>::new());
    assert!(fs::read_dir(objects.root.join("tmp")).unwrap().next().is_none());
}

#[tokio::test]
async fn modules_are_there_as_bytecode_that_names_no_path_of_this_machine() {
    let (_directory, objects) = cache();
    let python = python(&objects).await;
    let set = install(&objects, &python, &list("humanize"), &Silent).await.unwrap();
    let root = objects.root.display().to_string();
    let (mut modules, mut compiled) = (0, 0);
    let mut visit = |name: &str, path: &Path| {
        let content = fs::read(path)?;
        modules += usize::from(name.ends_with(".py"));
        if name.ends_with(".pyc") {
            compiled += 1;
            // PEP 552: never compared with the source.
            assert_eq!(content[4..8], [1, 0, 0, 0], "{name}");
        }
        let names_root = content.windows(root.len()).any(|window| window == root.as_bytes());
        assert!(!names_root, "{name} names {root}");
        Ok(())
    };
    visit_files(&objects.path(&set.key), &mut visit).unwrap();
    assert!(compiled > 0 && compiled == modules, "{compiled} of {modules}");
}

#[tokio::test]
async fn programs_start_with_the_interpreter() {
    let (directory, objects) = cache();
    // Without a pip of its own.
    let venv = directory.path().join("a venv");
    let made = Command::new(python(&objects).await.path)
        .args(["-m", "venv", "--without-pip"])
        .arg(&venv)
        .status();
    assert!(made.unwrap().success());
    let plain = python(&objects).await;
    let spaced = Interpreter::query(&objects, &venv.join("bin/python3")).await.unwrap();
    let requirements = list("markdown-it-py");
    let mut keys = Vec::new();
    for interpreter in [&plain, &spaced] {
        let set = install(&objects, interpreter, &requirements, &Silent).await.unwrap();
        let program = objects.path(&set.key).join("bin/markdown-it");
        let text = fs::read_to_string(&program).unwrap();
        assert!(text.contains(&interpreter.path.display().to_string()), "{text}");
        assert_eq!(
            text.starts_with(&format!("#!{}\n", interpreter.path.display())),
            interpreter == &plain,
            "{text}"
        );
        let output = Command::new(&program)
            .arg("--version")
            .env("PYTHONPATH", objects.path(&set.key))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("markdown-it-py"), "{said}");
        keys.push(set.key);
    }
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test]
async fn what_cannot_be_installed_says_why_and_leaves_nothing() {
    let (_directory, objects) = cache();
    let python = python(&objects).await;
    for (requirements, named, said) in [
        (
            "cellblock-no-such-package-xyzzy",
            "cellblock-no-such-package-xyzzy",
            &["No matching", "not found"][..],
        ),
        ("humanize==4.9.0 humanize==4.8.0", "humanize==4.8.0", &["onflict", "unsatisfiable"]),
        ("humanize==0.0.99", "humanize==0.0.99", &["No matching", "no version"]),
        // Its author has not published a wheel.
        (
            "docopt==0.6.2",
            "docopt==0.6.2",
            &["only wheels are installed", "no usable wheels", "building from source"],
        ),
    ] {
        let error = install(&objects, &python, &list(requirements), &Silent).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Install { .. }) && text.contains(named), "{text}");
        assert!(said.iter().any(|said| text.contains(said)), "{text}");
        assert!(text.len() < 2000 && !text.contains('\n'), "{text}");
    }
    for directory in ["objects", "tmp"] {
        assert!(fs::read_dir(objects.root.join(directory)).unwrap().next().is_none());
    }
}

const PROCESS: &str = "CELLBLOCK_TEST_WHEELS_PROCESS";

#[tokio::test]
async fn two_processes_that_want_the_same_packages_install_them_once() {
    if let Some(root) = std::env::var_os(PROCESS) {
        let objects = cellblock_cache::Objects::open(root.into()).unwrap();
        let steps = Steps::default();
        let set: WheelSet =
            install(&objects, &python(&objects).await, &list("humanize"), &steps).await.unwrap();
        println!("steps {} packages {}", steps.count(), set.packages.len());
        return;
    }
    let (_directory, objects) = cache();
    let start = || {
        Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "wheels::two_processes_that_want_the_same_packages_install_them_once",
                "--nocapture",
            ])
            .env(PROCESS, &objects.root)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let processes = [start(), start()];
    let mut steps: Vec<u32> = processes
        .into_iter()
        .map(|process| {
            let output = process.wait_with_output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            let counts = said
                .split("steps ")
                .nth(1)
                .and_then(|rest| rest.split_once(" packages 1"))
                .expect(&said);
            counts.0.parse().unwrap()
        })
        .collect();
    steps.sort_unstable();
    assert_eq!(steps, [0, 1]);
}
