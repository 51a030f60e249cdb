//! Artifacts in a directory that holds other things.

use std::{os::unix::fs::symlink, path::Path, sync::Arc};

use super::*;

fn artifact(path: &str) -> Artifact {
    artifact_of(path, "new")
}

fn artifact_of(path: &str, content: &str) -> Artifact {
    Artifact::new(path.into(), Arc::new(content.as_bytes().to_vec()))
}

fn keeping(directory: &Path) -> OutputDirectory {
    OutputDirectory::new(directory.to_owned(), false)
}

fn overwriting(directory: &Path) -> OutputDirectory {
    OutputDirectory::new(directory.to_owned(), true)
}

/// Writes an artifact, and returns its path below the output directory.
#[track_caller]
fn written(output: &mut OutputDirectory, artifact: &Artifact) -> String {
    match output.write(artifact).unwrap() {
        WriteOutcome::Written { path, .. } => path,
        WriteOutcome::Refused(reason) => panic!("{}: {reason}", artifact.path),
    }
}

/// Asserts that an artifact of this path is refused, and returns the reason.
#[track_caller]
fn refused(output: &mut OutputDirectory, path: &str) -> String {
    match output.write(&artifact(path)).unwrap() {
        WriteOutcome::Refused(reason) => reason,
        stored => panic!("{path}: {stored:?}"),
    }
}

#[track_caller]
fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

/// Returns the names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn files_land_in_the_directory() {
    let outer = tempfile::tempdir().unwrap();
    let out = outer.path().join("made/on/demand");
    let mut output = keeping(&out);
    let stored = output.write(&artifact("charts/a.png")).unwrap();
    let file = out.join("charts/a.png");
    let path = "charts/a.png".to_owned();
    assert_eq!(stored, WriteOutcome::Written { file: file.clone(), path, is_numbered: false });
    assert_eq!(read(&file), "new");
    assert_eq!(output.file("charts/a.png"), Some(&file));
    assert_eq!(names(&out.join("charts")), ["a.png"], "no temporary file is left");
}

#[test]
fn nothing_leaves_the_directory() {
    let outer = tempfile::tempdir().unwrap();
    let (out, elsewhere) = (outer.path().join("out"), outer.path().join("elsewhere"));
    fs::create_dir_all(&out).unwrap();
    fs::create_dir_all(&elsewhere).unwrap();
    fs::write(elsewhere.join("victim.txt"), "old").unwrap();
    symlink(&elsewhere, out.join("dir")).unwrap();
    symlink(elsewhere.join("victim.txt"), out.join("link.txt")).unwrap();
    symlink(elsewhere.join("planted.txt"), out.join("dangling.txt")).unwrap();
    let absolute = elsewhere.join("new.txt").display().to_string();
    for mut output in [keeping(&out), overwriting(&out)] {
        for path in [
            "../elsewhere/new.txt",
            "dir/new.txt",
            "dir/victim.txt",
            absolute.as_str(),
            "",
            "a/../../x",
            "..",
            "x\0y",
        ] {
            assert!(!refused(&mut output, path).is_empty());
        }
    }
    let mut output = keeping(&out);
    assert_eq!(written(&mut output, &artifact("link.txt")), "link-2.txt");
    assert_eq!(written(&mut output, &artifact("dangling.txt")), "dangling-2.txt");
    assert_eq!(written(&mut overwriting(&out), &artifact("link.txt")), "link.txt");
    assert!(fs::symlink_metadata(out.join("link.txt")).unwrap().is_file(), "it was replaced");
    assert_eq!(read(elsewhere.join("victim.txt")), "old");
    assert_eq!(names(&elsewhere), ["victim.txt"]);
}

#[test]
fn a_file_that_was_there_before_stays_and_the_new_one_gets_a_number() {
    let out = tempfile::tempdir().unwrap();
    fs::write(out.path().join("prices.csv"), "mine").unwrap();
    fs::write(out.path().join("prices-2.csv"), "mine, too").unwrap();
    let mut output = keeping(out.path());
    assert_eq!(written(&mut output, &artifact("prices.csv")), "prices-3.csv");
    assert_eq!(output.file("prices.csv"), Some(&out.path().join("prices-3.csv")));
    assert_eq!(read(out.path().join("prices.csv")), "mine");
    assert_eq!(read(out.path().join("prices-2.csv")), "mine, too");
    assert_eq!(read(out.path().join("prices-3.csv")), "new");
    // A file of another block whose own name is the one with the number is not replaced either.
    assert_eq!(written(&mut output, &artifact("prices-3.csv")), "prices-3-2.csv");
    // The control.
    assert_eq!(written(&mut overwriting(out.path()), &artifact("prices.csv")), "prices.csv");
    assert_eq!(read(out.path().join("prices.csv")), "new");
}

#[test]
fn a_later_block_replaces_what_its_own_run_wrote() {
    let out = tempfile::tempdir().unwrap();
    fs::write(out.path().join("a.txt"), "mine").unwrap();
    let mut output = keeping(out.path());
    for content in ["one", "two", "three"] {
        assert_eq!(written(&mut output, &artifact_of("a.txt", content)), "a-2.txt");
        assert_eq!(written(&mut output, &artifact_of("b.txt", content)), "b.txt");
    }
    assert_eq!(read(out.path().join("a-2.txt")), "three");
    assert_eq!(read(out.path().join("b.txt")), "three");
    assert_eq!(names(out.path()), ["a-2.txt", "a.txt", "b.txt"]);
    // Another run is another owner.
    assert_eq!(written(&mut keeping(out.path()), &artifact("b.txt")), "b-2.txt");
}

