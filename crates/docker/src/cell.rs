//! A cell in a container.

use std::sync::Arc;

use async_trait::async_trait;
use cellblock_driver::{Cell, CellInstall, Driver, DriverStream};
use cellblock_exec::{Error, InstallReport, Limit, Requirement, Result};
use tokio::sync::watch;

use crate::{
    container::Container,
    engine::Engine,
    flags::{self, ContainerSpec},
    keeper::{ContainerState, end_reason, ran_out_of_memory},
    packages::{InstalledPackages, copy_layer, layer},
    session_image::SessionImage,
    stream::{StderrTail, stream},
};

/// A cell in a container. The container ends with it.
#[derive(Debug)]
pub struct DockerCell {
    engine: Arc<Engine>,
    image: Arc<SessionImage>,
    container: Container,
    stderr: StderrTail,
    source_builds: bool,
    installed: InstalledPackages,
    /// True if it has ended because its memory was exhausted.
    out_of_memory: bool,
}

impl DockerCell {
    /// Creates a container, and waits until the driver is up in it.
    pub async fn start(
        engine: Arc<Engine>,
        image: Arc<SessionImage>,
        spec: &ContainerSpec<'_>,
    ) -> Result<(Self, Driver)> {
        let body = flags::cell(spec, &engine.owner.label());
        let (container, attached) = Container::start(&engine, body, None).await?;
        let stderr = StderrTail::default();
        let stream = stream(attached, stderr.clone());
        let program = image.program.clone();
        let cell = Self {
            engine,
            image,
            container,
            stderr,
            source_builds: spec.options.source_builds,
            installed: InstalledPackages::default(),
            out_of_memory: false,
        };
        match Driver::start(stream, &program).await {
            Ok(driver) => Ok((cell, driver)),
            Err(error) => {
                // The engine and the driver's standard error say more than the end of a stream.
                let reason = cell.end_reason().await;
                Err(Error::Start {
                    what: "a container".to_owned(),
                    source: format!("{reason} ({error})").into(),
                })
            }
        }
    }

    /// Returns the reason why it has ended, once its stream has.
    async fn end_reason(&self) -> String {
        let reason = end_reason(self.container.watch()).await;
        let stderr = self.stderr.text();
        if stderr.is_empty() { reason } else { format!("{reason}: {stderr}") }
    }

    /// Returns true if its container is not known to have ended.
    pub fn is_alive(&self) -> bool {
        self.container.watch().borrow().end.is_none()
    }

    /// Returns a receiver of its container's state.
    pub fn watch(&self) -> watch::Receiver<ContainerState> {
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
        let mut source = self.end_reason().await;
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
        let layer = layer(&self.engine, &self.image, &wanted, self.source_builds).await?;
        let report = InstallReport { installed: self.installed.new_in(&layer) };
        if report.installed.is_empty() {
            self.installed.requirements = wanted.requirements;
            return Ok(CellInstall { report, directory: None });
        }
        copy_layer(&self.engine, &layer, &self.container.id).await?;
        self.installed =
            InstalledPackages { requirements: wanted.requirements, packages: layer.packages };
        Ok(CellInstall { report, directory: Some(layer.directory) })
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.container.remove().await
    }
}
