//! Lines, indented by the depth of a nested chat.

/// The indentation for each level.
const INDENT: &str = "    ";

/// Lines that are added and taken.
#[derive(Debug, Default)]
pub struct Lines {
    text: String,
    depth: usize,
    /// True if the last line has no end yet.
    mid_line: bool,
    /// True if the line before is blank.
    after_blank: bool,
}

impl Lines {
    /// Sets the depth of the lines to come. Returns the one before.
    pub fn set_depth(&mut self, depth: usize) -> usize {
        std::mem::replace(&mut self.depth, depth)
    }

    /// Adds text.
    pub fn push(&mut self, text: &str) {
        for line in text.split_inclusive('\n') {
            if !self.mid_line && line != "\n" {
                self.text.extend(std::iter::repeat_n(INDENT, self.depth));
            }
            self.text.push_str(line);
            self.after_blank = line == "\n" && !self.mid_line;
            self.mid_line = !line.ends_with('\n');
        }
    }

    /// Adds lines with a blank line above them, unless there is one.
    pub fn set_off(&mut self, text: &str) {
        if !self.after_blank {
            self.push("\n");
        }
        self.push(text);
    }

    /// Takes the text that was added since the last call.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }
}
