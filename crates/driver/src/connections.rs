//! The host's end of the connections that a driver relays.
//!
//! Each connection has a task that connects to the granted host and passes bytes on. A window in
//! each direction bounds the bytes under way, so that neither side can fill the host's memory.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
};

use crate::{
    Relay,
    protocol::{DriverMessage, MessageKind},
    wire::Wire,
};

/// The maximum time for connecting to a host.
const PATIENCE: Duration = Duration::from_secs(30);
/// The maximum bytes under way in one direction of a connection. The driver has the same number.
const WINDOW: usize = 1 << 18;
/// The maximum bytes that are passed on at once.
const PIECE: usize = 1 << 16;
/// The maximum bytes in the queue to the driver with which it can ask for more.
pub const MAX_QUEUED: usize = 32 << 20;
/// The maximum number of connections at once; further ones are closed. So a program cannot make the
/// host hold more sockets.
const MAX_CONNECTIONS: usize = 256;

/// All connections of a session.
#[derive(Debug)]
pub struct Connections {
    relays: Vec<Relay>,
    open: BTreeMap<Bytes, HostConnection>,
    tasks: JoinSet<()>,
    sender: mpsc::UnboundedSender<ConnectionEvent>,
    events: mpsc::UnboundedReceiver<ConnectionEvent>,
}

#[derive(Debug)]
struct HostConnection {
    /// The program's bytes; an empty piece is their end.
    outgoing: mpsc::UnboundedSender<Bytes>,
    /// The bytes that the program has sent and the host has not received yet.
    under_way: usize,
    /// The bytes that the host may still send before the program has received the others.
    room: Arc<Semaphore>,
    /// Dropping it ends receiving from the host. Bytes that the program has sent are still passed
    /// on.
    _receiving: oneshot::Sender<()>,
}

/// An event of a connection's task.
#[derive(Debug)]
pub enum ConnectionEvent {
    /// The host has sent these bytes; an empty piece is their end.
    Data(Bytes, Vec<u8>),
    /// So many of the program's bytes have been passed on.
    Passed(Bytes, usize),
    /// The connection has ended.
    Closed(Bytes),
}

impl Connections {
    pub fn new(relays: Vec<Relay>) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        Self { relays, open: BTreeMap::new(), tasks: JoinSet::new(), sender, events }
    }

    /// Returns the next event; waits forever if there are no connections.
    pub async fn next(&mut self) -> ConnectionEvent {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Reports an event to the driver.
    pub fn report(&mut self, event: ConnectionEvent, wire: &mut Wire) {
        match event {
            ConnectionEvent::Data(name, data) => wire.post(MessageKind::Data, &[&name, &data]),
            ConnectionEvent::Passed(name, bytes) => {
                if let Some(connection) = self.open.get_mut(&name) {
                    connection.under_way = connection.under_way.saturating_sub(bytes);
                }
                wire.post(MessageKind::Passed, &[&name, bytes.to_string().as_bytes()]);
            }
            ConnectionEvent::Closed(name) => {
                self.open.remove(&name);
                wire.post(MessageKind::Closed, &[&name]);
            }
        }
    }

    /// Handles a message about connections.
    pub fn take(&mut self, message: &DriverMessage, wire: &mut Wire) {
        let Some(name) = message.fields.first().cloned() else { return };
        while self.tasks.try_join_next().is_some() {}
        match message.kind {
            MessageKind::Connect => {
                match message.number(1).and_then(|index: usize| self.relays.get(index)) {
                    // Tasks count, not names: one that the program has closed may still send.
                    Some(relay) if self.tasks.len() < MAX_CONNECTIONS => {
                        let address = (relay.host.clone(), relay.port);
                        self.connect(name, address);
                    }
                    _ => wire.post(MessageKind::Closed, &[&name]),
                }
            }
            MessageKind::Data => {
                let piece = message.fields.get(1).cloned().unwrap_or_default();
                let Some(connection) = self.open.get_mut(&name) else { return };
                connection.under_way += piece.len();
                if connection.under_way > 2 * WINDOW {
                    // Our driver keeps to the window: this is not our driver.
                    self.open.remove(&name);
                    return;
                }
                // A task that has ended has reported it.
                let _ = connection.outgoing.send(piece);
            }
            MessageKind::Passed => {
                // A driver that acknowledges bytes without reading would grow the queue without
                // bound.
                if let Some(connection) =
                    self.open.get(&name).filter(|_| wire.queued() < MAX_QUEUED)
                {
                    let bytes: usize = message.number(1).unwrap_or_default();
                    let closed = WINDOW.saturating_sub(connection.room.available_permits());
                    connection.room.add_permits(bytes.min(closed));
                }
            }
            MessageKind::Closed => {
                self.open.remove(&name);
            }
            _ => {}
        }
    }

    fn connect(&mut self, name: Bytes, address: (String, u16)) {
        let (outgoing, pieces) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(WINDOW));
        let (_receiving, ended) = oneshot::channel();
        let connection = HostConnection { outgoing, under_way: 0, room: room.clone(), _receiving };
        self.open.insert(name.clone(), connection);
        let events = self.sender.clone();
        self.tasks.spawn(async move {
            let connected = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await;
            if let Ok(Ok(stream)) = connected {
                let (reader, writer) = stream.into_split();
                let receiving = receive(reader, room, name.clone(), events.clone());
                let receiving = async {
                    tokio::select! {
                        () = receiving => {}
                        _ = ended => {}
                    }
                };
                let sending = send(writer, pieces, name.clone(), events.clone());
                tokio::join!(receiving, sending);
            }
            // Nobody receives it when the session has ended.
            let _ = events.send(ConnectionEvent::Closed(name));
        });
    }
}

/// Passes on the host's bytes.
async fn receive(
    mut reader: OwnedReadHalf,
    room: Arc<Semaphore>,
    name: Bytes,
    events: mpsc::UnboundedSender<ConnectionEvent>,
) {
    let mut buffer = vec![0; PIECE];
    loop {
        let read = reader.read(&mut buffer).await.unwrap_or(0);
        // More may have been read than may be sent now; permits come back as the program receives.
        let Ok(permits) = room.acquire_many(read as u32).await else { return };
        permits.forget();
        let data = ConnectionEvent::Data(name.clone(), buffer[..read].to_vec());
        if events.send(data).is_err() || read == 0 {
            return;
        }
    }
}

/// Passes on the program's bytes.
async fn send(
    mut writer: OwnedWriteHalf,
    mut pieces: mpsc::UnboundedReceiver<Bytes>,
    name: Bytes,
    events: mpsc::UnboundedSender<ConnectionEvent>,
) {
    while let Some(piece) = pieces.recv().await {
        if piece.is_empty() {
            // The host may have gone already.
            let _ = writer.shutdown().await;
            return;
        }
        if writer.write_all(&piece).await.is_err()
            || events.send(ConnectionEvent::Passed(name.clone(), piece.len())).is_err()
        {
            return;
        }
    }
}
