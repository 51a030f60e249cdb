//! `cellblock chat`: agents that write code and have it run.

mod agents;
mod config;
mod console;
mod models;
mod plan;
mod resources;
mod result;
mod task;

use std::{path::Path, sync::Arc};

use anyhow::Result;
use cellblock_agents::Opening;
use tokio_util::sync::CancellationToken;

use crate::{
    args::chat::ChatArgs,
    artifacts::Artifacts,
    failure::usage,
    interrupt::{cancel_on_ctrl_c, until_cancelled},
    render::{screen::Screen, text::note},
    terminal::TerminalHuman,
};
use config::ConfigFile;
use console::{ChatConsole, OutputForm};
use models::Models;
use plan::Plan;
use resources::Resources;

/// Runs the command. With `--json`, prints exactly one object, also if the chat cannot start.
pub async fn chat(args: ChatArgs) -> Result<u8> {
    let json = args.json;
    let result = run(args).await;
    if let (Err(error), true) = (&result, json) {
        result::print_failure(error)?;
    }
    result
}

async fn run(args: ChatArgs) -> Result<u8> {
    let cancel = CancellationToken::new();
    cancel_on_ctrl_c(&cancel);
    let file = args.config.as_deref().map(config::read).transpose()?;
    if let Some(path) = args.bounds.save.as_deref().filter(|path| path.exists()) {
        return Err(already_exists(path));
    }
    let screen = Arc::new(Screen::start(cancel.clone()));
    let person = Arc::new(TerminalHuman::new(screen.clone(), cancel.clone()));
    let mut models = Models::new(&args.model)?;
    let resources = Resources::new(&args, file.is_some(), person)?;
    let opening = opening(&args, file.as_ref(), &resources).await?;
    let planning = plan(&args, file.as_ref(), &resources, &mut models, opening);
    let plan = until_cancelled(&cancel, planning).await?;
    if plan.limits_cost(&args.bounds) {
        models.unpriced()?.iter().for_each(|text| note(text));
    }

    let form = match (args.json, args.events) {
        (true, _) => OutputForm::Silent,
        (false, true) => OutputForm::Events,
        (false, false) => OutputForm::Transcript,
    };
    let artifacts = Artifacts::new(args.session.out.clone(), args.session.overwrite);
    let console = Arc::new(ChatConsole::new(form, screen, artifacts));
    let results = match plan.run(&args.bounds, console.sink(), &cancel).await {
        Ok(results) => results,
        Err(error) => {
            // Show all messages before the error.
            console.screen.finish()?;
            return Err(error);
        }
    };
    let recording_error = models.finish().err();
    result::finish(results, &console, recording_error, args.json)
}

fn already_exists(path: &Path) -> anyhow::Error {
    usage(
        format!("`{}` already exists", path.display()),
        "give --save the name of a new file; --resume continues a saved chat",
    )
}

/// Returns the first message of the chat.
async fn opening(
    args: &ChatArgs,
    file: Option<&ConfigFile>,
    resources: &Resources,
) -> Result<Opening> {
    if args.bounds.resume.is_some() {
        return Ok(Opening::Nothing);
    }
    match file {
        Some(file) if file.has_all_tasks() => task::refuse(args).map(|()| Opening::Nothing),
        _ => {
            let task = file.and_then(|file| file.config.task.as_deref());
            task::opening(args, task, &resources.person).await
        }
    }
}

/// Returns the chats that the file, or the options alone, describe.
async fn plan(
    args: &ChatArgs,
    file: Option<&ConfigFile>,
    resources: &Resources,
    models: &mut Models,
    opening: Opening,
) -> Result<Plan> {
    let mut plan = match file {
        Some(file) => config::plan(file, resources, models, opening).await?,
        None => {
            let model = models.default().await?;
            Plan::Chat(Box::new(agents::pair(resources, model).await?), opening)
        }
    };
    for chat in plan.chats() {
        task::check_images(args, chat)?;
    }
    plan.apply(&args.bounds)?;
    Ok(plan)
}
