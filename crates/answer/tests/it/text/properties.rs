//! Properties of generated texts. Invariants of every text are in `src/oracles.rs`.

use cellblock_answer::{code_blocks, packages::split_installs};
use cellblock_exec::Language;
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
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

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
        let end = if crlf { "\r\n" } else { "\n" };
        let text: String = source.iter().map(|line| format!("{line}{end}")).collect();
        let blocks = code_blocks(&text);
        prop_assert_eq!(blocks.len(), 1, "{}", text);
        prop_assert_eq!(&blocks[0].code, &code);
        prop_assert_eq!(&blocks[0].language, &Some(Language::PYTHON));
        prop_assert!(!blocks[0].inferred);
        prop_assert_eq!(blocks[0].line, before.len() + 2);
    }

    #[test]
    fn splitting_changes_install_commands_alone(
        lines in vec(select(vec![
            "pip install x", "!pip install x", "    %pip install y", "pip install x \\\n  y", "x \
                = 1", "s = '''", "'''", "f(", ")",
            "cat <<EOF", "EOF", "ls | tail", "echo 'a", "# c", "", "if x; then", "fi", "pip \
                install x | tail", "a && pip install z",
        ]), 0..12),
        language in select(vec!["python", "bash", "sh"]),
    ) {
        let code: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let split = split_installs(&Language::from_static(language), &code);
        let Ok(split) = split else { return Ok(()) };
        let Some(rest) = split.code else { return Ok(()) };
        for (old, new) in code.lines().zip(rest.lines()) {
            prop_assert!(old == new || old.contains("pip install") || old == "  y", "{:?} became \
                {:?}", old, new);
        }
    }
}
