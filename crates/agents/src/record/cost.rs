//! The cost of model calls.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Completion, Usage};

/// The cost of a chat, including nested chats, summaries and speaker selection. The names in JSON
/// are AutoGen's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The cost if no answer had come from the cache.
    #[serde(rename = "usage_including_cached_inference")]
    pub including_cached: Spending,
    /// The real cost.
    #[serde(rename = "usage_excluding_cached_inference")]
    pub excluding_cached: Spending,
}

/// Money in total, and money and tokens for each model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spending {
    /// US dollars.
    pub total_cost: f64,
    /// The share of each model, by its provider's name for it.
    #[serde(flatten)]
    pub models: BTreeMap<String, ModelSpending>,
}

/// The share of one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelSpending {
    /// US dollars.
    pub cost: f64,
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// Tokens read and written.
    pub total_tokens: u64,
}

impl Cost {
    /// Adds a model call.
    pub fn add(&mut self, completion: &Completion) {
        self.including_cached.add(completion);
        if !completion.cached {
            self.excluding_cached.add(completion);
        }
    }

    /// Adds another cost.
    pub fn merge(&mut self, other: &Cost) {
        self.including_cached.merge(&other.including_cached);
        self.excluding_cached.merge(&other.excluding_cached);
    }
}

impl Spending {
    /// The tokens of all models.
    pub fn tokens(&self) -> u64 {
        self.models.values().fold(0, |sum, model| sum.saturating_add(model.total_tokens))
    }

    fn add(&mut self, completion: &Completion) {
        self.total_cost += completion.cost;
        // The name is only cloned for a model that is new.
        if !self.models.contains_key(&completion.model) {
            self.models.insert(completion.model.clone(), ModelSpending::default());
        }
        if let Some(model) = self.models.get_mut(&completion.model) {
            model.cost += completion.cost;
            let Usage { prompt_tokens, completion_tokens } = completion.usage;
            let total = prompt_tokens.saturating_add(completion_tokens);
            model.add_tokens(prompt_tokens, completion_tokens, total);
        }
    }

    fn merge(&mut self, other: &Spending) {
        self.total_cost += other.total_cost;
        for (name, theirs) in &other.models {
            let ours = self.models.entry(name.clone()).or_default();
            ours.cost += theirs.cost;
            ours.add_tokens(theirs.prompt_tokens, theirs.completion_tokens, theirs.total_tokens);
        }
    }
}

impl ModelSpending {
    /// Adds tokens. A saved chat or a server may contain any number, so the sums saturate.
    fn add_tokens(&mut self, prompt: u64, completion: u64, total: u64) {
        self.prompt_tokens = self.prompt_tokens.saturating_add(prompt);
        self.completion_tokens = self.completion_tokens.saturating_add(completion);
        self.total_tokens = self.total_tokens.saturating_add(total);
    }
}
