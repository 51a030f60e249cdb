//! Properties of texts that are built for them. What holds of every text is in `src/oracles.rs`.

use std::path::{Component, Path};

use cellblock_exec::{
    Language, Requirement, code_blocks,
    filename::{artifact_path, workspace_path},
    packages::split_installs,
};
use proptest::{collection::vec, prelude::*, sample::select};

/// Lines of code without a line end or another character that ends a line.
fn code_lines() -> impl Strategy<Value = Vec<String>> {
    vec(prop_oneof!["[ -~]{0,30}", "[ \t]{0,6}[`~]{0,7}[a-z \"]{0,4}", "[^\\r\\n\0]{0,20}"], 0..8)
}

/// The length of the longest run of `marker` in the code.
fn longest_run(code: &str, marker: char) -> usize {
    code.split(|c| c != marker).map(str::len).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_fence_gives_back_its_code(
        before in vec("[a-z .]{0,20}", 0..5),
        lines in code_lines(),
        marker in select(vec!['`', '~']),
        more in 0usize..4,
        indent in 0usize..4,
        crlf in any::<bool>(),
        closed in any::<bool>(),
        quoted in any::<bool>(),
    ) {
        let code: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let fence = marker.to_string().repeat(3.max(longest_run(&code, marker) + 1) + more);
        let pad = " ".repeat(indent);
        let mut source: Vec<String> = before.clone();
        source.push(String::new());
        source.push(format!("{pad}{fence} python"));
        source.extend(lines.iter().map(|line| format!("{pad}{line}")));
        if closed {
            source.push(format!("{pad}{fence}"));
        }
        if quoted {
            source = source.into_iter().map(|line| format!("> {line}")).collect();
        }
        let text: String = source.iter().map(|line| format!("{line}{}", if crlf { "\r\n" } else { "\n" })).collect();
        let blocks = code_blocks(&text);
        prop_assert_eq!(blocks.len(), 1, "{}", text);
        prop_assert_eq!(&blocks[0].code, &code);
        prop_assert_eq!(&blocks[0].language, &Some(Language::PYTHON));
        prop_assert!(!blocks[0].inferred);
        prop_assert_eq!(blocks[0].line, before.len() + 2);
    }

    #[test]
    fn safe_paths_never_escape(path in "[a./\\\\: ~\0-]{0,12}|\\PC{0,20}|(\\.\\.?/|a/|/){0,6}[a.]{0,3}") {
        if let Ok(safe) = workspace_path(&path) {
            prop_assert!(!safe.is_empty());
            let components: Vec<_> = Path::new(&safe).components().collect();
            prop_assert!(components.iter().all(|component| matches!(component, Component::Normal(_))), "{}", safe);
            prop_assert_eq!(components.len(), safe.split('/').count());
            let again = workspace_path(&safe);
            prop_assert_eq!(again.as_ref(), Ok(&safe), "the normal form is its own");
        } else {
            prop_assert!(
                path.starts_with('/') || path.split('/').any(|part| part == "..") || path.ends_with('/') || path.ends_with("/.")
                    || path.split('/').all(|part| part.is_empty() || part == ".")
                    || path.contains(['\\', '\0']) || path.trim_start_matches(['.', '/']).as_bytes().get(1) == Some(&b':')
                    || path.chars().any(|c| ('\u{2028}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c)),
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

    #[test]
    fn requirements_keep_their_meaning(
        name in "[A-Za-z0-9]([A-Za-z0-9._-]{0,10}[A-Za-z0-9])?",
        extras in vec("[a-zA-Z](_?[a-z0-9]){0,5}", 0..3),
        versions in vec((select(vec!["==", "!=", ">=", "<=", "<", ">", "~="]), "[0-9]{1,2}(\\.[0-9]{1,2}){1,2}"), 0..3),
        blank in select(vec!["", " "]),
    ) {
        let mut text = name.clone();
        if !extras.is_empty() {
            text += &format!("{blank}[{}]", extras.join(","));
        }
        let versions: Vec<_> = versions.iter().map(|(operator, version)| format!("{operator}{blank}{version}")).collect();
        text += &format!("{blank}{}", versions.join(","));
        let requirement: Requirement = text.parse().unwrap();
        prop_assert_eq!(requirement.version.split(',').filter(|part| !part.is_empty()).count(), versions.len());
        prop_assert_eq!(requirement.to_string().parse::<Requirement>().unwrap(), requirement);
    }

    #[test]
    fn splitting_changes_install_commands_alone(
        lines in vec(select(vec![
            "pip install x", "!pip install x", "    %pip install y", "pip install x \\\n  y", "x = 1", "s = '''", "'''", "f(", ")",
            "cat <<EOF", "EOF", "ls | tail", "echo 'a", "# c", "", "if x; then", "fi", "pip install x | tail", "a && pip install z",
        ]), 0..12),
        language in select(vec!["python", "bash", "sh"]),
    ) {
        let code: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let Ok(split) = split_installs(&Language::from_static(language), &code) else { return Ok(()) };
        let Some(rest) = split.code else { return Ok(()) };
        for (old, new) in code.lines().zip(rest.lines()) {
            prop_assert!(old == new || old.contains("pip install") || old == "  y", "{:?} became {:?}", old, new);
        }
    }
}
