//! Agents out of a file.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result};
use cellblock_agents::{Agent, ModelClient, team};
use toml::Spanned;

use super::{
    File,
    format::{AgentConfig, AgentKind, Name},
};
use crate::commands::chat::{
    agents::{Stage, user},
    models::{self, Models},
};

/// Makes agents when they are asked for. A team's members are made with their director.
pub struct Cast<'c> {
    pub file: &'c File,
    pub stage: &'c Stage,
    pub models: &'c mut Models,
    /// Models that were made, by name.
    made: BTreeMap<String, Arc<dyn ModelClient>>,
}

impl<'c> Cast<'c> {
    /// Nobody yet.
    ///
    /// # Errors
    /// When two agents have one name.
    pub fn new(file: &'c File, stage: &'c Stage, models: &'c mut Models) -> Result<Self> {
        let names = || file.config.agents.iter().map(|agent| &agent.get_ref().name);
        for (place, name) in names().enumerate() {
            if names().take(place).any(|before| before.get_ref() == name.get_ref()) {
                return Err(
                    file.fault(name.span(), format!("two agents are named `{}`", name.get_ref()))
                );
            }
        }
        Ok(Self { file, stage, models, made: BTreeMap::new() })
    }

    /// The description of an agent.
    ///
    /// # Errors
    /// When no agent has the name.
    pub fn find(&self, name: &Name) -> Result<&'c Spanned<AgentConfig>> {
        let agents = &self.file.config.agents;
        agents.iter().find(|agent| agent.get_ref().name.get_ref() == name.get_ref()).ok_or_else(
            || {
                let all = agents
                    .iter()
                    .map(|agent| agent.get_ref().name.get_ref().as_str())
                    .collect::<Vec<_>>()
                    .join(", ");
                let all = if all.is_empty() {
                    "there are no [[agents]]".to_owned()
                } else {
                    format!("there are {all}")
                };
                self.file
                    .fault(name.span(), format!("no agent is named `{}`; {all}", name.get_ref()))
            },
        )
    }

    /// An agent, with its team.
    ///
    /// # Errors
    /// When its description makes no sense, and those of its model.
    pub async fn agent(&mut self, name: &Name) -> Result<Agent> {
        self.member(name, &mut Vec::new()).await.map(|(agent, _)| agent)
    }

    /// An agent, and whether code of it is run; `above` are its directors.
    async fn member(&mut self, name: &Name, above: &mut Vec<String>) -> Result<(Agent, bool)> {
        let spanned = self.find(name)?;
        let config = spanned.get_ref();
        let own = config.name.get_ref().clone();
        if above.contains(&own) {
            let circle = format!("{} -> {own}", above.join(" -> "));
            return Err(self.file.fault(
                name.span(),
                format!("`{own}` cannot be in a team that it directs: {circle}"),
            ));
        }
        let runs_code =
            config.code.unwrap_or(config.kind == AgentKind::User) && self.stage.runs_code();
        let code = if runs_code && above.is_empty() { self.stage.code().await? } else { None };
        let mut agent = match config.kind {
            AgentKind::User => {
                for (set, field) in
                    [(config.model.is_some(), "model"), (!config.team.is_empty(), "team")]
                {
                    if set {
                        let what = format!(
                            "`{own}` is a user, which has no `{field}`: leave it out, or the kind"
                        );
                        return Err(self.file.fault(spanned.span(), what));
                    }
                }
                user(&own, self.stage, code)
            }
            AgentKind::Assistant => {
                let model = self.model(config.model.as_ref()).await?;
                let mut members = Vec::new();
                above.push(own.clone());
                for name in &config.team {
                    let (agent, runs_code) = Box::pin(self.member(name, above)).await?;
                    let code = if runs_code { self.stage.code().await? } else { None };
                    members.push(team::Member { agent, code });
                }
                above.pop();
                let agent = match members.is_empty() {
                    true => Agent::assistant(&own, model),
                    false => team::director(&own, model, members),
                };
                Agent { code, human: self.stage.person.clone(), ..agent }
            }
        };
        agent.parameters = config.parameters.clone();
        agent.human_input = config.human.unwrap_or(agent.human_input);
        if let Some(text) = &config.system_message {
            agent.system_message.clone_from(text);
        } else if config.kind == AgentKind::Assistant
            && config.team.is_empty()
            && !self.stage.runs_code()
        {
            agent.system_message = crate::commands::chat::agents::WITHOUT_CODE.to_owned();
        }
        if let Some(text) = &config.description {
            agent.description.clone_from(text);
        }
        if let Some(text) = &config.default_reply {
            agent.default_reply.clone_from(text);
        }
        agent.max_consecutive_auto_replies =
            config.max_consecutive_auto_replies.unwrap_or(agent.max_consecutive_auto_replies);
        Ok((agent, runs_code))
    }

    /// A model by its name in the file or anywhere; the usual one for none.
    ///
    /// # Errors
    /// When there is none of that name, and those of its start.
    pub async fn model(&mut self, name: Option<&Name>) -> Result<Arc<dyn ModelClient>> {
        let key = name.map(|name| name.get_ref().clone()).unwrap_or_default();
        if let Some(made) = self.made.get(&key) {
            return Ok(made.clone());
        }
        let client = match name {
            None => self.models.usual().await?,
            Some(name) => {
                let described = self.file.config.models.get(&key).map(|model| model.0.clone());
                let config = match described {
                    Some(config) => config,
                    None => self.by_name(name)?,
                };
                let making = self.models.get(&config).await;
                making.with_context(|| {
                    format!("{}: the model `{key}` cannot be used", self.file.name)
                })?
            }
        };
        self.made.insert(key, client.clone());
        Ok(client)
    }

    /// A model that is not in the file.
    fn by_name(&self, name: &Name) -> Result<cellblock_models::ModelConfig> {
        if let Err(error) = models::check(name.get_ref()) {
            let known =
                self.file.config.models.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "none".to_owned() } else { known };
            return Err(self
                .file
                .fault(name.span(), format!("{error}. Of [models] there are: {known}")));
        }
        Ok(cellblock_models::ModelConfig::named(name.get_ref()))
    }
}
