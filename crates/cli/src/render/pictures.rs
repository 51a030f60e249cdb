//! PictureProtocol on the terminal, where it can show them: by kitty's graphics protocol, or as
//! inline images of iTerm2.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use cellblock_exec::Artifact;

use super::picture_size::{png_width, width};

/// Maximum size in bytes of a picture that is shown. Of a larger one only the path is printed.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Width of a wide picture, in columns of the terminal. Other pictures keep their size.
const WIDE_COLUMNS: u32 = 72;

/// Width in pixels from which a picture counts as wide.
const MIN_WIDE_PIXELS: u32 = 700;

/// Bytes of base64 in one piece: the limit of kitty's protocol.
const PIECE: usize = 4096;

/// A protocol to show pictures on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureProtocol {
    /// Kitty's graphics protocol: kitty and Ghostty. PNG only.
    Kitty,
    /// iTerm2's inline images: iTerm2 and WezTerm. PNG, JPEG, GIF and WebP.
    Iterm,
}

impl PictureProtocol {
    /// Returns the protocol of this process's terminal, as far as its environment variables tell.
    pub fn of_terminal() -> Option<Self> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let get = |name| variable(name).filter(|value| !value.is_empty());
        let (term, program) =
            (get("TERM").unwrap_or_default(), get("TERM_PROGRAM").unwrap_or_default());
        // A multiplexer does not pass pictures on to the terminal.
        if get("TMUX").is_some()
            || term.starts_with("tmux")
            || term.starts_with("screen")
            || term == "dumb"
        {
            return None;
        }
        match program.as_str() {
            "iTerm.app" | "WezTerm" => Some(Self::Iterm),
            "ghostty" => Some(Self::Kitty),
            _ => (get("KITTY_WINDOW_ID").is_some() || term == "xterm-kitty").then_some(Self::Kitty),
        }
    }

    /// Returns the control sequence that shows a picture; `None` if the artifact is not a picture
    /// that the protocol supports, or is too large.
    pub fn encode(self, artifact: &Artifact) -> Option<String> {
        let width = match self {
            Self::Kitty => png_width(&artifact.content)?,
            Self::Iterm => width(&artifact.content)?,
        };
        if artifact.bytes > MAX_BYTES || artifact.content.len() as u64 > MAX_BYTES {
            return None;
        }
        let data = BASE64_STANDARD.encode(artifact.content.as_slice());
        let wide = width > MIN_WIDE_PIXELS;
        Some(match self {
            Self::Iterm => {
                let width = if wide { WIDE_COLUMNS.to_string() } else { "auto".to_owned() };
                let size = artifact.content.len();
                format!(
                    "\x1b]1337;File=inline=1;preserveAspectRatio=1;\
                     size={size};width={width}:{data}\x07\n"
                )
            }
            Self::Kitty => {
                let columns = if wide { format!(",c={WIDE_COLUMNS}") } else { String::new() };
                let pieces: Vec<&[u8]> = data.as_bytes().chunks(PIECE).collect();
                let mut text = String::with_capacity(data.len() + 64 * pieces.len());
                for (at, piece) in pieces.iter().enumerate() {
                    // Transmit and display (a=T) a PNG (f=100), without a response (q=2).
                    let keys =
                        if at == 0 { format!("a=T,f=100,q=2{columns},") } else { String::new() };
                    let more = u8::from(at + 1 < pieces.len());
                    text.push_str(&format!(
                        "\x1b_G{keys}m={more};{}\x1b\\",
                        String::from_utf8_lossy(piece)
                    ));
                }
                text + "\n"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn picture(width: u32, bytes: usize) -> Artifact {
        let mut content = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        content.extend(width.to_be_bytes());
        content.extend(10u32.to_be_bytes());
        content.resize(bytes.max(24), 0);
        Artifact::new("a.png".into(), Arc::new(content))
    }

    #[test]
    fn terminals_are_recognized_by_their_variables() {
        let recognized = |set: &'static [(&str, &str)]| {
            PictureProtocol::from_variables(|name| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(recognized(&[("TERM", "xterm-kitty")]), Some(PictureProtocol::Kitty));
        assert_eq!(
            recognized(&[("TERM", "xterm-256color"), ("KITTY_WINDOW_ID", "1")]),
            Some(PictureProtocol::Kitty)
        );
        assert_eq!(recognized(&[("TERM_PROGRAM", "iTerm.app")]), Some(PictureProtocol::Iterm));
        assert_eq!(recognized(&[("TERM", "xterm-256color")]), None);
        assert_eq!(recognized(&[("TERM", "tmux-256color"), ("KITTY_WINDOW_ID", "1")]), None);
    }

    #[test]
    fn pictures_are_split_into_pieces_of_the_maximum_size() {
        let text = PictureProtocol::Kitty.encode(&picture(1000, 10_000)).unwrap();
        let pieces: Vec<_> =
            text.trim_end().split("\x1b\\").filter(|piece| !piece.is_empty()).collect();
        assert!(
            pieces.len() == 4 && pieces[0].starts_with("\x1b_Ga=T,f=100,q=2,c=72,m=1;"),
            "{}",
            pieces.len()
        );
        assert!(pieces[3].starts_with("\x1b_Gm=0;"));
        let data: String = pieces.iter().map(|piece| piece.split_once(';').unwrap().1).collect();
        assert_eq!(BASE64_STANDARD.decode(data).unwrap().len(), 10_000);
        assert!(
            PictureProtocol::Iterm
                .encode(&picture(100, 100))
                .unwrap()
                .contains("size=100;width=auto:")
        );
    }

    #[test]
    fn each_terminal_gets_what_it_can_show() {
        let gif =
            Artifact { content: Arc::new(b"GIF89a\x80\x02\x09\0".to_vec()), ..picture(10, 24) };
        assert!(
            PictureProtocol::Iterm.encode(&gif).unwrap().contains("size=10;width=auto:R0lGODlh")
        );
        assert_eq!(PictureProtocol::Kitty.encode(&gif), None);
    }

    #[test]
    fn only_pictures_that_are_not_too_large_are_shown() {
        assert_eq!(PictureProtocol::Kitty.encode(&picture(10, 5 << 20)), None);
        // A file is a picture by its content, not by its name.
        let text = Artifact {
            content: Arc::new(b"\x1b]0;title\x07 and more than 24 bytes".to_vec()),
            ..picture(10, 24)
        };
        assert_eq!(PictureProtocol::Kitty.encode(&text), None);
    }
}
