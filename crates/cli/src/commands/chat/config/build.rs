//! Chats out of a file.

use std::sync::Arc;

use anyhow::Result;
use cellblock_agents::{
    AutoSelection, Chat, Message, Opening, Speakers, Summary, asks_for_work, ends_with_word,
    sequence,
};
use toml::Spanned;

use super::{
    File,
    cast::Cast,
    format::{AgentKind, ChatConfig, ChatKind, Name, SpeakersConfig, StepConfig, SummaryConfig},
};
use crate::commands::chat::{
    Plan,
    agents::{Stage, done_when_idle},
    models::Models,
};

/// How many turns a chat has if nothing is said about it.
const MAX_TURNS: u32 = 10;

/// What a file describes. `opening` is what the command line says.
///
/// # Errors
/// When the file makes no sense; the message names the line.
pub async fn plan(
    file: &File,
    stage: &Stage,
    models: &mut Models,
    opening: Opening,
) -> Result<Plan> {
    let mut cast = Cast::new(file, stage, models)?;
    if let (Some(_), Some(step)) = (&file.config.chat, file.config.sequence.first()) {
        return Err(file.fault(step.span(), "give either [chat] or [[sequence]]"));
    }
    if file.config.sequence.is_empty() {
        let usual = ChatConfig::default();
        let (config, at) = match &file.config.chat {
            Some(chat) => (chat.get_ref(), chat.span()),
            None => (&usual, 0..0),
        };
        return Ok(Plan::One(Box::new(chat(&mut cast, config, at).await?), opening));
    }
    let steps = &file.config.sequence;
    let in_order = steps.iter().all(|step| step.get_ref().after.is_none());
    let mut planned = Vec::new();
    for step in steps {
        let config = step.get_ref();
        let chat = chat(&mut cast, &config.chat, step.span()).await?;
        let opening = config.task.clone().map_or_else(|| opening.clone(), Opening::from);
        let after = places(file, steps, config.after.as_deref().unwrap_or_default())?;
        let excluded_carryover = places(file, steps, &config.without)?;
        planned.push(sequence::Step {
            after,
            excluded_carryover,
            ..sequence::Step::new(chat, opening)
        });
    }
    Ok(Plan::Several { steps: planned, in_order })
}

/// The places of chats of a sequence, by their names.
fn places(file: &File, steps: &[Spanned<StepConfig>], names: &[Name]) -> Result<Vec<usize>> {
    let place = |name: &Name| {
        let is = |step: &Spanned<StepConfig>| {
            step.get_ref().name.as_ref().is_some_and(|own| own.get_ref() == name.get_ref())
        };
        let what = || format!("no chat of the sequence is named `{}`", name.get_ref());
        steps.iter().position(is).ok_or_else(|| file.fault(name.span(), what()))
    };
    names.iter().map(place).collect()
}

async fn chat(
    cast: &mut Cast<'_>,
    config: &ChatConfig,
    at: std::ops::Range<usize>,
) -> Result<Chat> {
    let file = cast.file;
    let names = match &config.agents {
        Some(names) => names.clone(),
        None => usual_agents(file),
    };
    if names.len() < 2 {
        let what = format!("a chat needs two agents at least, and this one has {}", names.len());
        return Err(file.fault(at, what));
    }
    let mut agents = Vec::new();
    for name in &names {
        agents.push(cast.agent(name).await?);
    }
    let kind =
        config.kind.unwrap_or(if agents.len() == 2 { ChatKind::Pair } else { ChatKind::Group });
    let mut chat = match kind {
        ChatKind::Pair if agents.len() > 2 => {
            return Err(
                file.fault(at, format!("a pair has two agents, and this one has {}", agents.len()))
            );
        }
        ChatKind::Pair => {
            refuse_what_is_a_groups(file, config, at.clone())?;
            let mut agents =
                agents.into_iter().zip(&names).map(|(agent, name)| match cast.find(name) {
                    Ok(found) if found.get_ref().kind == AgentKind::User => done_when_idle(agent),
                    _ => agent,
                });
            match (agents.next(), agents.next()) {
                (Some(first), Some(second)) => Chat::between(first, second),
                _ => return Err(file.fault(at, "a pair has two agents")),
            }
        }
        ChatKind::Group => Chat::group(agents),
        ChatKind::Joint => Chat::joint(agents),
    };
    if kind != ChatKind::Pair {
        speakers(cast, config, &mut chat).await?;
        chat.transitions = config.transitions.clone();
        chat.allow_repeat = config.allow_repeat.unwrap_or(chat.allow_repeat);
        chat.introductions = config.introductions.unwrap_or(chat.introductions);
        let word = config.end_word.clone().unwrap_or_else(|| "TERMINATE".to_owned());
        let runs_code = chat.agents.iter().any(|agent| agent.code.is_some());
        let ends = move |history: &[Message]| {
            history
                .last()
                .is_some_and(|last| ends_with_word(last, &word) && !asks_for_work(last, runs_code))
        };
        chat.is_termination = Some(Arc::new(ends));
    }
    chat.max_turns = Some(config.max_turns.unwrap_or(MAX_TURNS));
    chat.budget = config.budget.clone();
    chat.summary = match config.summary {
        SummaryConfig::LastMessage => Summary::LastMessage,
        SummaryConfig::Reflection => Summary::Reflection { prompt: None, model: None },
        SummaryConfig::None => Summary::Nothing,
    };
    Ok(chat)
}

