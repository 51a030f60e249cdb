//! Connections to granted hosts that end early, all at once, or never.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cellblock_driver::Relay;
use cellblock_exec::{ExecutionRequest, ExecutionResult, Outcome, Session};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    bare::{BareOptions, open_as},
    sessions::unlimited,
};

/// The address in the cell that stands for the host.
const INSIDE: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 1);

/// A server, and the number of its connections: open ones and all so far.
struct Server {
    address: SocketAddr,
    open: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
}

impl Server {
    /// Serves each connection with `serve`.
    async fn start<F>(serve: fn(TcpStream) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (now, ever) = (open.clone(), all.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                now.fetch_add(1, Ordering::SeqCst);
                ever.fetch_add(1, Ordering::SeqCst);
                let now = now.clone();
                tokio::spawn(async move {
                    serve(stream).await;
                    now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, open, all }
    }

    /// Opens a session whose programs may reach it.
    async fn session(&self) -> Box<dyn Session> {
        let port = self.address.port();
        let relay = Relay { address: INSIDE, port, host: "127.0.0.1".to_owned() };
        let options = BareOptions { relays: vec![relay], ..BareOptions::default() };
        open_as(unlimited(), options).await.unwrap()
    }
}

/// Sends without end.
async fn flood(mut stream: TcpStream) {
    let piece = vec![b'x'; 100_000];
    while stream.write_all(&piece).await.is_ok() {}
}

/// Sends nothing, and waits for the end.
async fn wait(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// Sends back all bytes.
async fn echo(mut stream: TcpStream) {
    let (mut reader, mut writer) = stream.split();
    let _ = tokio::io::copy(&mut reader, &mut writer).await;
}

async fn run(session: &mut Box<dyn Session>, server: &Server, code: &str) -> ExecutionResult {
    let place = ("127.77.0.1", server.address.port());
    let code = format!(
        "import socket, struct, time\ndef connect(): return socket.create_connection({place:?})\n\
         def reset(s):\n    now = struct.pack('ii', 1, 0)\n    \
         s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)\n    \
         s.close()\n{code}"
    );
    let wall = Some(Duration::from_secs(20));
    let request = ExecutionRequest { wall, ..ExecutionRequest::python(code) };
    session.execute(request).await.unwrap()
}

async fn succeed(session: &mut Box<dyn Session>, server: &Server, code: &str) -> String {
    let result = run(session, server, code).await;
    assert_eq!(result.outcome, Outcome::Exited { code: 0 }, "{code}: {result:?}");
    result.stdout.text()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within five seconds: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_may_be_closed_early() {
    let server = Server::start(flood).await;
    let mut session = server.session().await;
    // With unread data, which resets the connection; while data arrives; before any; and with the
    // socket still held elsewhere.
    let code = "kept = 1\nfor pause in (0.2, 0.0, 0.2, 0.01, 0.0, 0.05):\n    s = connect()\n    \
                n = len(s.recv(100))\n    time.sleep(pause)\n    s.close()\n\
                for pause in (0.1, 0.0):\n    s = connect()\n    time.sleep(pause)\n    reset(s)\n\
                s = connect()\ns.shutdown(socket.SHUT_RD)\ntime.sleep(0.1)\ns.close()\n\
                time.sleep(0.2)\nprint('done', n)";
    assert_eq!(succeed(&mut session, &server, code).await, "done 100\n");
    assert_eq!(
        succeed(&mut session, &server, "print('still there', kept)").await,
        "still there 1\n"
    );
    // Nothing remains on the host either.
    eventually("all connections are closed", || server.open.load(Ordering::SeqCst) == 0).await;
    // The control: a download continues as long as it is read.
    let code =
        "s = connect()\nn = 0\nwhile n < 5_000_000: n += len(s.recv(1 << 16))\nprint('read')";
    assert_eq!(succeed(&mut session, &server, code).await, "read\n");
}

/// Connections that a program has closed are closed on the host, where each holds a socket.
#[tokio::test(flavor = "multi_thread")]
async fn closed_connections_are_closed_on_the_host() {
    let server = Server::start(wait).await;
    let mut session = server.session().await;
    let code = "for _ in range(600):\n    reset(connect())\ns = connect()\ntime.sleep(0.5)\n\
                print('done')";
    assert_eq!(succeed(&mut session, &server, code).await, "done\n");
    eventually("one is open", || server.open.load(Ordering::SeqCst) == 1).await;
    assert!(server.all.load(Ordering::SeqCst) > 100);
}

/// Bytes that a program sent before it closed its connection arrive.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_before_a_close_arrives() {
    static RECEIVED: AtomicUsize = AtomicUsize::new(0);
    async fn count(mut stream: TcpStream) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            RECEIVED.fetch_add(read, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let server = Server::start(count).await;
    let mut session = server.session().await;
    let code = "s = connect()\ns.sendall(b'x' * 3_000_000)\ns.close()\nprint('sent')";
    assert_eq!(succeed(&mut session, &server, code).await, "sent\n");
    succeed(&mut session, &server, "time.sleep(1)").await;
    eventually("all of it has come", || RECEIVED.load(Ordering::SeqCst) == 3_000_000).await;
}

/// A program that opens as many connections as it can takes no descriptor that the driver needs for
/// blocks.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_leaves_room_for_blocks() {
    let server = Server::start(echo).await;
    let mut session = server.session().await;
    let code = "kept = []\n\
                for _ in range(1500):\n    s = socket.socket()\n    s.setblocking(False)\n    \
                s.connect_ex(('127.77.0.1', PORT))\n    kept.append(s)\n    \
                if len(kept) % 100 == 0: time.sleep(0.1)\nprint(len(kept))";
    let code = code.replace("PORT", &server.address.port().to_string());
    assert_eq!(succeed(&mut session, &server, &code).await, "1500\n");
    for _ in 0..3 {
        let request = ExecutionRequest {
            language: cellblock_exec::Language::BASH,
            ..ExecutionRequest::python("echo shell")
        };
        assert_eq!(session.execute(request).await.unwrap().stdout.text(), "shell\n");
    }
    // The control: once they are closed, others are accepted.
    let code = "for s in kept: s.close()\ntime.sleep(0.5)\ns = connect()\ns.sendall(b'ping')\n\
                print(s.recv(4))";
    assert_eq!(succeed(&mut session, &server, code).await, "b'ping'\n");
}
