//! Chats that are saved and resumed: nothing is lost, and no started work happens twice.

mod cuts;
mod files;
mod state;
mod within;

use crate::cast::says;
use cellblock_agents::Chat;
use std::path::Path;

fn pair(log: &Path) -> Chat {
    Chat {
        log: Some(log.to_owned()),
        max_turns: Some(2),
        ..Chat::between(says("a", "ra"), says("b", "rb"))
    }
}
