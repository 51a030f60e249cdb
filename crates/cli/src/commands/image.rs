//! `cellblock image`: the images that code runs in.

use std::io::Write as _;

use anyhow::Result;
use cellblock_exec::{CancellationToken, Requirement};
use cellblock_wasi::{ImageInfo, ImageState, ImageStore};
use clap::Subcommand;

use crate::{
    executors::is_docker_image,
    interrupt::{cancel_on_ctrl_c, until_cancelled},
    render::{GOOD, note, progress::Steps, sanitize::one_line},
    units,
};

/// Commands on images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Fetch an image and make it ready
    ///
    /// `python` is the WebAssembly executor's, which makes it ready on first use. `docker-python` is made in the Docker engine:
    /// from its registry's Python image where there is one, else from Debian packages. A name with a `/` or a `:` is pulled
    /// by the engine.
    Pull {
        /// The image
        #[arg(default_value = "python")]
        name: String,
    },
    /// List the images that there are
    List {
        /// Print one JSON array: executor, name, state (ready, not_pulled, old or damaged), why, python, bytes and packages
        #[arg(long)]
        json: bool,
    },
    /// Remove an image from the cache
    Remove {
        /// The image
        name: String,
    },
    /// Remove what no image needs any more: leftovers of earlier versions, and packages installed for sessions
    Prune,
    /// Read an image again and compare it with its hashes
    Verify {
        /// The image
        #[arg(default_value = "python")]
        name: String,
    },
    /// Make a new image: another one with packages installed and imported, so that they cost nothing later
    #[command(
        after_help = "Example: cellblock image extend charts --from python plotnine humanize"
    )]
    Extend {
        /// The new image
        name: String,
        /// The image to start from
        #[arg(long, value_name = "NAME", default_value = "python")]
        from: String,
        /// Packages to install, such as `humanize` or `'plotnine>=0.14'`
        #[arg(required = true, value_parser = requirement)]
        packages: Vec<Requirement>,
    },
}

fn requirement(text: &str) -> Result<Requirement, String> {
    Requirement::try_from(text.to_owned()).map_err(|error| error.to_string())
}

/// Runs the command.
pub async fn image(command: ImageCommand) -> Result<u8> {
    let store = ImageStore::in_user_cache()?;
    let cancel = CancellationToken::new();
    cancel_on_ctrl_c(&cancel);
    let steps = Steps::new();
    match command {
        ImageCommand::Pull { name } if is_docker_image(&name) => {
            until_cancelled(&cancel, cellblock_docker::pull(&name, &steps)).await?;
            steps.finish();
            tell(&format!("{name}: ready in the Docker engine"))
        }
        ImageCommand::Pull { name } => {
            let info = until_cancelled(&cancel, store.pull(&name, &steps)).await?;
            steps.finish();
            tell(&format!("{name}: {}", about(&info)))
        }
        ImageCommand::List { json: true } => {
            let mut images: Vec<_> = store.list()?.iter().map(json).collect();
            images.extend(of_docker().await.iter().map(docker_json));
            super::man::print(format!("{}\n", serde_json::Value::from(images)).as_bytes())
        }
        ImageCommand::List { json: false } => {
            for info in store.list()? {
                tell(&format!("{}: {}", info.name, about(&info)))?;
            }
            for info in of_docker().await {
                let state = if info.current { "ready" } else { "of another version" };
                let packages = if info.packages.is_empty() {
                    String::new()
                } else {
                    info.packages.join(" ") + ", "
                };
                tell(&format!(
                    "{}: {state} in the Docker engine, {packages}{}",
                    info.name,
                    units::bytes(info.bytes)
                ))?;
            }
            Ok(0)
        }
        ImageCommand::Remove { name } if is_docker_image(&name) => {
            let removed = cellblock_docker::remove(&name).await?;
            tell(&format!("removed from the Docker engine: {}", removed.join(", ")))
        }
        ImageCommand::Remove { name } => {
            let freed = store.remove(&name)?;
            tell(&format!("{name} is removed; {} are free again", units::bytes(freed)))
        }
        ImageCommand::Prune => tell(&format!("{} are free again", units::bytes(store.prune()?))),
        ImageCommand::Verify { name } => {
            let info = store.verify(&name)?;
            tell(&format!("{name}: {}", about(&info)))?;
            Ok(u8::from(!matches!(info.state, ImageState::Ready)))
        }
        ImageCommand::Extend { name, from, packages } => {
            let info =
                until_cancelled(&cancel, store.extend(&from, &name, &packages, &steps)).await?;
            steps.finish();
            tell(&format!("{name}: {}", about(&info)))
        }
    }
}

/// The state of an image in words.
fn state(state: &ImageState) -> String {
    match state {
        ImageState::Ready => "ready".into(),
        ImageState::Available => "not pulled".into(),
        ImageState::Corrupt { why } => format!("damaged, to be made again on next use: {why}"),
        other => format!("{other:?}"),
    }
}

fn about(info: &ImageInfo) -> String {
    let packages = info.packages.len();
    let python =
        if info.python.is_empty() { String::new() } else { format!(", Python {}", info.python) };
    format!("{}{python}, {packages} packages, {}", state(&info.state), units::bytes(info.bytes))
}

fn json(info: &ImageInfo) -> serde_json::Value {
    let packages: Vec<_> =
        info.packages.iter().map(|(name, version)| format!("{name}=={version}")).collect();
    let (state, why) = match &info.state {
        ImageState::Ready => ("ready", None),
        ImageState::Available => ("not_pulled", None),
        ImageState::Corrupt { why } => ("damaged", Some(why)),
        _ => ("other", None),
    };
    serde_json::json!({
        "executor": "wasi", "name": info.name, "state": state, "why": why, "python": info.python, "bytes": info.bytes,
        "packages": packages
    })
}

/// The images in the Docker engine that are ours; none, and a note, when it cannot be asked.
async fn of_docker() -> Vec<cellblock_docker::ImageInfo> {
    match cellblock_docker::images().await {
        Ok(images) => images,
        Err(error) => {
            note(&format!("Docker's images are not listed: {error}"));
            Vec::new()
        }
    }
}

fn docker_json(info: &cellblock_docker::ImageInfo) -> serde_json::Value {
    let state = if info.current { "ready" } else { "old" };
    serde_json::json!({
        "executor": "docker", "name": info.name, "state": state, "why": null, "python": null, "bytes": info.bytes,
        "packages": info.packages
    })
}

fn tell(text: &str) -> Result<u8> {
    writeln!(anstream::stdout(), "{GOOD}{}{GOOD:#}", one_line(text))?;
    Ok(0)
}
