//! Parses recordings.

use super::format::{Exchange, RecordingHeader, RecordingOrigin, VERSION};

/// Parses a recording. Any white space may stand between its values.
pub fn recording(bytes: &[u8]) -> Result<(RecordingHeader, Vec<Exchange>), String> {
    let text = text(bytes)?;
    let header = header(text)?;
    let mut exchanges = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
    // Skips the header, which was parsed above.
    values.next();
    loop {
        let place = values.byte_offset();
        // Lines are counted only for a message: counting them for each exchange would take
        // quadratic time.
        let invalid = |why: &str| format!("line {}: {why}", line_at(text, place));
        let value = match values.next() {
            None if text.len() < bytes.len() && header.made == RecordingOrigin::ByHand => {
                return Err("it ends in the middle of a character".to_owned());
            }
            None => return Ok((header, exchanges)),
            Some(Ok(value)) => value,
            Some(Err(error)) if error.is_eof() && header.made == RecordingOrigin::Recorded => {
                tracing::warn!("the recording ends in the middle of an exchange, which is omitted");
                return Ok((header, exchanges));
            }
            Some(Err(error)) => return Err(error.to_string()),
        };
        let exchange: Exchange =
            serde_json::from_value(value).map_err(|error| invalid(&error.to_string()))?;
        match (&exchange.request, &exchange.matching) {
            (Some(_), None) | (None, Some(_)) => {}
            _ => return Err(invalid("give either `request` or `match`")),
        }
        match (&exchange.completion, &exchange.error) {
            (Some(_), None) | (None, Some(_)) => {}
            _ => return Err(invalid("give either `completion` or `error`")),
        }
        exchanges.push(exchange);
    }
}

/// Returns the text of a recording. A character that was cut off at its end, as by a full disk, is
/// omitted.
pub fn text(bytes: &[u8]) -> Result<&str, String> {
    let whole = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    };
    std::str::from_utf8(whole).map_err(|_| "it is not UTF-8".to_owned())
}

/// Parses the header of a recording.
pub fn header(text: &str) -> Result<RecordingHeader, String> {
    const START: &str = "it does not start with a line such as \
         `{\"cellblock_recording\":1,\"made\":\"recorded\"}`";
    let first = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>().next();
    let value = first.and_then(Result::ok).ok_or(START)?;
    // Checked first: a later version may have other fields.
    match value.get("cellblock_recording").map(serde_json::Value::as_u64) {
        None => return Err(START.to_owned()),
        Some(Some(version)) if version == u64::from(VERSION) => {}
        Some(version) => {
            let version = version.map_or("unknown".to_owned(), |version| version.to_string());
            return Err(format!(
                "its version is {version}, but this program reads version {VERSION}; record again"
            ));
        }
    }
    serde_json::from_value(value).map_err(|error| format!("its header is invalid: {error}"))
}

/// Returns the number of the line on which the next value after a place starts.
fn line_at(text: &str, place: usize) -> usize {
    let (before, after) = text.split_at(place.min(text.len()));
    let space = &after[..after.len() - after.trim_start().len()];
    1 + before.matches('\n').count() + space.matches('\n').count()
}
