//! Programs that call functions of the host through the control device, correctly or not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cellblock_exec::{HostFunction, HostTools, Limit, Outcome};
use serde_json::{Map, Value};

use super::guest::{BYTES, Program, TestBed};
use crate::{fs::Errno, turn::TurnBounds};

const MAX_WALL: Duration = Duration::from_secs(10);
/// Addresses in the memory of the programs below: the number of bytes that a call moved, and the
/// bytes that it read.
const COUNT: u64 = 0x9000;
const BUFFER: u64 = 0xA000;
/// The descriptor of the control device once it is opened: the first free number.
const CONTROL: u64 = 4;

/// Offers `one`, which returns 1, and `wait`, which never ends.
#[derive(Debug, Default)]
struct Tools {
    called: AtomicUsize,
    dropped: AtomicUsize,
}

struct Guard<'t>(&'t AtomicUsize);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl HostTools for Tools {
    fn functions(&self) -> Vec<HostFunction> {
        let parameters = Value::Object(Map::new());
        ["one", "wait"]
            .map(|name| HostFunction {
                name: name.into(),
                description: String::new(),
                parameters: parameters.clone(),
            })
            .to_vec()
    }

    async fn call(&self, name: &str, _arguments: Map<String, Value>) -> Result<Value, String> {
        self.called.fetch_add(1, Ordering::SeqCst);
        if name == "wait" {
            let _guard = Guard(&self.dropped);
            std::future::pending::<()>().await;
        }
        Ok(1.into())
    }
}

/// Returns a program that has opened the control device.
fn program() -> Program {
    let mut program = Program::default();
    let name = program.data(b"control");
    program.call("path_open", &[3, 0, name, 7, 0, 1 << 1 | 1 << 6, 0, 0, 0x8000])
}

/// Adds a question in one piece to the program.
fn ask(mut program: Program, question: &[u8]) -> Program {
    let at = program.data(question);
    let vector = program.words(&[at, question.len() as u64]);
    program.call("fd_write", &[CONTROL, vector, 1, COUNT])
}

fn read(mut program: Program) -> Program {
    let vector = program.words(&[BUFFER, 100]);
    program.store(BUFFER, 0).store(COUNT, 99).call("fd_read", &[CONTROL, vector, 1, COUNT])
}

fn bounds(wall: Duration) -> TurnBounds {
    TurnBounds { wall, cpu: None, cancel: Default::default() }
}

#[tokio::test]
async fn questions_are_answered_once_and_only_when_asked() {
    let bench = TestBed::new(None);
    let one = b"c[\"one\",{}]";
    let kind = |program: Program| read(program).load(BUFFER);
    let length = |program: Program| read(program).load(COUNT);
    let (value, error) = (i32::from(b'v'), i32::from(b'e'));
    let refusal = "ethis block cannot call host functions".len() as i32;
    // The exit code with a grant and without one, and the number of calls that the program makes.
    for (what, program, granted, denied, calls) in [
        ("nothing is asked", length(program()), 0, 0, 0),
        ("a call", kind(ask(program(), one)), value, error, 1),
        ("its length", length(ask(program(), one)), 2, refusal, 1),
        ("read again", length(read(ask(program(), one))), 0, 0, 1),
        ("the list", kind(ask(program(), b"l")), value, value, 0),
        ("asked but not read", ask(program(), one), 0, 0, 0),
        ("asked twice", kind(ask(ask(program(), one), one)), value, error, 1),
        ("one after another", kind(ask(read(ask(program(), one)), one)), value, error, 2),
        ("what is not offered", kind(ask(program(), b"c[\"two\",{}]")), error, error, 0),
        ("nonsense", kind(ask(program(), b"\0\xff")), error, error, 0),
        (
            "a status after a question",
            kind(ask(ask(program(), one), b"{\"code\": \"x\"}")),
            value,
            error,
            1,
        ),
    ] {
        for (grant, expected) in [(true, granted), (false, denied)] {
            let tools = Arc::new(Tools::default());
            let mut slot = bench.slot().await;
            let offered = grant.then(|| tools.clone() as Arc<dyn HostTools>);
            let ended = bench.run_calling(&mut slot, &program, &bounds(MAX_WALL), offered).await;
            assert_eq!(ended.outcome, Outcome::Exited { code: expected }, "{what}, {grant}");
            assert_eq!(
                tools.called.load(Ordering::SeqCst),
                if grant { calls } else { 0 },
                "{what}"
            );
            assert!(bench.is_reused(slot).await, "{what}");
        }
    }
}