#[test]
fn what_a_person_changed_meanwhile_is_no_longer_the_runs_own() {
    let out = tempfile::tempdir().unwrap();
    let mut output = keeping(out.path());
    written(&mut output, &artifact_of("edited.txt", "one"));
    written(&mut output, &artifact_of("swapped.txt", "one"));
    written(&mut output, &artifact_of("removed.txt", "one"));
    fs::write(out.path().join("edited.txt"), "one, and my thoughts").unwrap();
    fs::write(out.path().join("saved"), "one").unwrap();
    fs::rename(out.path().join("saved"), out.path().join("swapped.txt")).unwrap();
    fs::remove_file(out.path().join("removed.txt")).unwrap();
    assert_eq!(written(&mut output, &artifact("edited.txt")), "edited-2.txt");
    assert_eq!(written(&mut output, &artifact("swapped.txt")), "swapped-2.txt");
    assert_eq!(written(&mut output, &artifact("removed.txt")), "removed.txt");
    assert_eq!(read(out.path().join("edited.txt")), "one, and my thoughts");
}

#[test]
fn a_directory_in_the_way_stays() {
    let out = tempfile::tempdir().unwrap();
    fs::create_dir_all(out.path().join("name/kept")).unwrap();
    fs::write(out.path().join("file"), "old").unwrap();
    assert_eq!(written(&mut keeping(out.path()), &artifact("name")), "name-2");
    assert!(refused(&mut overwriting(out.path()), "name").contains("a directory of this name"));
    assert!(out.path().join("name/kept").is_dir());
    for mut output in [keeping(out.path()), overwriting(out.path())] {
        assert!(refused(&mut output, "file/below").contains("not a directory"));
    }
    assert_eq!(read(out.path().join("file")), "old");
}

#[test]
fn names_that_tools_obey_are_not_written_even_to_replace_files() {
    let out = tempfile::tempdir().unwrap();
    fs::create_dir(out.path().join(".git")).unwrap();
    fs::write(out.path().join(".git/config"), "mine").unwrap();
    fs::write(out.path().join(".envrc"), "mine").unwrap();
    for mut output in [keeping(out.path()), overwriting(out.path())] {
        for path in [".git/config", ".git/new", "sub/.GIT/config", "git~1/config", "HEAD"] {
            assert!(refused(&mut output, path).contains("another name"), "{path}");
        }
    }
    assert_eq!(read(out.path().join(".git/config")), "mine");
    assert_eq!(written(&mut keeping(out.path()), &artifact(".envrc")), ".envrc-2");
    assert_eq!(read(out.path().join(".envrc")), "mine");
    assert_eq!(names(out.path()), [".envrc", ".envrc-2", ".git"]);
}

#[test]
fn a_number_goes_before_the_extension() {
    let long = "n".repeat(251);
    let wide = "é".repeat(125);
    for (name, expected) in [
        ("figure-1.png", "figure-1-2.png".to_owned()),
        ("archive.tar.gz", "archive-2.tar.gz".to_owned()),
        ("v1.2.csv", "v1.2-2.csv".to_owned()),
        ("Makefile", "Makefile-2".to_owned()),
        (".envrc", ".envrc-2".to_owned()),
        (".tar.gz", ".tar-2.gz".to_owned()),
        ("ends.", "ends-2.".to_owned()),
        ("a.sentence and no extension", "a.sentence and no extension-2".to_owned()),
        (&format!("{long}.png"), format!("{}-2.png", "n".repeat(249))),
        (&format!("{wide}.png"), format!("{}-2.png", "é".repeat(124))),
    ] {
        assert_eq!(numbered(name, 2), expected);
    }
    let longest = format!("a.{}", "x".repeat(253));
    assert_eq!(numbered(&longest, MAX_NUMBER).len(), MAX_NAME);
}

#[test]
fn a_name_is_never_taken_from_another_writer() {
    let out = tempfile::tempdir().unwrap();
    // Many write at once: each gets a name of its own, also where there are no links.
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let out = out.path().to_owned();
            std::thread::spawn(move || {
                for _ in 0..20 {
                    written(&mut keeping(&out), &artifact_of("same.txt", &number.to_string()));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(names(out.path()).len(), 160);

    let directory = Dir::open_ambient_dir(out.path(), ambient_authority()).unwrap();
    let taken = write_new(&directory, "same.txt", b"x").unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
    write_new(&directory, "free.txt", b"x").unwrap();
    assert_eq!(read(out.path().join("free.txt")), "x");
}

#[test]
fn failures_that_are_not_about_the_name_are_errors() {
    let outer = tempfile::tempdir().unwrap();
    fs::write(outer.path().join("file"), "old").unwrap();
    assert!(keeping(&outer.path().join("file")).write(&artifact("a")).is_err());
    assert!(keeping(&outer.path().join("file/below")).write(&artifact("a")).is_err());
    // The control.
    assert!(keeping(&outer.path().join("directory")).write(&artifact("a")).is_ok());
}
