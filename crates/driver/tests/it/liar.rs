//! A driver that is not ours, and asks the host anything.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use cellblock_driver::{Cell, CellInstall, DriverProgram, DriverSession, DriverStream, Setup};
use cellblock_exec::{
    Error, ExecutionRequest, HostFunction, HostTools, Isolation, Limit, Limits, Outcome,
    Requirement, Result, Session as _,
};
use serde_json::{Map, Value};
use tokio::io::{
    AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split,
};

#[derive(Debug)]
struct NoCell;

#[async_trait]
impl Cell for NoCell {
    fn kill(&mut self) {}

    async fn install(&mut self, _packages: &[Requirement]) -> Result<CellInstall> {
        Err(Error::Unsupported("nothing can be installed here".into()))
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// Offers `count`, which returns the number of its calls.
#[derive(Debug, Default)]
struct Counter(AtomicUsize);

#[async_trait]
impl HostTools for Counter {
    fn functions(&self) -> Vec<HostFunction> {
        let parameters = Value::Object(Map::new());
        vec![HostFunction { name: "count".into(), description: String::new(), parameters }]
    }

    async fn call(
        &self,
        _name: &str,
        _arguments: Map<String, Value>,
    ) -> std::result::Result<Value, String> {
        Ok((self.0.fetch_add(1, Ordering::SeqCst) + 1).into())
    }
}

/// Kinds of messages, as in `protocol.rs`, which is private.
const RUN: u8 = b'r';
const HELLO: u8 = b'h';
const ENDED: u8 = b'd';
const QUESTION: u8 = b'q';
const ANSWER: u8 = b'n';

fn message(kind: u8, fields: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for field in fields {
        body.extend_from_slice(&(field.len() as u32).to_le_bytes());
        body.extend_from_slice(field);
    }
    [&[kind][..], &(body.len() as u32).to_le_bytes(), &body].concat()
}

/// Returns the next message of the host: its kind and fields.
async fn receive(reader: &mut ReadHalf<DuplexStream>) -> (u8, Vec<Vec<u8>>) {
    let kind = reader.read_u8().await.unwrap();
    let mut body = vec![0; reader.read_u32_le().await.unwrap() as usize];
    reader.read_exact(&mut body).await.unwrap();
    let (mut fields, mut rest) = (Vec::new(), body.as_slice());
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (field, next) = after.split_at(u32::from_le_bytes(*length) as usize);
        fields.push(field.to_vec());
        rest = next;
    }
    (kind, fields)
}

/// Starts a session, and returns it with its driver's ends of the stream.
async fn session() -> (DriverSession, ReadHalf<DuplexStream>, WriteHalf<DuplexStream>) {
    let (host, driver) = duplex(1 << 16);
    let (host_reader, host_writer) = split(host);
    let (mut reader, mut writer) = split(driver);
    let setup = Setup {
        executor: "liar",
        isolation: Isolation::None,
        limits: Limits::default(),
        environment: Default::default(),
        files: Vec::new(),
        relays: Vec::new(),
        packages: None,
        watched: Vec::new(),
        memory_is_refused: false,
        program: DriverProgram::new(),
    };
    let up = async {
        // The driver's program.
        reader.read_u8().await.unwrap();
        let mut program = vec![0; reader.read_u32_le().await.unwrap() as usize];
        reader.read_exact(&mut program).await.unwrap();
        writer.write_all(&message(HELLO, &[b"3.0"])).await.unwrap();
    };
    let stream = DriverStream { reader: Box::new(host_reader), writer: Box::new(host_writer) };
    let (session, ()) = tokio::join!(DriverSession::start(NoCell, stream, setup), up);
    (session.unwrap(), reader, writer)
}

#[tokio::test]
async fn questions_are_answered_for_the_block_that_runs() {
    let (mut session, mut reader, mut writer) = session().await;
    let counter = Arc::new(Counter::default());
    let call = b"c[\"count\",{}]";
    let driver = async {
        let (kind, fields) = receive(&mut reader).await;
        assert_eq!((kind, fields[0].as_slice()), (RUN, b"1".as_slice()));
        // Questions of no block, of another one, without content, of a function not offered; then
        // a valid one.
        for fields in [
            &[b"".as_slice(), b"1", call][..],
            &[b"2", b"2", call],
            &[b"0", b"3", call],
            &[b"1"],
            &[b"1", b"4", b"c[\"other\",{}]"],
            &[b"1", b"5", call],
        ] {
            writer.write_all(&message(QUESTION, fields)).await.unwrap();
        }
        loop {
            let (kind, fields) = receive(&mut reader).await;
            assert_eq!(kind, ANSWER);
            if fields[0] == b"5" {
                break assert_eq!(fields[1], b"v1");
            }
            assert_eq!(fields[1][0], b'e', "{fields:?}");
        }
        // A block that has ended asks nothing.
        let ended = message(ENDED, &[b"1", b"0"]);
        writer.write_all(&[ended, message(QUESTION, &[b"1", b"6", call])].concat()).await.unwrap();
    };
    let request =
        ExecutionRequest { host: Some(counter.clone()), ..ExecutionRequest::python("pass") };
    let (result, ()) = tokio::join!(session.execute(request), driver);
    assert_eq!(result.unwrap().outcome, Outcome::Exited { code: 0 });
    let driver = async {
        receive(&mut reader).await;
        writer.write_all(&message(QUESTION, &[b"2", b"7", call])).await.unwrap();
        let (kind, fields) = receive(&mut reader).await;
        assert_eq!(
            (kind, fields[0].as_slice(), fields[1][0]),
            (ANSWER, b"7".as_slice(), b'e'),
            "this block has no grant"
        );
        writer.write_all(&message(ENDED, &[b"2", b"0"])).await.unwrap();
    };
    let (result, ()) = tokio::join!(session.execute(ExecutionRequest::python("pass")), driver);
    assert!(result.unwrap().outcome.is_success());
    assert_eq!(counter.0.load(Ordering::SeqCst), 1);
}

/// Questions without end hide neither the deadline nor the end of the time that a driver has to
/// stop its block.
#[tokio::test]
async fn questions_without_end_are_stopped() {
    let (mut session, reader, mut writer) = session().await;
    let counter = Arc::new(Counter::default());
    let flood = message(QUESTION, &[b"1", b"1", b"c[\"count\",{}]"]).repeat(1000);
    // It never reads: `reader` is only kept.
    let driver = async { while writer.write_all(&flood).await.is_ok() {} };
    let start = Instant::now();
    let wall = Some(Duration::from_secs(1));
    let request =
        ExecutionRequest { host: Some(counter.clone()), wall, ..ExecutionRequest::python("pass") };
    let result = tokio::select! {
        result = session.execute(request) => result.unwrap(),
        () = driver => panic!("the stream has ended"),
    };
    assert_eq!(result.outcome, Outcome::LimitExceeded { limit: Limit::Wall });
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    drop(reader);
}