/// All agents that are in no team, users first.
fn usual_agents(file: &File) -> Vec<Name> {
    let agents = || file.config.agents.iter().map(Spanned::get_ref);
    let directed =
        |name: &str| agents().any(|agent| agent.team.iter().any(|member| member.get_ref() == name));
    let free = agents().filter(|agent| !directed(agent.name.get_ref()));
    let (mut users, others): (Vec<_>, Vec<_>) =
        free.partition(|agent| agent.kind == AgentKind::User);
    users.extend(others);
    users.into_iter().map(|agent| agent.name.clone()).collect()
}

/// Refuses what would have no effect between two.
fn refuse_what_is_a_groups(
    file: &File,
    config: &ChatConfig,
    at: std::ops::Range<usize>,
) -> Result<()> {
    let set = [
        ("speakers", config.speakers.is_some()),
        ("selector", config.selector.is_some()),
        ("selector_message", config.selector_message.is_some()),
        ("transitions", config.transitions != Default::default()),
        ("allow_repeat", config.allow_repeat.is_some()),
        ("introductions", config.introductions.is_some()),
        ("end_word", config.end_word.is_some()),
    ];
    match set.iter().find(|(_, set)| *set) {
        None => Ok(()),
        Some((field, _)) => {
            Err(file.fault(at, format!("`{field}` is for groups; two agents answer each other")))
        }
    }
}

async fn speakers(cast: &mut Cast<'_>, config: &ChatConfig, chat: &mut Chat) -> Result<()> {
    let auto = match &chat.speakers {
        Speakers::Auto(auto) => Some(auto.clone()),
        _ => None,
    };
    let chooses = auto.is_some() && config.speakers.is_none()
        || config.speakers == Some(SpeakersConfig::Auto);
    let text_at = config.selector.as_ref().map_or(0..0, Spanned::span);
    if !chooses && (config.selector.is_some() || config.selector_message.is_some()) {
        let what = "`selector` and `selector_message` are for `speakers = \"auto\"`, where a model chooses";
        return Err(cast.file.fault(text_at, what));
    }
    chat.speakers = match config.speakers {
        None if auto.is_none() => return Ok(()),
        Some(SpeakersConfig::RoundRobin) => Speakers::RoundRobin,
        Some(SpeakersConfig::Random) => Speakers::Random { seed: None },
        Some(SpeakersConfig::Manual) => Speakers::Manual(cast.stage.person.clone()),
        None | Some(SpeakersConfig::Auto) => {
            let mut auto = auto.unwrap_or_else(AutoSelection::default);
            if let Some(name) = &config.selector {
                auto.model = Some(cast.model(Some(name)).await?);
            }
            if let Some(text) = &config.selector_message {
                auto.prompt.clone_from(text);
            }
            Speakers::Auto(auto)
        }
    };
    Ok(())
}
