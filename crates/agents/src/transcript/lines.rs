//! Lines, indented by how deep a chat is nested.

/// How far a nested chat is indented, for each level.
const INDENT: &str = "    ";

/// Text in the making.
#[derive(Debug, Default)]
pub(super) struct Lines {
    text: String,
    depth: usize,
    /// Whether the last line has begun.
    mid_line: bool,
}

impl Lines {
    /// From here on, lines are indented for this depth. Gives the one before.
    pub(super) fn depth(&mut self, depth: usize) -> usize {
        std::mem::replace(&mut self.depth, depth)
    }

    /// Adds text.
    pub(super) fn push(&mut self, text: &str) {
        for line in text.split_inclusive('\n') {
            if !self.mid_line && line != "\n" {
                self.text.extend(std::iter::repeat_n(INDENT, self.depth));
            }
            self.text.push_str(line);
            self.mid_line = !line.ends_with('\n');
        }
    }

    /// What was added since the last time.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }
}