#[tokio::test]
async fn nothing_of_a_question_outlives_its_turn() {
    let bench = TestBed::new(None);
    let tools = Arc::new(Tools::default());
    let mut slot = bench.slot().await;
    let asked = ask(program(), b"c[\"one\",{}]");
    bench.run_calling(&mut slot, &asked, &bounds(MAX_WALL), Some(tools.clone())).await;
    // The device is still open.
    let next = read(Program::default()).load(COUNT);
    let ended = bench.run_calling(&mut slot, &next, &bounds(MAX_WALL), Some(tools.clone())).await;
    assert_eq!(ended.outcome, Outcome::Exited { code: 0 });
    // The control: within one turn there is an answer.
    let both = read(ask(Program::default(), b"c[\"one\",{}]")).load(COUNT);
    let ended = bench.run_calling(&mut slot, &both, &bounds(MAX_WALL), Some(tools.clone())).await;
    assert_eq!(
        (ended.outcome, tools.called.load(Ordering::SeqCst)),
        (Outcome::Exited { code: 2 }, 1)
    );
}

#[tokio::test]
async fn a_call_ends_with_its_turn() {
    let bench = TestBed::new(None);
    let tools = Arc::new(Tools::default());
    let waiting = read(ask(program(), b"c[\"wait\",{}]"));
    let mut slot = bench.slot().await;
    let wall = Duration::from_millis(100);
    let ended = bench.run_calling(&mut slot, &waiting, &bounds(wall), Some(tools.clone())).await;
    assert_eq!(ended.outcome, Outcome::LimitExceeded { limit: Limit::Wall });
    assert_eq!(tools.dropped.load(Ordering::SeqCst), 1);
    assert!(bench.is_reused(slot).await);

    let mut slot = bench.slot().await;
    let limits = bounds(MAX_WALL);
    let run = bench.run_calling(&mut slot, &waiting, &limits, Some(tools.clone()));
    let dropped = tokio::time::timeout(wall, run).await.is_err();
    assert!(dropped);
    assert_eq!(tools.dropped.load(Ordering::SeqCst), 2);
    assert!(bench.is_reused(slot).await);
}

#[tokio::test]
async fn what_is_asked_takes_bounded_memory_and_time() {
    let bench = TestBed::new(None);
    let tools = Arc::new(Tools::default());
    let mut long = program();
    let vectors = long.words(&[0, BYTES].repeat(1024));
    // Only the first of many vectors is written; the result says so, and the guest could continue.
    let mut slot = bench.slot().await;
    let taken = long.clone().call("fd_write", &[CONTROL, vectors, 1024, COUNT]).load(COUNT + 3);
    let ended = bench.run_calling(&mut slot, &taken, &bounds(MAX_WALL), Some(tools.clone())).await;
    assert_eq!(ended.outcome, Outcome::Exited { code: (BYTES >> 24) as i32 });
    assert!(
        slot.store.data().turn.question.as_ref().is_some_and(|question| question.len() < 9 << 20)
    );
    assert!(bench.is_reused(slot).await);

    // A question that is too long is asked without end. It does not begin like a status.
    let endless =
        long.store(0, b'c').repeat(1 << 30).call("fd_write", &[CONTROL, vectors, 1024, COUNT]);
    let mut slot = bench.slot().await;
    let wall = Duration::from_millis(300);
    let ended = bench.run_calling(&mut slot, &endless, &bounds(wall), Some(tools.clone())).await;
    assert_eq!(ended.outcome, Outcome::LimitExceeded { limit: Limit::Wall });
    assert!(ended.wall < wall + Duration::from_secs(2), "{:?}", ended.wall);
    assert!(bench.is_reused(slot).await);

    let mut wrong = program();
    let outside = wrong.words(&[BYTES - 1, 100]);
    for call in [
        wrong.clone().call("fd_write", &[CONTROL, outside, 1, COUNT]),
        ask(wrong.clone(), b"l").call("fd_read", &[CONTROL, outside, 1, COUNT]),
        ask(wrong, b"l").call("fd_read", &[CONTROL, BYTES - 4, 1, COUNT]),
    ] {
        let mut slot = bench.slot().await;
        let ended =
            bench.run_calling(&mut slot, &call, &bounds(MAX_WALL), Some(tools.clone())).await;
        assert_eq!(ended.outcome, Outcome::Exited { code: Errno::Fault as i32 });
        assert!(bench.is_reused(slot).await);
    }
    assert_eq!(tools.called.load(Ordering::SeqCst), 0);
}
