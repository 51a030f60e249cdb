//! Builds chats from a file.

use std::{ops::Range, sync::Arc};

use anyhow::Result;
use cellblock_agents::{
    Agent, AutoSelection, Chat, Message, Opening, Speakers, Summary, asks_for_work, ends_with_word,
    sequence,
};
use toml::Spanned;

use super::{
    agents::AgentBuilder,
    file::ConfigFile,
    format::{AgentKind, ChatConfig, ChatKind, Name, SpeakersConfig, StepConfig, SummaryConfig},
};
use crate::commands::chat::{
    agents::ends_when_idle, models::Models, plan::Plan, resources::Resources,
};

/// Default number of turns of a chat.
const DEFAULT_MAX_TURNS: u32 = 10;

/// Returns the plan that a file describes. `opening` is the task of the command line.
///
/// # Errors
/// If the file is invalid (the message names the line), or a model or the executor cannot start.
pub async fn plan(
    file: &ConfigFile,
    resources: &Resources,
    models: &mut Models,
    opening: Opening,
) -> Result<Plan> {
    let mut builder = AgentBuilder::new(file, resources, models)?;
    let steps = &file.config.sequence;
    let Some(first) = steps.first() else {
        let default = ChatConfig::default();
        let (config, at) = match &file.config.chat {
            Some(chat) => (chat.get_ref(), chat.span()),
            None => (&default, 0..0),
        };
        return Ok(Plan::Chat(Box::new(chat(&mut builder, config, at).await?), opening));
    };
    if file.config.chat.is_some() {
        return Err(file.error(first.span(), "give either [chat] or [[sequence]], not both"));
    }
    let in_order = steps.iter().all(|step| step.get_ref().after.is_none());
    let mut planned = Vec::new();
    for step in steps {
        let config = step.get_ref();
        let chat = chat(&mut builder, &config.chat, step.span()).await?;
        let opening = config.task.clone().map_or_else(|| opening.clone(), Opening::from);
        let after = indices(file, steps, config.after.as_deref().unwrap_or_default())?;
        let excluded_carryover = indices(file, steps, &config.without)?;
        let step = sequence::Step::new(chat, opening);
        planned.push(sequence::Step { after, excluded_carryover, ..step });
    }
    Ok(Plan::Sequence { steps: planned, in_order })
}

/// Returns the indices of chats of a sequence by their names.
fn indices(file: &ConfigFile, steps: &[Spanned<StepConfig>], names: &[Name]) -> Result<Vec<usize>> {
    let index = |name: &Name| {
        let is_named = |step: &Spanned<StepConfig>| {
            step.get_ref().name.as_ref().is_some_and(|own| own.get_ref() == name.get_ref())
        };
        let what = || format!("there is no chat `{}` in the sequence", name.get_ref());
        steps.iter().position(is_named).ok_or_else(|| file.error(name.span(), what()))
    };
    names.iter().map(index).collect()
}

async fn chat(
    builder: &mut AgentBuilder<'_>,
    config: &ChatConfig,
    at: Range<usize>,
) -> Result<Chat> {
    let file = builder.file;
    let names = config.agents.clone().unwrap_or_else(|| default_agents(file));
    if names.len() < 2 {
        let what = format!("a chat needs at least two agents, and this one has {}", names.len());
        return Err(file.error(at, what));
    }
    let mut agents = Vec::new();
    for name in &names {
        agents.push(builder.build(name).await?);
    }
    let default_kind = if agents.len() == 2 { ChatKind::Pair } else { ChatKind::Group };
    let mut chat = match config.kind.unwrap_or(default_kind) {
        ChatKind::Pair => pair(builder, config, at, &names, agents)?,
        ChatKind::Group => group(builder, config, Chat::group(agents)).await?,
        ChatKind::Joint => group(builder, config, Chat::joint(agents)).await?,
    };
    chat.max_turns = Some(config.max_turns.unwrap_or(DEFAULT_MAX_TURNS));
    chat.budget = config.budget.clone();
    chat.summary = match config.summary {
        SummaryConfig::LastMessage => Summary::LastMessage,
        SummaryConfig::Reflection => Summary::Reflection { prompt: None, model: None },
        SummaryConfig::None => Summary::Nothing,
    };
    Ok(chat)
}

