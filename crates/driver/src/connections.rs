//! The host's end of the connections that a driver relays.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
};

use crate::{
    Relay, protocol,
    wire::{Message, Wire},
};

/// How long a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that may be under way in one direction of a connection: the driver uses the same number.
const WINDOW: usize = 1 << 18;
/// Bytes that are passed on at once.
const PIECE: usize = 1 << 16;
/// Bytes in line for the driver above which it cannot ask for more.
pub(crate) const MOST_WAITING: usize = 32 << 20;
/// The most connections at once; more are hung up. A program cannot make us hold more sockets than that.
const MOST: usize = 256;

/// All connections of a session.
#[derive(Debug)]
pub(crate) struct Connections {
    relays: Vec<Relay>,
    open: BTreeMap<Bytes, Connection>,
    tasks: JoinSet<()>,
    events: mpsc::UnboundedSender<Event>,
    heard: mpsc::UnboundedReceiver<Event>,
}

#[derive(Debug)]
struct Connection {
    /// What the program sends; an empty piece is its end.
    outgoing: mpsc::UnboundedSender<Bytes>,
    /// Bytes that the program has sent and the host has not taken yet.
    waiting: usize,
    /// Bytes that the host may still send before the program has taken the others.
    room: Arc<Semaphore>,
    /// Dropping it ends what receives from the host; what the program has sent is still passed on.
    _receiving: oneshot::Sender<()>,
}

/// What a connection's task tells.
#[derive(Debug)]
pub(crate) enum Event {
    /// The host has sent this; an empty piece is its end.
    Data(Bytes, Vec<u8>),
    /// So many bytes of the program's have been passed on.
    Passed(Bytes, usize),
    /// The connection is over.
    Closed(Bytes),
}

impl Connections {
    pub(crate) fn new(relays: Vec<Relay>) -> Self {
        let (events, heard) = mpsc::unbounded_channel();
        Self { relays, open: BTreeMap::new(), tasks: JoinSet::new(), events, heard }
    }

    /// The next thing that a connection tells; never, without connections.
    pub(crate) async fn next(&mut self) -> Event {
        match self.heard.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Tells the driver of an event.
    pub(crate) fn tell(&mut self, event: Event, wire: &mut Wire) {
        match event {
            Event::Data(name, data) => wire.post(protocol::DATA, &[&name, &data]),
            Event::Passed(name, bytes) => {
                if let Some(connection) = self.open.get_mut(&name) {
                    connection.waiting = connection.waiting.saturating_sub(bytes);
                }
                wire.post(protocol::PASSED, &[&name, bytes.to_string().as_bytes()]);
            }
            Event::Closed(name) => {
                self.open.remove(&name);
                wire.post(protocol::CLOSED, &[&name]);
            }
        }
    }

    /// Takes a message about connections.
    pub(crate) fn take(&mut self, message: &Message, wire: &mut Wire) {
        let Some(name) = message.fields.first().cloned() else { return };
        while self.tasks.try_join_next().is_some() {}
        match message.kind {
            protocol::CONNECT => {
                match message.number(1).and_then(|index: usize| self.relays.get(index)) {
                    // Tasks, not names: one that the program has closed may still send.
                    Some(relay) if self.tasks.len() < MOST => {
                        let address = (relay.host.clone(), relay.port);
                        self.connect(name, address);
                    }
                    _ => wire.post(protocol::CLOSED, &[&name]),
                }
            }
            protocol::DATA => {
                let piece = message.fields.get(1).cloned().unwrap_or_default();
                let Some(connection) = self.open.get_mut(&name) else { return };
                connection.waiting += piece.len();
                if connection.waiting > 2 * WINDOW {
                    // Our driver keeps to the window: this is not our driver.
                    self.open.remove(&name);
                    return;
                }
                // A task that has ended has said so.
                let _ = connection.outgoing.send(piece);
            }
            protocol::PASSED => {
                // A driver that acknowledges what it does not read would make the line grow without bound.
                if let Some(connection) =
                    self.open.get(&name).filter(|_| wire.waiting() < MOST_WAITING)
                {
                    let bytes: usize = message.number(1).unwrap_or_default();
                    connection.room.add_permits(
                        bytes.min(WINDOW.saturating_sub(connection.room.available_permits())),
                    );
                }
            }
            protocol::CLOSED => {
                self.open.remove(&name);
            }
            _ => {}
        }
    }

    fn connect(&mut self, name: Bytes, address: (String, u16)) {
        let (outgoing, pieces) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(WINDOW));
        let (_receiving, ended) = oneshot::channel();
        let connection = Connection { outgoing, waiting: 0, room: room.clone(), _receiving };
        self.open.insert(name.clone(), connection);
        let events = self.events.clone();
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
            // Nobody hears of it when the session has ended.
            let _ = events.send(Event::Closed(name));
        });
    }
}

/// Passes on what the host sends.
async fn receive(
    mut reader: tokio::net::tcp::OwnedReadHalf,
    room: Arc<Semaphore>,
    name: Bytes,
    events: mpsc::UnboundedSender<Event>,
) {
    let mut buffer = vec![0; PIECE];
    loop {
        let read = reader.read(&mut buffer).await.unwrap_or(0);
        // The read may be larger than what may be sent at once; permits come back as the program takes it.
        let Ok(permits) = room.acquire_many(read as u32).await else { return };
        permits.forget();
        if events.send(Event::Data(name.clone(), buffer[..read].to_vec())).is_err() || read == 0 {
            return;
        }
    }
}

/// Passes on what the program sends.
async fn send(
    mut writer: tokio::net::tcp::OwnedWriteHalf,
    mut pieces: mpsc::UnboundedReceiver<Bytes>,
    name: Bytes,
    events: mpsc::UnboundedSender<Event>,
) {
    while let Some(piece) = pieces.recv().await {
        if piece.is_empty() {
            // The host may have gone already.
            let _ = writer.shutdown().await;
            return;
        }
        if writer.write_all(&piece).await.is_err()
            || events.send(Event::Passed(name.clone(), piece.len())).is_err()
        {
            return;
        }
    }
}
