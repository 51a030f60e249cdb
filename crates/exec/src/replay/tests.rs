//! The replay of recorded calls.

#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

/// Answers with the number of calls so far, fails at the name `fail`, and never answers at `pay`.
#[derive(Debug, Default)]
struct Counter(Mutex<u64>);

#[async_trait]
impl HostTools for Counter {
    fn functions(&self) -> Vec<HostFunction> {
        Vec::new()
    }

    async fn call(&self, name: &str, _arguments: Map<String, Value>) -> Result<Value, String> {
        *self.0.lock() += 1;
        match name {
            "fail" => Err("no".to_owned()),
            "pay" => std::future::pending().await,
            _ => Ok((*self.0.lock()).into()),
        }
    }
}

async fn call(replay: &HostReplay, name: &str, arguments: Value) -> Result<Value, String> {
    replay.call(name, arguments.as_object().unwrap().clone()).await
}

#[tokio::test]
async fn equal_calls_get_their_answers_in_any_order_and_each_once() {
    let counter = Arc::new(Counter::default());
    let replay = HostReplay::new(counter.clone(), MAX_REPLAY_BYTES);
    for arguments in [json!({"x": 1, "y": 2}), json!({"x": 2}), json!({"y": 2, "x": 1})] {
        call(&replay, "count", arguments).await.unwrap();
    }
    call(&replay, "fail", json!({})).await.unwrap_err();
    for new_calls in [NewCalls::Refuse, NewCalls::Forward] {
        replay.rerun(new_calls);
        assert_eq!(call(&replay, "fail", json!({})).await, Err("no".to_owned()));
        assert_eq!(call(&replay, "count", json!({"x": 2})).await, Ok(2.into()));
        assert_eq!(call(&replay, "count", json!({"x": 1, "y": 2})).await, Ok(1.into()));
        assert!(!replay.is_faithful(), "one call is missing");
        assert_eq!(call(&replay, "count", json!({"x": 1, "y": 2})).await, Ok(3.into()));
        assert!(replay.is_faithful());
    }
    assert_eq!(*counter.0.lock(), 4);

    assert_eq!(call(&replay, "count", json!({"x": 2})).await, Ok(5.into()), "a new call");
    replay.rerun(NewCalls::Refuse);
    assert_eq!(call(&replay, "count", json!({"x": 2})).await, Ok(2.into()));
    assert_eq!(call(&replay, "count", json!({"x": 2})).await, Ok(5.into()));
    let refused = call(&replay, "count", json!({"x": 2})).await.unwrap_err();
    assert!(refused.contains("did not make this call before"), "{refused}");
    assert!(!replay.is_faithful());
    assert_eq!(*counter.0.lock(), 5);
}

#[tokio::test]
async fn calls_beyond_the_bound_are_not_replayed_in_part() {
    let counter = Arc::new(Counter::default());
    let replay = HostReplay::new(counter.clone(), 1000);
    call(&replay, "count", json!({})).await.unwrap();
    assert!(replay.is_complete() && replay.bytes() > 100);
    call(&replay, "count", json!({"text": "x".repeat(1000)})).await.unwrap();
    assert!(!replay.is_complete() && replay.bytes() == 0);
    replay.rerun(NewCalls::Forward);
    let refused = call(&replay, "count", json!({})).await.unwrap_err();
    assert!(refused.contains("too large"), "{refused}");
    assert_eq!(*counter.0.lock(), 2);
}

#[tokio::test]
async fn a_call_that_ended_without_an_answer_is_not_made_again() {
    let counter = Arc::new(Counter::default());
    let replay = HostReplay::new(counter.clone(), MAX_REPLAY_BYTES);
    for _ in 0..2 {
        let pay = call(&replay, "pay", json!({"usd": 1}));
        assert!(tokio::time::timeout(std::time::Duration::from_millis(1), pay).await.is_err());
    }
    replay.rerun(NewCalls::Forward);
    for _ in 0..2 {
        let refused = call(&replay, "pay", json!({"usd": 1})).await.unwrap_err();
        assert!(refused.contains("ended before the answer came"), "{refused}");
    }
    assert_eq!(*counter.0.lock(), 2);
    // The control: a third call is a new one.
    let pay = call(&replay, "pay", json!({"usd": 1}));
    assert!(tokio::time::timeout(std::time::Duration::from_millis(1), pay).await.is_err());
    assert_eq!(*counter.0.lock(), 3);
}

/// Answers with its argument `x`.
#[derive(Debug)]
struct Echo;

#[async_trait]
impl HostTools for Echo {
    fn functions(&self) -> Vec<HostFunction> {
        Vec::new()
    }

    async fn call(&self, _name: &str, arguments: Map<String, Value>) -> Result<Value, String> {
        Ok(arguments["x"].clone())
    }
}

#[tokio::test]
async fn numbers_are_replayed_exactly() {
    let replay = HostReplay::new(Arc::new(Echo), MAX_REPLAY_BYTES);
    // A fast parser reads the first one with another last digit.
    let numbers = [0.361_915_767_085_922_77, 0.1 + 0.2, 1e-310, f64::MAX, -0.0];
    for run in 0..2 {
        for number in numbers {
            let answer = call(&replay, "echo", json!({ "x": number })).await.unwrap();
            assert_eq!(answer.as_f64().unwrap().to_bits(), number.to_bits(), "run {run}");
        }
        replay.rerun(NewCalls::Refuse);
    }
    assert!(!replay.is_faithful(), "the last run made no call");
}
