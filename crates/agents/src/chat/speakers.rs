//! The rules that select the next speaker.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{error::Error, human::Human, message::Message, model::ModelClient};

/// The rule that selects the next speaker.
#[derive(Clone)]
pub enum Speakers {
    /// The other agent, in a chat of two.
    Other,
    /// All in turn.
    RoundRobin,
    /// At random. The same seed gives the same selection.
    Random {
        /// The seed; `None` for a new one each time.
        seed: Option<u64>,
    },
    /// A model selects.
    Auto(AutoSelection),
    /// A person selects. If they leave it open, the next agent in turn speaks.
    Manual(Arc<dyn Human>),
    /// A function selects.
    Custom(SelectSpeaker),
}

/// Selects a speaker by name, from the messages and the eligible names; `None` ends the chat.
pub type SelectSpeaker = Arc<dyn Fn(&[Message], &[&str]) -> Option<String> + Send + Sync>;

/// The selection by a model.
#[derive(Debug, Clone)]
pub struct AutoSelection {
    /// The model; `None` for the one of the first agent that has one. If no agent has one, all
    /// speak in turn.
    pub model: Option<Arc<dyn ModelClient>>,
    /// The system message. `{agents}` becomes the names and descriptions. Default:
    /// [`SELECT_SYSTEM`](crate::prompts::SELECT_SYSTEM).
    pub prompt: String,
    /// The maximum of repetitions if the model names nobody or several agents. After them, the next
    /// agent in turn speaks. Default: 2.
    pub retries: u32,
}

impl Default for AutoSelection {
    fn default() -> Self {
        Self { model: None, prompt: crate::prompts::SELECT_SYSTEM.to_owned(), retries: 2 }
    }
}

impl Speakers {
    pub(crate) fn seed(&self) -> Option<u64> {
        match self {
            Speakers::Random { seed } => *seed,
            _ => None,
        }
    }
}

/// Parses the rules that have a name: `auto`, `round_robin` and `random`.
impl FromStr for Speakers {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "auto" => Ok(Speakers::Auto(AutoSelection::default())),
            "round_robin" => Ok(Speakers::RoundRobin),
            "random" => Ok(Speakers::Random { seed: None }),
            _ => Err(Error::Invalid(format!(
                "unknown speaker selection `{name}`; use auto, round_robin or random"
            ))),
        }
    }
}

impl fmt::Debug for Speakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Speakers::Other => "Other",
            Speakers::RoundRobin => "RoundRobin",
            Speakers::Random { .. } => "Random",
            Speakers::Auto(_) => "Auto",
            Speakers::Manual(_) => "Manual",
            Speakers::Custom(_) => "Custom",
        })
    }
}

/// The allowed orders of speakers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transitions {
    /// Any agent may follow any other.
    #[default]
    Any,
    /// After each key, only the listed agents may speak; after an agent that is no key, nobody.
    Allowed(BTreeMap<String, Vec<String>>),
    /// After each key, the listed agents may not speak.
    Forbidden(BTreeMap<String, Vec<String>>),
}

impl Transitions {
    /// True if `to` may speak after `from`.
    pub fn allow(&self, from: &str, to: &str) -> bool {
        let is_listed = |map: &BTreeMap<String, Vec<String>>| {
            map.get(from).is_some_and(|names| names.iter().any(|name| name == to))
        };
        match self {
            Transitions::Any => true,
            Transitions::Allowed(map) => is_listed(map),
            Transitions::Forbidden(map) => !is_listed(map),
        }
    }

    /// All names, with repetitions.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let map = match self {
            Transitions::Any => None,
            Transitions::Allowed(map) | Transitions::Forbidden(map) => Some(map),
        };
        map.into_iter()
            .flatten()
            .flat_map(|(from, to)| std::iter::once(from).chain(to))
            .map(String::as_str)
    }
}
