//! A driver with a bug: a survivable error is survived, and any other is reported.

use std::{process::Command, time::Duration};

use cellblock_driver::DriverProgram;
use cellblock_exec::{
    Error, ExecutionRequest, ExecutionResult, Language, Limit, Outcome, Result, Session,
    with_causes,
};

use crate::{
    bare::{BareOptions, open_as},
    sessions::unlimited,
};

/// Opens a session whose driver has `fault` at the end of its program.
async fn open(fault: &str, restarts: bool) -> Box<dyn Session> {
    open_with(fault, BareOptions { restarts, ..BareOptions::default() }).await
}

async fn open_with(fault: &str, options: BareOptions) -> Box<dyn Session> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("driver");
    let compile = "import importlib.util, marshal, sys\ntext = sys.stdin.read()\n\
                   code = compile(text, '<cellblock>', 'exec')\n\
                   file = open(sys.argv[1], 'wb')\n\
                   file.write(importlib.util.MAGIC_NUMBER + marshal.dumps(code))";
    let text = directory.path().join("text");
    std::fs::write(&text, format!("{}\n{fault}\n", DriverProgram::text())).unwrap();
    let compiled = Command::new("/usr/bin/python3")
        .args(["-c", compile])
        .arg(&path)
        .stdin(std::fs::File::open(&text).unwrap())
        .status()
        .unwrap();
    assert!(compiled.success());
    let options = BareOptions { program: DriverProgram::stored_at(path), ..options };
    open_as(unlimited(), options).await.unwrap()
}

async fn run(
    session: &mut Box<dyn Session>,
    language: Language,
    code: &str,
) -> Result<ExecutionResult> {
    let wall = Some(Duration::from_secs(5));
    let request = ExecutionRequest { language, wall, ..ExecutionRequest::python(code) };
    session.execute(request).await
}

/// An error in reading output, before a block's end or at it, and one in sending files, end neither
/// driver nor block.
#[tokio::test]
async fn a_fault_in_one_event_is_survived() {
    let fault = "_faults = [1]\n_whole = _forward\ndef _forward(run, descriptor):\n    \
                 if _faults and _faults.pop(): raise KeyError('better')\n    \
                 return _whole(run, descriptor)\n\
                 _sent = _send_file\ndef _send_file(path, *more):\n    \
                 if path == b'bad.txt': raise KeyError('worse')\n    return _sent(path, *more)";
    let mut session = open(fault, false).await;
    let first = run(&mut session, Language::BASH, "echo one").await.unwrap();
    assert_eq!(first.stdout.text(), "one\n");
    // Files cannot be sent: the block has ended nevertheless, and its note says why.
    let second = run(&mut session, Language::PYTHON, "x = 1; open('bad.txt', 'w').close()");
    let second = second.await.unwrap();
    assert_eq!(second.outcome, Outcome::Exited { code: 0 });
    assert!(second.notes[0].contains("KeyError: 'worse'"), "{second:?}");
    let third = run(&mut session, Language::PYTHON, "print(x)").await.unwrap();
    assert_eq!((third.stdout.text().as_str(), third.state_lost), ("1\n", false));

    let fault = "_faults = [1]\n_whole = _forward\ndef _forward(run, descriptor):\n    \
                 if _faults and _faults.pop(): raise KeyError('at the end')\n    \
                 return _whole(run, descriptor)\n\
                 _event = _handle\ndef _handle(descriptor):\n    \
                 if _cell.run is not None and descriptor in _cell.run.outputs: return False\n    \
                 return _event(descriptor)";
    let mut session = open(fault, false).await;
    let first = run(&mut session, Language::BASH, "echo one").await.unwrap();
    assert_eq!(first.stdout.text(), "one\n");
    assert!(first.notes[0].contains("KeyError: 'at the end'"), "{first:?}");
    let second = run(&mut session, Language::BASH, "echo two").await.unwrap();
    assert_eq!((second.stdout.text(), second.notes.len()), ("two\n".to_owned(), 0));
}

/// Only the failing listener for a host is given up, and it is not used again later.
#[tokio::test]
async fn a_fault_in_listening_is_survived() {
    let fault = "def _accept(listener): raise KeyError('no connection')";
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let address = std::net::Ipv4Addr::new(127, 77, 0, 2);
    let relay = cellblock_driver::Relay { address, port, host: "127.0.0.1".to_owned() };
    let options = BareOptions { relays: vec![relay], ..BareOptions::default() };
    let mut session = open_with(fault, options).await;
    let code = format!(
        "import socket\ntry: print(socket.create_connection(('{address}', {port})).recv(1))\n\
         except ConnectionError: print('closed')"
    );
    let first = run(&mut session, Language::PYTHON, &code).await.unwrap();
    assert!(["closed\n", "b''\n"].contains(&first.stdout.text().as_str()), "{first:?}");
    for _ in 0..2 {
        let next = run(&mut session, Language::PYTHON, "print('alive')").await.unwrap();
        assert_eq!((next.stdout.text().as_str(), next.state_lost), ("alive\n", false));
    }
}

