//! The link between a session and its driver: messages that are answered soon, and a new driver
//! when one is lost.
//!
//! A call of the session may be dropped while it waits. So the link knows what the driver still
//! owes, and settles that before the next call.

use std::{io, time::Duration};

use cellblock_exec::{Error, Result};

use crate::{
    Cell, Driver, DriverStream, PackageDirectories, Setup,
    artifacts::ArrivingFiles,
    connections::Connections,
    loss::{DriverLoss, replace},
    protocol::{Done, DriverMessage, MessageKind},
    wire::Wire,
};

/// The maximum time for a driver's answer to anything but a block: writing a file, or stopping the
/// block of a dropped call.
const PATIENCE: Duration = Duration::from_secs(10);

/// The minimum speed of sending to a driver, in bytes per second, also on a busy machine.
const MIN_SPEED: u64 = 4 << 20;

/// A cell and its driver.
#[derive(Debug)]
pub struct DriverLink {
    pub cell: Box<dyn Cell>,
    pub setup: Setup,
    /// The driver; `None` once it is lost.
    pub live: Option<LiveDriver>,
    /// The block that runs. If it is set at the beginning of a call, an earlier call was dropped.
    pub running: Option<u64>,
    /// The stream to the driver that replaces a lost one.
    next: Option<DriverStream>,
    /// The number of answers that earlier calls did not wait for.
    owed: usize,
}

/// A driver that is up.
#[derive(Debug)]
pub struct LiveDriver {
    pub wire: Wire,
    pub connections: Connections,
    /// The languages that blocks can have.
    pub languages: Vec<String>,
}

impl LiveDriver {
    /// Handles a message that does not concern the end of a block.
    pub fn take(&mut self, message: &DriverMessage, files: &mut ArrivingFiles) {
        match message.kind {
            MessageKind::Artifact | MessageKind::Content | MessageKind::Refused => {
                files.take(message)
            }
            MessageKind::Connect
            | MessageKind::Data
            | MessageKind::Passed
            | MessageKind::Closed => self.connections.take(message, &mut self.wire),
            _ => {}
        }
    }
}

impl DriverLink {
    pub fn new(cell: Box<dyn Cell>, driver: Driver, setup: Setup) -> Self {
        let mut link = Self { cell, setup, live: None, running: None, next: None, owed: 0 };
        link.attach(driver);
        link
    }

    /// Makes this the session's driver, and sends it the session's environment and packages.
    fn attach(&mut self, driver: Driver) {
        let mut wire = driver.wire;
        if !self.setup.environment.is_empty() {
            let pairs: Vec<&[u8]> = self
                .setup
                .environment
                .iter()
                .flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()])
                .collect();
            wire.post(MessageKind::SetEnvironment, &pairs);
        }
        self.owed = 0;
        self.running = None;
        if let Some(packages) = &self.setup.packages {
            post_packages(&mut wire, packages);
            self.owed = 1;
        }
        let connections = Connections::new(self.setup.relays.clone());
        self.live = Some(LiveDriver { wire, connections, languages: driver.languages });
    }

    /// Returns the driver once nothing of an earlier call remains to be done. A lost driver is
    /// replaced first.
    pub async fn ready(&mut self) -> Result<&mut LiveDriver> {
        if self.live.is_none() {
            let stream = match self.next.take() {
                Some(stream) => stream,
                None => self.cell.restart().await?,
            };
            let driver = Driver::start(stream, &self.setup.program).await?;
            self.attach(driver);
        }
        if self.running.is_some() || self.owed > 0 {
            self.settle().await?;
        }
        self.live.as_mut().ok_or_else(no_driver)
    }

    /// Waits for the end of a block whose call was dropped, and for answers that nobody waited for.
    async fn settle(&mut self) -> Result<(), DriverLoss> {
        let mut ignored = ArrivingFiles::new(0, 0);
        while self.running.is_some() || self.owed > 0 {
            let message = self.message().await?;
            match message.kind {
                MessageKind::Ended if message.number(0) == self.running => self.running = None,
                MessageKind::Done => self.owed = self.owed.saturating_sub(1),
                _ => {
                    if let Some(live) = &mut self.live {
                        live.take(&message, &mut ignored);
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts a file into the workspace, and returns the driver's answer.
    pub async fn write(&mut self, path: &str, content: &[u8]) -> Result<Done, DriverLoss> {
        if let Some(live) = &mut self.live {
            live.wire.post(MessageKind::Write, &[path.as_bytes(), content]);
        }
        self.answer().await
    }

    /// Makes installed packages available to programs.
    pub async fn use_packages(&mut self, packages: PackageDirectories) -> Result<()> {
        let live = self.ready().await?;
        post_packages(&mut live.wire, &packages);
        self.answer().await?;
        self.setup.packages = Some(packages);
        Ok(())
    }

    /// Sends the request to stop a block.
    pub fn stop(&mut self, number: u64) {
        self.cell.stop_programs();
        if let Some(live) = &mut self.live {
            live.wire.post(MessageKind::Stop, &[number.to_string().as_bytes()]);
        }
    }

    /// Ends a driver whose wire has failed. The next call gets a new one, if the files outlive it.
    pub async fn replace(&mut self, error: io::Error) -> DriverLoss {
        self.live = None;
        let (loss, next) = replace(self.cell.as_mut(), error).await;
        if next.is_some() {
            self.next = next;
        }
        loss
    }

    /// Ends the driver and the cell.
    pub async fn close(self) -> Result<()> {
        let Self { cell, live, next, .. } = self;
        // The end of its stream ends the driver, unless it is dead already.
        drop((live, next));
        cell.close().await
    }

    /// Returns the driver's next message, which must come soon. A driver that fails is replaced.
    async fn message(&mut self) -> Result<DriverMessage, DriverLoss> {
        let error = match &mut self.live {
            Some(live) => {
                let sending = live.wire.queued() as u64 / MIN_SPEED;
                let patience = PATIENCE + Duration::from_secs(sending);
                match tokio::time::timeout(patience, live.wire.next()).await {
                    Ok(Ok(message)) => return Ok(message),
                    Ok(Err(error)) => error,
                    Err(_) => io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("its driver did not answer for {} s", patience.as_secs()),
                    ),
                }
            }
            None => io::Error::other("there is no driver"),
        };
        Err(self.replace(error).await)
    }

    /// Returns the answer to the last request.
    async fn answer(&mut self) -> Result<Done, DriverLoss> {
        self.owed += 1;
        let mut ignored = ArrivingFiles::new(0, 0);
        loop {
            let message = self.message().await?;
            if message.kind == MessageKind::Done {
                self.owed -= 1;
                return Ok(Done::from(&message));
            }
            if let Some(live) = &mut self.live {
                live.take(&message, &mut ignored);
            }
        }
    }
}

fn post_packages(wire: &mut Wire, packages: &PackageDirectories) {
    let directories = [packages.modules.as_bytes(), packages.programs.as_bytes()];
    wire.post(MessageKind::UsePackages, &directories);
}

/// Returns the error of a session that cannot continue.
pub fn no_driver() -> Error {
    Error::Lost { what: "the cell".to_owned(), source: "there is no driver".into() }
}