/// Returns all agents that are in no team, users first.
fn default_agents(file: &ConfigFile) -> Vec<Name> {
    let agents = || file.config.agents.iter().map(Spanned::get_ref);
    let is_member =
        |name: &str| agents().any(|agent| agent.team.iter().any(|member| member.get_ref() == name));
    let free = agents().filter(|agent| !is_member(agent.name.get_ref()));
    let (mut users, others): (Vec<_>, Vec<_>) =
        free.partition(|agent| agent.kind == AgentKind::User);
    users.extend(others);
    users.into_iter().map(|agent| agent.name.clone()).collect()
}

fn pair(
    builder: &AgentBuilder<'_>,
    config: &ChatConfig,
    at: Range<usize>,
    names: &[Name],
    agents: Vec<Agent>,
) -> Result<Chat> {
    let file = builder.file;
    let count = agents.len();
    let mut agents = agents.into_iter().zip(names).map(|(agent, name)| match builder.find(name) {
        Ok(found) if found.get_ref().kind == AgentKind::User => ends_when_idle(agent),
        _ => agent,
    });
    let (Some(first), Some(second), None) = (agents.next(), agents.next(), agents.next()) else {
        return Err(file.error(at, format!("a pair has two agents, and this one has {count}")));
    };
    refuse_fields_of_groups(file, config, at)?;
    Ok(Chat::between(first, second))
}

/// Refuses fields that have no effect between two agents.
fn refuse_fields_of_groups(file: &ConfigFile, config: &ChatConfig, at: Range<usize>) -> Result<()> {
    let fields = [
        ("speakers", config.speakers.is_some()),
        ("selector", config.selector.is_some()),
        ("selector_message", config.selector_message.is_some()),
        ("transitions", config.transitions != Default::default()),
        ("allow_repeat", config.allow_repeat.is_some()),
        ("introductions", config.introductions.is_some()),
        ("end_word", config.end_word.is_some()),
    ];
    match fields.iter().find(|(_, is_set)| *is_set) {
        None => Ok(()),
        Some((field, _)) => {
            Err(file.error(at, format!("`{field}` is for groups; two agents answer each other")))
        }
    }
}

/// Applies the fields of a group.
async fn group(
    builder: &mut AgentBuilder<'_>,
    config: &ChatConfig,
    mut chat: Chat,
) -> Result<Chat> {
    chat.speakers = speakers(builder, config, chat.speakers).await?;
    chat.transitions = config.transitions.clone();
    chat.allow_repeat = config.allow_repeat.unwrap_or(chat.allow_repeat);
    chat.introductions = config.introductions.unwrap_or(chat.introductions);
    let word = config.end_word.clone().unwrap_or_else(|| "TERMINATE".to_owned());
    let runs_code = chat.agents.iter().any(|agent| agent.code.is_some());
    chat.is_termination = Some(Arc::new(move |history: &[Message]| {
        history
            .last()
            .is_some_and(|last| ends_with_word(last, &word) && !asks_for_work(last, runs_code))
    }));
    Ok(chat)
}

/// Returns the choice of speakers; `default` is that of the kind of chat.
async fn speakers(
    builder: &mut AgentBuilder<'_>,
    config: &ChatConfig,
    default: Speakers,
) -> Result<Speakers> {
    let chosen = match config.speakers {
        None => default,
        Some(SpeakersConfig::RoundRobin) => Speakers::RoundRobin,
        Some(SpeakersConfig::Random) => Speakers::Random { seed: None },
        Some(SpeakersConfig::Manual) => Speakers::Manual(builder.resources.person.clone()),
        Some(SpeakersConfig::Auto) => match default {
            Speakers::Auto(auto) => Speakers::Auto(auto),
            _ => Speakers::Auto(AutoSelection::default()),
        },
    };
    let Speakers::Auto(mut auto) = chosen else {
        if config.selector.is_some() || config.selector_message.is_some() {
            let at = config.selector.as_ref().map_or(0..0, Spanned::span);
            let what = "`selector` and `selector_message` are for `speakers = \"auto\"`, where a \
                        model chooses";
            return Err(builder.file.error(at, what));
        }
        return Ok(chosen);
    };
    if let Some(name) = &config.selector {
        auto.model = Some(builder.model(Some(name)).await?);
    }
    if let Some(text) = &config.selector_message {
        auto.prompt.clone_from(text);
    }
    Ok(Speakers::Auto(auto))
}