/// A driver that cannot continue says why, whether or not another one takes its place.
#[tokio::test]
async fn a_driver_that_fails_reports_the_reason() {
    let fault = "_whole = _begin\ndef _begin(number, language, *more):\n    \
                 why = '\\x1b[31mno idea\\n' + 'x' * 5000\n    \
                 if language == b'bash': raise LookupError(why)\n    \
                 return _whole(number, language, *more)";
    let mut session = open(fault, false).await;
    assert!(run(&mut session, Language::PYTHON, "x = 1").await.unwrap().outcome.is_success());
    let error = run(&mut session, Language::BASH, "echo").await.unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    let text = with_causes(&error);
    assert!(text.contains("LookupError:  [31mno idea") && text.len() < 3000, "{text}");
    assert!(text.contains("(_begin, line "), "{text}");

    let mut session = open(fault, true).await;
    run(&mut session, Language::PYTHON, "open('kept.txt', 'w').close()").await.unwrap();
    let result = run(&mut session, Language::BASH, "echo").await.unwrap();
    assert_eq!(result.outcome, Outcome::Signaled { signal: 9 }, "{result:?}");
    assert!(result.state_lost && result.notes[0].contains("LookupError"), "{result:?}");
    // Its replacement works on the same files.
    let code = "import os; print(os.listdir('.'))";
    let result = run(&mut session, Language::PYTHON, code).await.unwrap();
    assert_eq!(result.stdout.text(), "['kept.txt']\n");
}

/// A driver without memory means that the memory limit was met.
#[tokio::test]
async fn a_driver_without_memory_has_met_the_limit() {
    let fault = "_whole = _begin\ndef _begin(number, language, *more):\n    \
                 if language == b'bash': raise MemoryError\n    \
                 return _whole(number, language, *more)\n\
                 _put = _put_file\ndef _put_file(path, content):\n    \
                 if path == b'large.sh': raise MemoryError\n    _put(path, content)";
    for filename in [None, Some("large.sh".to_owned())] {
        let mut session = open(fault, false).await;
        let language = Language::BASH;
        let request = ExecutionRequest { language, filename, ..ExecutionRequest::python("echo") };
        let result = session.execute(request).await.unwrap();
        let expected = Outcome::LimitExceeded { limit: Limit::Memory };
        assert_eq!(result.outcome, expected, "{result:?}");
        assert!(result.state_lost && result.notes[0].contains("MemoryError"), "{result:?}");
        // The control: without another driver the session has ended, and says so.
        let error = run(&mut session, Language::PYTHON, "1").await.unwrap_err();
        assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    }
}

/// A driver that is killed is replaced where its files outlive it.
#[tokio::test]
async fn a_killed_driver_is_replaced() {
    let fault = "_whole = _begin\ndef _begin(number, language, *more):\n    \
                 if language == b'bash':\n        os._exit(9)\n    \
                 return _whole(number, language, *more)";
    let mut session = open(fault, true).await;
    let result = run(&mut session, Language::BASH, "echo").await.unwrap();
    assert_eq!(result.outcome, Outcome::Signaled { signal: 9 });
    assert!(result.notes[0].contains("was killed, or ended without a message"), "{result:?}");
    let result = run(&mut session, Language::PYTHON, "print('next')").await.unwrap();
    assert_eq!(result.stdout.text(), "next\n");
}

/// If no interpreter stays alive, a block soon ends and reports it; other languages continue.
#[tokio::test]
async fn a_worker_that_cannot_live_is_reported() {
    let fault = "_whole = _be_worker\ndef _be_worker(*ends):\n    \
                 if os.path.exists('broken'): os._exit(7)\n    _whole(*ends)";
    let mut session = open(fault, false).await;
    assert!(run(&mut session, Language::PYTHON, "x = 1").await.unwrap().outcome.is_success());
    let code = "open('broken', 'w').close()\nimport os\nos.kill(os.getpid(), 9)";
    run(&mut session, Language::PYTHON, code).await.unwrap();
    let result = run(&mut session, Language::PYTHON, "print(1)").await.unwrap();
    assert_eq!(result.outcome, Outcome::Exited { code: 7 }, "{result:?}");
    assert!(result.notes[0].contains("before it began"), "{result:?}");
    let result = run(&mut session, Language::BASH, "rm broken; echo shell").await.unwrap();
    assert_eq!(result.stdout.text(), "shell\n");
    let result = run(&mut session, Language::PYTHON, "print('again')").await.unwrap();
    assert_eq!(result.stdout.text(), "again\n");
}

/// An interpreter that cannot be started at all is reported with the error, too.
#[tokio::test]
async fn a_worker_that_cannot_be_started_is_reported() {
    let fault = "_whole = os.fork\ndef _fork():\n    \
                 if os.path.exists('full'): raise BlockingIOError(11, 'too many')\n    \
                 return _whole()\nclass _Os:\n    def __getattr__(self, name):\n        \
                 return _fork if name == 'fork' else getattr(_os, name)\n_os, os = os, _Os()";
    let mut session = open(fault, false).await;
    let code = "open('full', 'w').close()\nimport os\nos.kill(os.getpid(), 9)";
    run(&mut session, Language::PYTHON, code).await.unwrap();
    let result = run(&mut session, Language::PYTHON, "print(1)").await.unwrap();
    assert_eq!(result.outcome, Outcome::Exited { code: 126 }, "{result:?}");
    assert!(result.notes[0].contains("could not be started: too many"), "{result:?}");
    let result = run(&mut session, Language::BASH, "rm full").await.unwrap();
    assert!(result.outcome.is_success());
    let result = run(&mut session, Language::PYTHON, "print('again')").await.unwrap();
    assert_eq!(result.stdout.text(), "again\n");
}
