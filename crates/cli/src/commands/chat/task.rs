//! What a chat begins with: a task, and images that belong to it.

use std::{io::IsTerminal as _, path::Path, sync::Arc};

use anyhow::Result;
use cellblock_agents::{Chat, Content, Image, Opening, Part};

use super::args::ChatArgs;
use crate::{failure::usage, input, terminal::TerminalHuman, units};

/// The largest image that goes with a task, in bytes: what the large providers take.
const MAX_IMAGE: usize = 5 * 1024 * 1024;

/// The first message: from the command line, from standard input, from the file, or from the person at the terminal.
pub async fn opening(
    args: &ChatArgs,
    written: Option<&str>,
    person: &TerminalHuman,
) -> Result<Opening> {
    let text = match (args.task.as_deref(), written) {
        (Some("-"), _) => standard_input()?,
        (Some(task), _) => task.to_owned(),
        (None, Some(written)) => written.to_owned(),
        (None, None) if std::io::stdin().is_terminal() => person.task().await?,
        (None, None) => standard_input()?,
    };
    if text.trim().is_empty() {
        return Err(usage("there is no task", "write it after `cellblock chat`, or pipe it in"));
    }
    let images =
        args.attach.iter().map(|path| image(path).map(Part::Image)).collect::<Result<Vec<_>>>()?;
    let content = match images.is_empty() {
        true => Content::Text(text),
        false => Content::Parts(std::iter::once(Part::Text { text }).chain(images).collect()),
    };
    Ok(Opening::Say(content))
}

/// The first message where each chat of a file has a task of its own.
///
/// # Errors
/// When there is something that would be left out without a word.
pub fn none(args: &ChatArgs) -> Result<Opening> {
    let given = match (&args.task, args.attach.is_empty()) {
        (Some(_), _) => "the task",
        (None, false) => "--attach",
        (None, true) => return Ok(Opening::Nothing),
    };
    Err(usage(
        format!(
            "{given} would belong to no chat: each [[sequence]] of the file has a `task` of its own"
        ),
        format!("leave {given} out, or the `task` of the chat that it is for"),
    ))
}

fn standard_input() -> Result<String> {
    let bytes = input::bytes(Path::new("-"))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.trim_end().to_owned()),
        Err(_) => Err(usage(
            "the task is not UTF-8",
            "files in another form go to --workspace, images to --attach",
        )),
    }
}

/// Refuses images for a chat without a model that could see them: they would be left out without a word.
///
/// # Errors
/// When there are images and no agent's model sees.
pub fn can_be_seen(args: &ChatArgs, chat: &Chat) -> Result<()> {
    let mut models = chat.agents.iter().filter_map(|agent| agent.model.as_ref()).peekable();
    let names = || {
        chat.agents
            .iter()
            .filter_map(|agent| Some(agent.model.as_ref()?.name()))
            .collect::<Vec<_>>()
    };
    if args.attach.is_empty() || models.peek().is_none() || models.any(|model| model.sees_images())
    {
        return Ok(());
    }
    Err(usage(
        format!("--attach: no model of this chat sees images ({})", names().join(", ")),
        "choose one that does with --model, or say so with `sees_images = true` in --config",
    ))
}

fn image(path: &Path) -> Result<Image> {
    let bytes = input::bytes(path)?;
    if bytes.len() > MAX_IMAGE {
        let size = units::bytes(bytes.len() as u64);
        let most = units::bytes(MAX_IMAGE as u64);
        return Err(usage(
            format!("{} has {size}, and models take {most}", path.display()),
            "make the image smaller",
        ));
    }
    let media_type = match bytes.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        _ => {
            let what = format!("{} is no image that models take", path.display());
            return Err(usage(
                what,
                "give a PNG, JPEG, GIF or WebP file; other files go to --workspace",
            ));
        }
    };
    Ok(Image { media_type: media_type.to_owned(), data: Arc::new(bytes) })
}
