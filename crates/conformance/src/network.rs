//! The network access of a program, against a listener of the case itself.

use std::{
    net::{TcpListener, UdpSocket},
    time::Duration,
};

use crate::steps::{assert_outcome, limits, open, open_spec, run};
use cellblock_exec::{Error, Executor, HostRule, Isolation, Network, Outcome, SessionSpec};

/// Connects, and sends a datagram, by every common way; it tells nothing.
fn program(tcp: u16, udp: u16) -> String {
    format!(
        r"
def attempt(act):
    try:
        act()
    except BaseException:
        pass
def connect():
    import socket
    socket.create_connection(('127.0.0.1', {tcp}), timeout=2).close()
def connect_by_name():
    import socket
    socket.create_connection(('localhost', {tcp}), timeout=2).close()
def datagram():
    import socket
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {udp}))
def fetch():
    import urllib.request
    urllib.request.urlopen('http://127.0.0.1:{tcp}/', timeout=2).read()
for act in (connect, connect_by_name, datagram, fetch):
    attempt(act)
"
    )
}

/// A listener and a socket on this machine.
fn listen() -> (TcpListener, UdpSocket, u16, u16) {
    let make = || -> std::io::Result<_> {
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        tcp.set_nonblocking(true)?;
        udp.set_nonblocking(true)?;
        let ports = (tcp.local_addr()?.port(), udp.local_addr()?.port());
        Ok((tcp, udp, ports.0, ports.1))
    };
    match make() {
        Ok(made) => made,
        Err(error) => panic!("cannot listen on this machine: {error}"),
    }
}

/// By default nothing is reached: neither the listener nor the socket hears of the program. The
/// control is a connection that the case makes itself.
pub async fn network_is_denied(executor: &dyn Executor) {
    let (tcp, udp, tcp_port, udp_port) = listen();
    let result = run(open(executor).await.as_mut(), &program(tcp_port, udp_port)).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    let reached = (tcp.accept().is_ok(), udp.recv(&mut [0; 8]).is_ok());
    if executor.capabilities().isolation == Isolation::None {
        assert_eq!(reached, (true, true), "an ordinary process reaches what its user reaches");
    } else {
        assert_eq!(reached, (false, false), "the program reached (TCP, UDP)");
    }
    let control = std::net::TcpStream::connect(("127.0.0.1", tcp_port));
    assert!(control.is_ok() && udp.send_to(b"x", ("127.0.0.1", udp_port)).is_ok());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(tcp.accept().is_ok() && udp.recv(&mut [0; 8]).is_ok(), "the listener does not work");
}

/// Where grants are claimed, an allowed host and port is reached and another port is not; elsewhere
/// a grant is refused.
pub async fn network_can_be_granted(executor: &dyn Executor) {
    let (allowed, _, allowed_port, _) = listen();
    let (other, _, other_port, udp_port) = listen();
    let rule = HostRule { host: "127.0.0.1".into(), port: Some(allowed_port) };
    let spec = SessionSpec {
        limits: limits(executor),
        network: Network::Allow(vec![rule]),
        ..SessionSpec::default()
    };
    if !executor.capabilities().network {
        match executor.open(spec).await {
            Err(Error::Unsupported(_)) => return,
            other => panic!("a grant that cannot be given gave {other:?}"),
        }
    }
    let mut session = open_spec(executor, spec).await;
    assert_outcome(
        &run(session.as_mut(), &program(allowed_port, udp_port)).await,
        &Outcome::Exited { code: 0 },
    );
    assert!(allowed.accept().is_ok(), "the allowed port was not reached");
    assert_outcome(
        &run(session.as_mut(), &program(other_port, udp_port)).await,
        &Outcome::Exited { code: 0 },
    );
    assert!(other.accept().is_err(), "a port that was not allowed was reached");
}

