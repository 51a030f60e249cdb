//! Paths into a workspace and out of it.

use std::path::{Component, Path};

use cellblock_exec::workspace::{PathFault, artifact_path, workspace_path};
use proptest::{collection::vec, prelude::*, sample::select};

#[test]
fn paths_inside_are_normalised() {
    let longest = format!("{}/{}", "a".repeat(255), "b".repeat(255));
    for (path, normal) in [
        ("plot.py", "plot.py"),
        ("a/./b", "a/b"),
        ("./a//b.txt", "a/b.txt"),
        ("a b/c d.txt", "a b/c d.txt"),
        ("...", "..."),
        ("a/..b", "a/..b"),
        ("~/x", "~/x"),
        ("größe/データ.csv", "größe/データ.csv"),
        ("-rf", "-rf"),
        // A colon makes a drive only before a directory.
        ("a:b.csv", "a:b.csv"),
        ("./c:x", "c:x"),
        ("10:30.txt", "10:30.txt"),
        (&longest, &longest),
    ] {
        assert_eq!(workspace_path(path).as_deref(), Ok(normal), "{path}");
    }
}

#[test]
fn paths_outside_are_refused() {
    let long_name = "x".repeat(256);
    let long_path = "abcdefg/".repeat(512) + "x";
    for (path, fault) in [
        ("", PathFault::Empty),
        (".", PathFault::Empty),
        ("./.", PathFault::Empty),
        ("/", PathFault::Absolute),
        ("/etc/passwd", PathFault::Absolute),
        ("//host/share", PathFault::Absolute),
        ("C:\\x", PathFault::Absolute),
        ("c:/x", PathFault::Absolute),
        ("./c:/x", PathFault::Absolute),
        ("..", PathFault::LeavesWorkspace),
        ("../x", PathFault::LeavesWorkspace),
        ("a/../b", PathFault::LeavesWorkspace),
        ("a/..", PathFault::LeavesWorkspace),
        ("a\\..\\b", PathFault::Backslash),
        ("\\\\host\\share", PathFault::Backslash),
        ("a/", PathFault::Directory),
        ("a/.", PathFault::Directory),
        ("a\0b", PathFault::ControlCharacter),
        ("a\nb", PathFault::ControlCharacter),
        ("\u{1b}[31m", PathFault::ControlCharacter),
        ("a\u{202e}yp.exe", PathFault::ControlCharacter),
        (&long_name, PathFault::TooLong),
        (&long_path, PathFault::TooLong),
    ] {
        assert_eq!(workspace_path(path).map_err(|refused| refused.fault), Err(fault), "{path:?}");
    }
}

#[test]
fn a_refusal_shows_the_path_shortened_and_harmless() {
    let refused = workspace_path(&format!("/\u{1b}{}", "x".repeat(10_000))).unwrap_err();
    assert_eq!(refused.path.chars().count(), 200);
    assert!(!refused.to_string().contains('\u{1b}'));
    assert!(workspace_path("../x").unwrap_err().to_string().contains("leaves the workspace"));
}

#[test]
fn what_comes_out_of_a_workspace_has_a_sound_name_or_is_refused_with_a_reason() {
    for name in ["plot.png", "a/b:c.csv", "größe/データ.csv", "-rf", "~/x", ".envrc", "a b"] {
        assert_eq!(artifact_path(name.as_bytes()).as_deref(), Ok(name));
    }
    let long_name = "x".repeat(256);
    for (name, word) in [
        (b"a\\b".as_slice(), "backslash"),
        (b"C:\\x", "absolute"),
        (b"C:/x", "absolute"),
        (b"tab\t.txt", "control character"),
        (b"two\nlines", "control character"),
        ("a\u{202e}yp.exe".as_bytes(), "control character"),
        (b"\xff\xfe", "UTF-8"),
        (long_name.as_bytes(), "too long"),
        // Only a driver that a program has taken over sends these.
        (b"", "not the path"),
        (b"../x", "not the path"),
        (b"a//b", "not the path"),
        (b"./a", "not the path"),
        (b"a/", "not the path"),
        (b"/etc/passwd", "absolute"),
        (b"a/.git/config", "version control"),
        (b"HEAD", "repository"),
    ] {
        let refused = artifact_path(name).unwrap_err();
        assert!(refused.reason.contains(word), "{name:?}: {refused:?}");
        assert!(String::from_utf8_lossy(name).starts_with(&refused.path), "{refused:?}");
    }
    let refused = artifact_path(&[b'/'; 10_000]).unwrap_err();
    assert_eq!(refused.path.len(), 4096, "what is reported is bounded");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn safe_paths_never_escape(path in "[a./\\\\: \
        ~\0-]{0,12}|\\PC{0,20}|(\\.\\.?/|a/|/){0,6}[a.]{0,3}") {
        if let Ok(safe) = workspace_path(&path) {
            prop_assert!(!safe.is_empty());
            let components: Vec<_> = Path::new(&safe).components().collect();
            let is_name = |component: &Component<'_>| matches!(component, Component::Normal(_));
            prop_assert!(components.iter().all(is_name), "{}", safe);
            prop_assert_eq!(components.len(), safe.split('/').count());
            let again = workspace_path(&safe);
            prop_assert_eq!(again.as_ref(), Ok(&safe), "the normal form is its own");
        } else {
            prop_assert!(
                path.starts_with('/')
                    || path.split('/').any(|part| part == "..")
                    || path.ends_with('/')
                    || path.ends_with("/.")
                    || path.split('/').all(|part| part.is_empty() || part == ".")
                    || path.contains(['\\', '\0'])
                    || path.trim_start_matches(['.', '/']).as_bytes().get(1) == Some(&b':')
                    || path.chars().any(|c| ('\u{2028}'..='\u{202e}').contains(&c))
                    || path.chars().any(|c| ('\u{2066}'..='\u{2069}').contains(&c)),
                "refused without a reason: {:?}", path
            );
        }
    }

    #[test]
    fn artifacts_have_paths_that_go_back_into_a_workspace(
        name in vec(prop_oneof![
            select(b"./\\: ~\0\n.gitHEAD".to_vec()), any::<u8>(),
        ], 0..12),
    ) {
        match artifact_path(&name) {
            Ok(path) => {
                prop_assert_eq!(path.as_bytes(), &name[..], "a name is taken as it is, or not");
                prop_assert_eq!(workspace_path(&path), Ok(path.clone()));
                prop_assert!(path.split('/').all(|part| !part.eq_ignore_ascii_case(".git")));
            }
            Err(refused) => prop_assert!(!refused.reason.is_empty()),
        }
    }
}
