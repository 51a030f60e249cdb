//! An oracle: what holds of every file that is taken for a recording.
//!
//! It panics when an invariant is broken. The tests of this crate call it with bytes that proptest makes, a target in `fuzz/`
//! with bytes that libFuzzer makes.
#![allow(clippy::unwrap_used, reason = "an oracle panics when an invariant is broken")]

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use cellblock_agents::{Completion, ModelClient as _, ModelError, ModelMessage, ModelRequest};

use super::{Exchange, Made, Match, RecordedCompletion, RecordedError, Replay, player::parse};

#[cfg(test)]
mod tests;

/// A recording, as it is read and as it answers.
///
/// - An exchange that is written again as it was read is the same.
/// - Each exchange answers once; the first request is answered, and one that is not uses up nothing.
/// - What a model answered, or how it failed, is recorded and read as it was, as far as a recording tells it.
/// - A recording that is cut off anywhere after its first line has the exchanges before the cut.
pub fn recording(bytes: &[u8]) {
    let Ok((header, exchanges)) = parse(bytes) else { return };
    for exchange in &exchanges {
        assert!(exchange.request.is_some() != exchange.matching.is_some());
        assert!(exchange.completion.is_some() != exchange.error.is_some());
        let json = serde_json::to_string(exchange).unwrap();
        assert_eq!(serde_json::from_str::<Exchange>(&json).unwrap(), *exchange, "{json}");
    }
    let first_line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    if header.made == Made::Recorded && parse(&bytes[..first_line]).is_ok() {
        let rest = bytes.len() - first_line;
        for cut in [1, rest / 3, rest / 2, rest - rest.min(2)] {
            let (_, before) = parse(&bytes[..first_line + cut.min(rest)]).unwrap();
            assert!(exchanges.starts_with(&before));
        }
    }
    let Ok(replay) = Replay::from_text(std::str::from_utf8(bytes).unwrap_or_default()) else {
        return;
    };
    let answers: Vec<_> =
        exchanges.iter().map(|exchange| answer(&replay, &wished(exchange))).collect();
    assert!(answers.first().is_none_or(|answered| *answered));
    let answered = answers.iter().filter(|answered| **answered).count();
    assert_eq!(replay.left() + answered, exchanges.len());
}

/// A request that an exchange answers.
fn wished(exchange: &Exchange) -> ModelRequest {
    let Some(Match { last, system, any, from }) = &exchange.matching else {
        return exchange.request.clone().unwrap();
    };
    let content = [any.as_slice(), last].concat().join("\n").into();
    ModelRequest {
        system: system.join("\n"),
        messages: vec![ModelMessage::User { name: from.clone(), content }],
        ..ModelRequest::default()
    }
}

/// Checks that the answer to a request can be recorded, and that it uses up one exchange. Returns whether there was one.
fn answer(replay: &Replay, request: &ModelRequest) -> bool {
    let left = replay.left();
    let result = ask(replay, request);
    match &result {
        Ok(completion) => {
            let recorded = RecordedCompletion::from(completion);
            assert_eq!(recorded.completion("another"), *completion);
        }
        Err(ModelError::Unanswered(_)) => {
            assert_eq!(replay.left(), left);
            return false;
        }
        Err(error) => {
            let recorded = RecordedError::from(error);
            assert_eq!(RecordedError::from(&recorded.error("another")), recorded);
        }
    }
    assert_eq!(replay.left() + 1, left);
    true
}

/// A recording answers at once.
fn ask(replay: &Replay, request: &ModelRequest) -> Result<Completion, ModelError> {
    match pin!(replay.complete(request, None)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("a recording was waited for"),
    }
}
