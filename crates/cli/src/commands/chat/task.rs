//! The first message of a chat: a task, and the images that go with it.

use std::{io::IsTerminal as _, path::Path, sync::Arc};

use anyhow::Result;
use cellblock_agents::{Chat, Content, Image, Opening, Part};

use crate::{
    args::chat::ChatArgs, failure::usage, input, render::text::format_bytes,
    terminal::TerminalHuman,
};

/// Maximum size in bytes of an image: the limit of the large providers.
const MAX_IMAGE: usize = 5 * 1024 * 1024;

/// Returns the first message: from the command line, the file (`configured`), standard input, or
/// the person at the terminal.
///
/// # Errors If there is no task, or an image cannot be used.
pub async fn opening(
    args: &ChatArgs,
    configured: Option<&str>,
    person: &TerminalHuman,
) -> Result<Opening> {
    let text = match (args.task.as_deref(), configured) {
        (Some("-"), _) => standard_input()?,
        (Some(task), _) => task.to_owned(),
        (None, Some(configured)) => configured.to_owned(),
        (None, None) if std::io::stdin().is_terminal() => person.task().await?,
        (None, None) => standard_input()?,
    };
    if text.trim().is_empty() {
        return Err(usage("no task is given", "write it after `cellblock chat`, or pipe it in"));
    }
    let images =
        args.attach.iter().map(|path| image(path).map(Part::Image)).collect::<Result<Vec<_>>>()?;
    let content = match images.is_empty() {
        true => Content::Text(text),
        false => Content::Parts(std::iter::once(Part::Text { text }).chain(images).collect()),
    };
    Ok(Opening::Say(content))
}

/// Refuses a task and images if each chat of the file has its own task.
///
/// # Errors
/// If the command line has one of them, which no chat would get.
pub fn refuse(args: &ChatArgs) -> Result<()> {
    let given = match (&args.task, args.attach.is_empty()) {
        (Some(_), _) => "the task",
        (None, false) => "--attach",
        (None, true) => return Ok(()),
    };
    Err(usage(
        format!("{given} belongs to no chat: each [[sequence]] of the file has its own `task`"),
        format!("remove {given}, or the `task` of the chat that should get it"),
    ))
}

fn standard_input() -> Result<String> {
    let bytes = input::bytes(Path::new("-"))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.trim_end().to_owned()),
        Err(_) => Err(usage(
            "the task is not UTF-8",
            "use --workspace for files of other formats, and --attach for images",
        )),
    }
}

/// Checks that a model of the chat can see the images of the task.
///
/// # Errors
/// If there are images and no model sees them.
pub fn check_images(args: &ChatArgs, chat: &Chat) -> Result<()> {
    let models: Vec<_> = chat.agents.iter().filter_map(|agent| agent.model.as_ref()).collect();
    let is_seen = models.is_empty() || models.iter().any(|model| model.sees_images());
    if args.attach.is_empty() || is_seen {
        return Ok(());
    }
    let names: Vec<_> = models.iter().map(|model| model.name()).collect();
    Err(usage(
        format!("--attach: no model of this chat sees images ({})", names.join(", ")),
        "choose another model with --model, or set `sees_images = true` in --config if it does",
    ))
}

fn image(path: &Path) -> Result<Image> {
    let bytes = input::bytes(path)?;
    let name = input::name(path);
    if bytes.len() > MAX_IMAGE {
        let (size, max) = (format_bytes(bytes.len() as u64), format_bytes(MAX_IMAGE as u64));
        return Err(usage(
            format!("{name} has {size}, more than the maximum of {max}"),
            "make the image smaller",
        ));
    }
    let media_type = match bytes.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        _ => {
            return Err(usage(
                format!("{name} is not an image that models accept"),
                "give a PNG, JPEG, GIF or WebP file; use --workspace for other files",
            ));
        }
    };
    Ok(Image { media_type: media_type.to_owned(), data: Arc::new(bytes) })
}
