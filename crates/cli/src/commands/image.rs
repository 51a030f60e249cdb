//! `cellblock image`: the images that sessions start from.

use std::io::Write as _;

use anyhow::Result;
use cellblock_agents::sanitize::one_line;
use cellblock_exec::{CancellationToken, Progress as _};

use crate::{
    args::image::ImageCommand,
    executors::{EXECUTORS, ImageEntry, Images, image_owner},
    exit,
    failure::usage,
    interrupt::{cancel_on_ctrl_c, until_cancelled},
    render::{
        progress::ProgressDisplay,
        text::{GOOD, format_bytes, print_json},
    },
};

/// Runs the command.
pub async fn image(command: ImageCommand) -> Result<u8> {
    let cancel = CancellationToken::new();
    cancel_on_ctrl_c(&cancel);
    let progress = ProgressDisplay::default();
    match command {
        ImageCommand::Pull { name } => {
            let done = until_cancelled(&cancel, owner(&name)?.pull(&name, &progress)).await?;
            progress.finish();
            print(&done)?;
        }
        ImageCommand::List { json: true } => {
            let images: Vec<_> = list().await?.into_iter().map(|image| image.json).collect();
            print_json(&images)?;
        }
        ImageCommand::List { json: false } => {
            for image in list().await? {
                print(&format!("{}: {}", image.name, image.description))?;
            }
        }
        ImageCommand::Remove { name } => print(&owner(&name)?.remove(&name).await?)?,
        ImageCommand::Prune => {
            let mut freed = 0;
            for images in EXECUTORS.iter().filter_map(|row| row.images) {
                freed += images.prune()?;
            }
            print(&format!("freed {}", format_bytes(freed)))?;
        }
        ImageCommand::Verify { name } => {
            let image = owner(&name)?.verify(&name)?;
            print(&format!("{}: {}", image.name, image.description))?;
            return Ok(if image.is_ready { exit::SUCCESS } else { exit::FAILED });
        }
        ImageCommand::Extend { name, from, packages } => {
            let work = owner(&from)?.extend(&from, &name, &packages, &progress);
            let done = until_cancelled(&cancel, work).await?;
            progress.finish();
            print(&done)?;
        }
    }
    Ok(exit::SUCCESS)
}

/// Returns the images that an image of this name is among.
fn owner(name: &str) -> Result<&'static dyn Images> {
    let owner = image_owner(name).map(|(_, images)| images);
    owner.ok_or_else(|| {
        usage(format!("no executor has an image `{name}`"), "`cellblock image list` shows them")
    })
}

/// Lists the images of all executors.
async fn list() -> Result<Vec<ImageEntry>> {
    let mut all = Vec::new();
    for images in EXECUTORS.iter().filter_map(|row| row.images) {
        all.extend(images.list().await?);
    }
    Ok(all)
}

fn print(text: &str) -> Result<()> {
    writeln!(anstream::stdout(), "{GOOD}{}{GOOD:#}", one_line(text))?;
    Ok(())
}