/// A granted connection carries data in both directions, more than any buffer holds, and its end.
pub async fn granted_connections_carry_data(executor: &dyn Executor) {
    if !executor.capabilities().network {
        return;
    }
    let (listener, _, port, _) = listen();
    let echo = std::thread::spawn(move || -> std::io::Result<u64> {
        listener.set_nonblocking(false)?;
        let (mut stream, _) = listener.accept()?;
        let mut writer = stream.try_clone()?;
        let copied = std::io::copy(&mut stream, &mut writer)?;
        writer.shutdown(std::net::Shutdown::Write)?;
        Ok(copied)
    });
    let rules = vec![HostRule { host: "localhost".into(), port: Some(port) }];
    let spec = SessionSpec {
        limits: limits(executor),
        network: Network::Allow(rules),
        ..SessionSpec::default()
    };
    let code = format!(
        r"
import hashlib, os, socket, threading
data = os.urandom(3_000_000)
connection = socket.create_connection(('localhost', {port}))
def send():
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
sender = threading.Thread(target=send)
sender.start()
back = b''
while piece := connection.recv(1 << 16): back += piece
sender.join()
print(len(back), hashlib.sha256(back).digest() == hashlib.sha256(data).digest())
"
    );
    let result = run(open_spec(executor, spec).await.as_mut(), &code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(result.stdout.text(), "3000000 True\n");
    assert!(matches!(echo.join(), Ok(Ok(3_000_000))));
}

/// A program can close a large download early, with data on its way or waiting to be read. That
/// ends this connection, but neither the session nor the next connection.
pub async fn a_download_may_be_closed_early(executor: &dyn Executor) {
    if !executor.capabilities().network {
        return;
    }
    let (listener, _, port, _) = listen();
    std::thread::spawn(move || -> std::io::Result<()> {
        listener.set_nonblocking(false)?;
        loop {
            let (mut stream, _) = listener.accept()?;
            std::thread::spawn(move || {
                use std::io::Write as _;
                let piece = vec![b'x'; 100_000];
                // Fifty megabytes, unless the other end closes earlier.
                (0..500).all(|_| stream.write_all(&piece).is_ok())
            });
        }
    });
    let rules = vec![HostRule { host: "localhost".into(), port: Some(port) }];
    let spec = SessionSpec {
        limits: limits(executor),
        network: Network::Allow(rules),
        ..SessionSpec::default()
    };
    let mut session = open_spec(executor, spec).await;
    let code = format!(
        "import socket, time\nx = 1\n\
         for pause in (0.3, 0.0, 0.1, 0.01, 0.3):\n    \
         connection = socket.create_connection(('localhost', {port}))\n    \
         n = len(connection.recv(100))\n    time.sleep(pause)\n    connection.close()\n    \
         time.sleep(pause)\nprint(n)"
    );
    let result = run(session.as_mut(), &code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(result.stdout.text(), "100\n");
    // The control: the session is alive, and a download that is read to its end is complete.
    let code = format!(
        "connection = socket.create_connection(('localhost', {port}))\nn = 0\n\
         while piece := connection.recv(1 << 16): n += len(piece)\nprint(x, n)"
    );
    let result = run(session.as_mut(), &code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(result.stdout.text(), "1 50000000\n");
}

/// A rule that cannot be enforced is refused when the session opens: all ports of a host, or no
/// host at all.
pub async fn odd_rules_are_refused(executor: &dyn Executor) {
    for (host, port) in [
        ("example.org", None),
        ("", Some(80)),
        ("no host", Some(80)),
        ("a/b", Some(80)),
        ("::1", Some(80)),
    ] {
        let network = Network::Allow(vec![HostRule { host: host.into(), port }]);
        match executor
            .open(SessionSpec { limits: limits(executor), network, ..SessionSpec::default() })
            .await
        {
            Err(Error::Unsupported(_) | Error::Invalid { .. }) => {}
            other => panic!("the rule {host:?}, {port:?} gave {other:?}"),
        }
    }
}
