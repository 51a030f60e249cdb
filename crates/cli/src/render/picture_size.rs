//! The width of a picture, read from its first bytes.

/// Returns the width of a PNG picture in pixels; `None` for anything else.
pub fn png_width(bytes: &[u8]) -> Option<u32> {
    let header = bytes.get(..24)?;
    if !header.starts_with(b"\x89PNG\r\n\x1a\n") || &header[12..16] != b"IHDR" {
        return None;
    }
    header[16..20].try_into().ok().map(u32::from_be_bytes)
}

/// Returns the width of a PNG, JPEG, GIF or WebP picture in pixels; `None` for anything else.
pub fn width(bytes: &[u8]) -> Option<u32> {
    png_width(bytes)
        .or_else(|| gif_width(bytes))
        .or_else(|| webp_width(bytes))
        .or_else(|| jpeg_width(bytes))
}

fn gif_width(bytes: &[u8]) -> Option<u32> {
    let header = bytes.get(..10)?;
    let is_gif = header.starts_with(b"GIF87a") || header.starts_with(b"GIF89a");
    is_gif.then(|| u16::from_le_bytes([header[6], header[7]]).into())
}

/// Reads all three forms of WebP: lossy, lossless and extended.
fn webp_width(bytes: &[u8]) -> Option<u32> {
    let header = bytes.get(..30)?;
    if !header.starts_with(b"RIFF") || &header[8..12] != b"WEBP" {
        return None;
    }
    let low = |at: usize| u32::from(u16::from_le_bytes([header[at], header[at + 1]]));
    match &header[12..16] {
        b"VP8 " => Some(low(26) & 0x3fff),
        b"VP8L" => Some((low(21) & 0x3fff) + 1),
        b"VP8X" => Some((low(24) | u32::from(header[26]) << 16) + 1),
        _ => None,
    }
}

/// Reads the first segment that begins a frame (SOF).
fn jpeg_width(bytes: &[u8]) -> Option<u32> {
    if !bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        return None;
    }
    let mut at = 2;
    loop {
        let segment = bytes.get(at..at + 4)?;
        let length = usize::from(u16::from_be_bytes([segment[2], segment[3]]));
        match segment[1] {
            _ if segment[0] != 0xff => return None,
            // Padding.
            0xff => at += 1,
            0xc4 | 0xc8 | 0xcc => at += 2 + length,
            0xc0..=0xcf => {
                let size = bytes.get(at + 7..at + 9)?;
                return Some(u16::from_be_bytes([size[0], size[1]]).into());
            }
            // The data of the picture, or its end, without a frame before it.
            0xd8..=0xda => return None,
            _ => at += 2 + length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_read() {
        let webp = |form: &[u8], rest: &[u8]| {
            let mut bytes = [b"RIFF\0\0\0\0WEBP", form, b"\0\0\0\0", rest].concat();
            bytes.resize(30, 0);
            bytes
        };
        let jpeg =
            b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc4\0\x02\xff\xc2\0\x11\x08\0\x09\x02\x80\x03";
        for (bytes, expected) in [
            (b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x02\x80\0\0\0\x09".as_slice(), Some(640)),
            (b"GIF89a\x80\x02\x09\0", Some(640)),
            (jpeg, Some(640)),
            (&webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a\x80\x02\x09\0"), Some(640)),
            (&webp(b"VP8L", b"\x2f\x7f\x02\0\0"), Some(640)),
            (&webp(b"VP8X", b"\0\0\0\0\x7f\x02\0\0\0\0"), Some(640)),
            (&webp(b"ALPH", b"\0\0\0\0\x7f\x02\0\0\0\0"), None),
            (&jpeg[..20], None),
            (b"\xff\xd8\xff\xda\0\x04ab\xff\xc0", None),
            (b"GIF89a", None),
            (b"\x1b]0;title\x07 and more than thirty bytes", None),
            (b"", None),
        ] {
            assert_eq!(width(bytes), expected, "{bytes:?}");
            // A truncated picture has the same width or none.
            for end in 0..bytes.len() {
                let read = width(&bytes[..end]);
                assert!(read.is_none() || read == expected, "{end} of {bytes:?}");
            }
        }
        assert_eq!((png_width(b"GIF89a\x80\x02\x09\0"), png_width(jpeg)), (None, None));
    }
}
