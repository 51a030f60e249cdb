//! An oracle for recordings: a function that takes any bytes and panics if an invariant is broken.
//!
//! The tests of this crate call it with bytes from proptest, a target in `fuzz/` with bytes from
//! libFuzzer.
#![allow(clippy::unwrap_used, reason = "an oracle panics when an invariant is broken")]

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use cellblock_agents::{Completion, ModelClient as _, ModelError, ModelMessage, ModelRequest};

use super::{
    format::{Exchange, RecordedCompletion, RecordedError, RecordingOrigin, RequestPattern},
    parse,
    player::Replay,
};

#[cfg(test)]
mod tests;

/// Checks a recording while it is parsed and while it answers.
///
/// - An exchange that is serialized and parsed again is the same.
/// - Each exchange answers once. The first request is answered, and a request without an answer
///   uses no exchange.
/// - An answer or a failure that is recorded and parsed again is the same, as far as a recording
///   holds it.
/// - A recording that is cut off anywhere after its first line has the exchanges before the cut.
pub fn recording(bytes: &[u8]) {
    let Ok((header, exchanges)) = parse::recording(bytes) else { return };
    for exchange in &exchanges {
        assert!(exchange.request.is_some() != exchange.matching.is_some());
        assert!(exchange.completion.is_some() != exchange.error.is_some());
        let json = serde_json::to_string(exchange).unwrap();
        assert_eq!(serde_json::from_str::<Exchange>(&json).unwrap(), *exchange, "{json}");
    }
    let first_line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    if header.made == RecordingOrigin::Recorded && parse::recording(&bytes[..first_line]).is_ok() {
        let rest = bytes.len() - first_line;
        for cut in [1, rest / 3, rest / 2, rest - rest.min(2)] {
            let (_, before) = parse::recording(&bytes[..first_line + cut.min(rest)]).unwrap();
            assert!(exchanges.starts_with(&before));
        }
    }
    let Ok(replay) = Replay::from_text(std::str::from_utf8(bytes).unwrap_or_default()) else {
        return;
    };
    let answers: Vec<_> = exchanges
        .iter()
        .map(|exchange| check_answer(&replay, &matching_request(exchange)))
        .collect();
    assert!(answers.first().is_none_or(|answered| *answered));
    let answered = answers.iter().filter(|answered| **answered).count();
    assert_eq!(replay.remaining() + answered, exchanges.len());
}

/// Returns a request that an exchange answers.
fn matching_request(exchange: &Exchange) -> ModelRequest {
    let Some(RequestPattern { last, system, any, from }) = &exchange.matching else {
        return exchange.request.clone().unwrap();
    };
    let content = [any.as_slice(), last].concat().join("\n").into();
    ModelRequest {
        system: system.join("\n"),
        messages: vec![ModelMessage::User { name: from.clone(), content }],
        ..ModelRequest::default()
    }
}

/// Checks that the answer to a request can be recorded, and that it uses one exchange. Returns true
/// if there was an answer.
fn check_answer(replay: &Replay, request: &ModelRequest) -> bool {
    let before = replay.remaining();
    let result = complete(replay, request);
    match &result {
        Ok(completion) => {
            let recorded = RecordedCompletion::from(completion);
            assert_eq!(recorded.completion("another"), *completion);
        }
        Err(ModelError::Unanswered(_)) => {
            assert_eq!(replay.remaining(), before);
            return false;
        }
        Err(error) => {
            let recorded = RecordedError::from(error);
            assert_eq!(RecordedError::from(&recorded.error("another")), recorded);
        }
    }
    assert_eq!(replay.remaining() + 1, before);
    true
}

/// Returns the answer to a request; a recording has it at once.
fn complete(replay: &Replay, request: &ModelRequest) -> Result<Completion, ModelError> {
    match pin!(replay.complete(request, None)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("the recording did not answer at once"),
    }
}
