//! Groups, teams and sequences: speaker selection, views, and carryover.

mod selection;
mod sequences;
mod teams;
mod views;

use crate::cast::says;
use cellblock_agents::{Chat, Speakers};

fn group(speakers: Speakers, agents: &[&str]) -> Chat {
    let agents = agents.iter().map(|name| says(name, &format!("I am {name}"))).collect();
    Chat { speakers, max_turns: Some(6), ..Chat::group(agents) }
}
