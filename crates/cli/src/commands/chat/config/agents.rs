//! Builds agents from a file.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result};
use cellblock_agents::{Agent, ModelClient, team};
use cellblock_models::ModelConfig;
use toml::Spanned;

use super::{
    file::ConfigFile,
    format::{AgentConfig, AgentKind, Name},
};
use crate::commands::chat::{
    agents::{TEXT_ONLY, user},
    models::{Models, check_name},
    resources::Resources,
};

/// Builds agents on request, each with its team.
pub struct AgentBuilder<'c> {
    pub file: &'c ConfigFile,
    pub resources: &'c Resources,
    pub models: &'c mut Models,
    /// Models so far, by name; the default model has the empty name.
    clients: BTreeMap<String, Arc<dyn ModelClient>>,
}

impl<'c> AgentBuilder<'c> {
    /// Returns a builder.
    ///
    /// # Errors
    /// If two agents have the same name.
    pub fn new(
        file: &'c ConfigFile,
        resources: &'c Resources,
        models: &'c mut Models,
    ) -> Result<Self> {
        let names = || file.config.agents.iter().map(|agent| &agent.get_ref().name);
        for (index, name) in names().enumerate() {
            if names().take(index).any(|before| before.get_ref() == name.get_ref()) {
                let what = format!("two agents have the name `{}`", name.get_ref());
                return Err(file.error(name.span(), what));
            }
        }
        Ok(Self { file, resources, models, clients: BTreeMap::new() })
    }

    /// Returns the description of an agent.
    ///
    /// # Errors
    /// If no agent has the name.
    pub fn find(&self, name: &Name) -> Result<&'c Spanned<AgentConfig>> {
        let agents = &self.file.config.agents;
        let names = || agents.iter().map(|agent| agent.get_ref().name.get_ref().as_str());
        let index = names().position(|own| own == name.get_ref());
        index.map(|index| &agents[index]).ok_or_else(|| {
            let all = match agents.is_empty() {
                true => "there are no [[agents]]".to_owned(),
                false => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
            };
            let what = format!("there is no agent `{}`; {all}", name.get_ref());
            self.file.error(name.span(), what)
        })
    }

    /// Builds an agent with its team.
    ///
    /// # Errors
    /// If its description is invalid, or its model or the executor cannot start.
    pub async fn build(&mut self, name: &Name) -> Result<Agent> {
        self.build_member(name, &mut Vec::new()).await.map(|(agent, _)| agent)
    }

    /// Builds an agent whose directors are `above`. The second value is true if its code runs.
    async fn build_member(
        &mut self,
        name: &Name,
        above: &mut Vec<String>,
    ) -> Result<(Agent, bool)> {
        let spanned = self.find(name)?;
        let config = spanned.get_ref();
        let own = config.name.get_ref().clone();
        if above.contains(&own) {
            let circle = format!("{} -> {own}", above.join(" -> "));
            let what = format!("`{own}` cannot be in a team that it directs: {circle}");
            return Err(self.file.error(name.span(), what));
        }
        let runs_code =
            config.code.unwrap_or(config.kind == AgentKind::User) && self.resources.runs_code();
        let code = if runs_code && above.is_empty() { self.resources.code().await? } else { None };
        let mut agent = match config.kind {
            AgentKind::User => {
                self.refuse_fields_of_assistants(spanned)?;
                user(&own, self.resources, code)
            }
            AgentKind::Assistant => {
                let agent = self.assistant(config, above).await?;
                Agent { code, human: self.resources.person.clone(), ..agent }
            }
        };
        apply(config, &mut agent);
        Ok((agent, runs_code))
    }

    fn refuse_fields_of_assistants(&self, user: &Spanned<AgentConfig>) -> Result<()> {
        let config = user.get_ref();
        let fields = [(config.model.is_some(), "model"), (!config.team.is_empty(), "team")];
        match fields.iter().find(|(is_set, _)| *is_set) {
            None => Ok(()),
            Some((_, field)) => {
                let what = format!(
                    "`{}` is a user, which has no `{field}`; remove `{field}`, or `kind`",
                    config.name.get_ref()
                );
                Err(self.file.error(user.span(), what))
            }
        }
    }

    /// Builds an assistant, or a director with its team.
    async fn assistant(&mut self, config: &AgentConfig, above: &mut Vec<String>) -> Result<Agent> {
        let name = config.name.get_ref();
        let model = self.model(config.model.as_ref()).await?;
        if config.team.is_empty() {
            let mut agent = Agent::assistant(name, model);
            if !self.resources.runs_code() {
                agent.system_message = TEXT_ONLY.to_owned();
            }
            return Ok(agent);
        }
        let mut members = Vec::new();
        above.push(name.clone());
        for member in &config.team {
            let (agent, runs_code) = Box::pin(self.build_member(member, above)).await?;
            let code = if runs_code { self.resources.code().await? } else { None };
            members.push(team::Member { agent, code });
        }
        above.pop();
        Ok(team::director(name, model, members))
    }

    /// Returns a model by its name in the file or as for `--model`; the default model for `None`.
    ///
    /// # Errors
    /// If there is no such model, or it cannot start.
    pub async fn model(&mut self, name: Option<&Name>) -> Result<Arc<dyn ModelClient>> {
        let key = name.map(|name| name.get_ref().clone()).unwrap_or_default();
        if let Some(client) = self.clients.get(&key) {
            return Ok(client.clone());
        }
        let client = match name {
            None => self.models.default().await?,
            Some(name) => {
                let entry = self.file.config.models.get(&key).map(|model| model.0.clone());
                let config = match entry {
                    Some(config) => config,
                    None => self.model_by_name(name)?,
                };
                let client = self.models.get(&config).await;
                client.with_context(|| format!("{}: cannot use model `{key}`", self.file.name))?
            }
        };
        self.clients.insert(key, client.clone());
        Ok(client)
    }

    /// Returns a model that is not described in the file.
    fn model_by_name(&self, name: &Name) -> Result<ModelConfig> {
        if let Err(error) = check_name(name.get_ref()) {
            let known: Vec<_> = self.file.config.models.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let what = format!("{error}. Names in [models]: {known}");
            return Err(self.file.error(name.span(), what));
        }
        Ok(ModelConfig::named(name.get_ref()))
    }
}

/// Applies the fields that all kinds of agents have.
fn apply(config: &AgentConfig, agent: &mut Agent) {
    agent.parameters = config.parameters.clone();
    agent.human_input = config.human.unwrap_or(agent.human_input);
    if let Some(text) = &config.system_message {
        agent.system_message.clone_from(text);
    }
    if let Some(text) = &config.description {
        agent.description.clone_from(text);
    }
    if let Some(text) = &config.default_reply {
        agent.default_reply.clone_from(text);
    }
    agent.max_consecutive_auto_replies =
        config.max_consecutive_auto_replies.unwrap_or(agent.max_consecutive_auto_replies);
}
