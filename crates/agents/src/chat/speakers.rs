//! The rules of who speaks next.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{error::Error, human::Human, message::Message, model::ModelClient};

/// Who speaks next.
#[derive(Clone)]
pub enum Speakers {
    /// The other one, in a chat of two.
    Other,
    /// All in turn.
    RoundRobin,
    /// By chance; the same seed gives the same choices.
    Random {
        /// The seed; `None` for another one each time.
        seed: Option<u64>,
    },
    /// A model chooses.
    Auto(AutoSelection),
    /// A person chooses; if they leave it open, the next one in turn.
    Manual(Arc<dyn Human>),
    /// A function chooses.
    Custom(Choose),
}

/// Chooses a speaker by name, from the messages and the names of those who may speak; `None` ends the chat.
pub type Choose = Arc<dyn Fn(&[Message], &[&str]) -> Option<String> + Send + Sync>;

/// How a model chooses.
#[derive(Debug, Clone)]
pub struct AutoSelection {
    /// The model; `None` for that of the first agent that has one. Where no agent has one, all speak in turn.
    pub model: Option<Arc<dyn ModelClient>>,
    /// Its system message; `{agents}` becomes the names and descriptions. Default: [`crate::prompts::SELECT_SYSTEM`].
    pub prompt: String,
    /// How often it is asked again when it names nobody or several; then the next one in turn speaks. Default: 2.
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

/// The rules that have a name: `auto`, `round_robin` and `random`.
impl FromStr for Speakers {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "auto" => Ok(Speakers::Auto(AutoSelection::default())),
            "round_robin" => Ok(Speakers::RoundRobin),
            "random" => Ok(Speakers::Random { seed: None }),
            _ => Err(Error::Invalid(format!(
                "there is no way to choose speakers named `{name}`; choose auto, round_robin or random"
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

/// Who may speak after whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transitions {
    /// Anybody after anybody.
    #[default]
    Any,
    /// After each of these only those named; after who is not listed, nobody.
    Allowed(BTreeMap<String, Vec<String>>),
    /// After each of these not those named.
    Forbidden(BTreeMap<String, Vec<String>>),
}

impl Transitions {
    /// Whether `to` may speak after `from`.
    pub fn allow(&self, from: &str, to: &str) -> bool {
        let listed = |map: &BTreeMap<String, Vec<String>>| {
            map.get(from).is_some_and(|names| names.iter().any(|name| name == to))
        };
        match self {
            Transitions::Any => true,
            Transitions::Allowed(map) => listed(map),
            Transitions::Forbidden(map) => !listed(map),
        }
    }

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
