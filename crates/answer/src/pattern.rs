//! Regular expressions that are quick to compile.

/// Returns `pattern` with ASCII classes for words, digits and spaces. The Unicode ones are large
/// automata, and compiling them took longer than everything else in a short run.
pub fn ascii(pattern: &str) -> String {
    pattern.replace(r"\w", "[0-9A-Za-z_]").replace(r"\d", "[0-9]").replace(r"\s", r"[\t\n\v\f\r ]")
}
