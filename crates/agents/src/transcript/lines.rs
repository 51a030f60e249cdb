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
    /// Whether the line before is blank.
    after_blank: bool,
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
            self.after_blank = line == "\n" && !self.mid_line;
            self.mid_line = !line.ends_with('\n');
        }
    }

    /// Adds lines of our own with a blank one above them, if there is none.
    pub(super) fn set_off(&mut self, text: &str) {
        if !self.after_blank {
            self.push("\n");
        }
        self.push(text);
    }

    /// What was added since the last time.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }
}
