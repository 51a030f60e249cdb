//! A cell in a container.

use std::sync::Arc;

use async_trait::async_trait;
use cellblock_driver::{Cell, CellInstall, Driver, DriverStream};
use cellblock_exec::{Error, InstallReport, Limit, Requirement, Result};
use tokio::sync::watch;

use crate::{
    container::{Container, State, last_words, ran_out_of_memory},
    engine::Engine,
    flags,
    image::Image,
    packages,
    stream::{Complaints, stream},
};

/// A cell in a container. The container ends with it.
#[derive(Debug)]
pub(crate) struct DockerCell {
    engine: Arc<Engine>,
    image: Arc<Image>,
    container: Container,
    complaints: Complaints,
    source_builds: bool,
    installed: packages::Present,
    /// Whether it has ended because its memory had run out.
    out_of_memory: bool,
}

impl DockerCell {
    /// Makes a container and waits until the driver is up in it.
    pub(crate) async fn start(
        engine: Arc<Engine>,
        image: Arc<Image>,
        cell: &flags::Cell<'_>,
    ) -> Result<(Self, Driver)> {
        let body = flags::cell(cell, &engine.owner.label());
        let (container, attached) = Container::start(&engine, body, None).await?;
        let complaints = Complaints::default();
        let stream = stream(attached, complaints.clone());
        let source_builds = cell.options.source_builds;
        let installed = packages::Present::default();
        let program = image.program.clone();
        let cell = Self {
            engine,
            image,
            container,
            complaints,
            source_builds,
            installed,
            out_of_memory: false,
        };
        match Driver::start(stream, &program).await {
            Ok(driver) => Ok((cell, driver)),
            Err(error) => {
                // The engine and the driver's last words tell more than that a stream has ended.
                let words = cell.tell().await;
                Err(Error::Start {
                    what: "a container".to_owned(),
                    source: format!("{words} ({error})").into(),
                })
            }
        }
    }

    /// Why it has ended, once its stream has.
    async fn tell(&self) -> String {
        let words = last_words(self.container.watch()).await;
        let complaints = self.complaints.text();
        if complaints.is_empty() { words } else { format!("{words}: {complaints}") }
    }

    /// Whether its container still runs, as far as is known.
    pub(crate) fn is_alive(&self) -> bool {
        self.container.watch().borrow().end.is_none()
    }

    /// Becomes ready when its container has ended.
    pub(crate) fn ended(&self) -> watch::Receiver<State> {
        self.container.watch()
    }
}

#[async_trait]
impl Cell for DockerCell {
    fn kill(&mut self) {
        self.container.kill();
    }

    fn limit_hit(&mut self) -> Option<Limit> {
        self.out_of_memory.then_some(Limit::Memory)
    }

    async fn restart(&mut self) -> Result<DriverStream> {
        let mut source = self.tell().await;
        self.out_of_memory =
            self.out_of_memory || ran_out_of_memory(&self.engine.docker, &self.container.id).await;
        if self.out_of_memory {
            source = "its programs, files and input needed more memory than its limit".to_owned();
        }
        Err(Error::Lost {
            what: "its container has ended, and its files with it; open a new session".to_owned(),
            source: source.into(),
        })
    }

    async fn install(&mut self, packages: &[Requirement]) -> Result<CellInstall> {
        let wanted = self.installed.with(packages);
        let layer = packages::layer(&self.engine, &self.image, &wanted, self.source_builds).await?;
        let report = InstallReport { installed: self.installed.news(&layer) };
        if report.installed.is_empty() {
            self.installed.requirements = wanted.requirements;
            return Ok(CellInstall { report, directory: None });
        }
        packages::bring(&self.engine, &layer, &self.container.id).await?;
        self.installed =
            packages::Present { requirements: wanted.requirements, packages: layer.packages };
        Ok(CellInstall { report, directory: Some(layer.directory) })
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.container.remove().await
    }
}
