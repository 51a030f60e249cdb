//! `cellblock chat`: agents that write code and have it run.

mod agents;
mod args;
mod config;
mod ended;
mod follow;
mod models;
mod task;

use std::sync::Arc;

use anyhow::Result;
use cellblock_agents::{
    Budget, Chat, ChatResult, Opening,
    sequence::{Sequence, Step},
};
use tokio_util::sync::CancellationToken;

pub use args::ChatArgs;

use crate::{
    failure::usage,
    interrupt::{cancel_on_ctrl_c, until_cancelled},
    render::{self, artifacts::Artifacts, screen::Screen},
    terminal::TerminalHuman,
};
use agents::Stage;
use args::BoundArgs;
use follow::{Follower, Form};
use models::Models;

/// What is to be held.
enum Plan {
    /// One chat.
    One(Box<Chat>, Opening),
    /// Several, each after those that it waits for.
    Several {
        steps: Vec<Step>,
        /// Whether each waits for all before it.
        in_order: bool,
    },
}

impl Plan {
    /// Whether anything in it may spend no more than some amount of money.
    fn limits_money(&self, bounds: &BoundArgs) -> bool {
        let own = match self {
            Plan::One(chat, _) => chat.budget.cost.is_some(),
            Plan::Several { steps, .. } => steps.iter().any(|step| step.chat.budget.cost.is_some()),
        };
        own || bounds.budget.is_some()
    }
}

/// Runs the command. With `--json` exactly one object is printed, also when it fails.
pub async fn chat(args: ChatArgs) -> Result<u8> {
    let json = args.json;
    let held = held(args).await;
    if let (Err(error), true) = (&held, json) {
        ended::print_failure(error)?;
    }
    held
}

async fn held(args: ChatArgs) -> Result<u8> {
    let cancel = CancellationToken::new();
    cancel_on_ctrl_c(&cancel);
    let file = args.config.as_deref().map(config::read).transpose()?;
    if args.bounds.resume.is_none()
        && args.bounds.save.as_deref().is_some_and(std::path::Path::exists)
    {
        let path = args.bounds.save.as_deref().unwrap_or(std::path::Path::new("")).display();
        return Err(usage(
            format!("{path} is there already"),
            "--save takes the name of a new file; --resume goes on with a saved chat",
        ));
    }
    let screen = Arc::new(Screen::start(cancel.clone()));
    let person = Arc::new(TerminalHuman::new(screen.clone(), cancel.clone()));
    let mut models = Models::new(&args.model)?;
    let stage = Stage::new(&args, &file, person.clone())?;
    let opening = match args.bounds.resume {
        Some(_) => Opening::Nothing,
        None if file.as_ref().is_some_and(config::File::has_all_tasks) => task::none(&args)?,
        None => {
            task::opening(
                &args,
                file.as_ref().and_then(|file| file.config.task.as_deref()),
                &person,
            )
            .await?
        }
    };
    let making = plan(&args, file.as_ref(), &stage, &mut models, opening);
    let plan = until_cancelled(&cancel, making).await?;
    if plan.limits_money(&args.bounds) {
        models.unpriced()?.iter().for_each(|text| render::note(text));
    }

    let form = match (args.json, args.events) {
        (true, _) => Form::Silent,
        (false, true) => Form::Events,
        (false, false) => Form::Transcript,
    };
    let artifacts = Artifacts::new(args.session.out.clone(), args.session.overwrite);
    let follower = Arc::new(Follower::new(form, screen, artifacts));
    let ran = run(plan, &args.bounds, &follower, &cancel).await;
    if ran.is_err() {
        // What was said before is shown before the failure.
        follower.screen.finish()?;
    }
    let (results, not_run) = ran?;
    let failure = models.finish().err();
    ended::end(results, not_run, &follower, failure, args.json)
}

/// The chats that the options, or the file, describe.
async fn plan(
    args: &ChatArgs,
    file: Option<&config::File>,
    stage: &Stage,
    models: &mut Models,
    opening: Opening,
) -> Result<Plan> {
    let mut plan = match file {
        Some(file) => config::plan(file, stage, models, opening).await?,
        None => {
            let model = models.usual().await?;
            Plan::One(Box::new(agents::pair(stage, model).await?), opening)
        }
    };
    match &mut plan {
        Plan::One(chat, _) => {
            task::can_be_seen(args, chat)?;
            bound(&mut chat.budget, &args.bounds);
            chat.max_turns = args.bounds.max_turns.or(chat.max_turns);
            chat.log = args.bounds.resume.clone().or_else(|| args.bounds.save.clone());
        }
        Plan::Several { steps, .. } => {
            for Step { chat, .. } in steps {
                task::can_be_seen(args, chat)?;
                chat.max_turns = args.bounds.max_turns.or(chat.max_turns);
            }
        }
    }
    let saved = args.bounds.save.is_some() || args.bounds.resume.is_some();
    if saved && matches!(plan, Plan::Several { .. }) {
        return Err(usage(
            "a sequence of chats cannot be saved",
            "leave out --save, or describe one chat: [chat] in place of [[sequence]]",
        ));
    }
    Ok(plan)
}

/// What the command line says wins.
fn bound(budget: &mut Budget, bounds: &BoundArgs) {
    budget.cost = bounds.budget.or(budget.cost);
    budget.tokens = bounds.max_tokens_total.or(budget.tokens);
    budget.time = bounds.max_time.or(budget.time);
}

/// Runs what is planned; gives the results, and how many chats did not run.
async fn run(
    plan: Plan,
    bounds: &BoundArgs,
    follower: &Arc<Follower>,
    cancel: &CancellationToken,
) -> Result<(Vec<ChatResult>, usize)> {
    match plan {
        Plan::One(chat, opening) => {
            let chat = Chat { cancel: cancel.clone(), events: Some(follower.sink()), ..*chat };
            let resumes = bounds.resume.is_some();
            Ok((vec![if resumes { chat.resume().await? } else { chat.run(opening).await? }], 0))
        }
        Plan::Several { steps, in_order } => {
            let all = steps.len();
            let (cancel, events) = (cancel.clone(), Some(follower.sink()));
            let mut sequence = Sequence { cancel, events, ..Sequence::new(steps) };
            // What the command line allows is for all of them; what the file says is for each.
            bound(&mut sequence.budget, bounds);
            let results: Vec<_> = match in_order {
                true => sequence.run_in_order().await?,
                false => sequence.run_as_ready().await?.into_iter().flatten().collect(),
            };
            let not_run = all - results.len();
            Ok((results, not_run))
        }
    }
}
