//! A joint chat: a person, an interface designer and a user researcher speak as equals, in turn.
//!
//! AutoGen: the joint chat among its conversation patterns.

use cellblock_agents::{Agent, Chat};
use cellblock_examples::{Result, finish, model, person, transcript};

const STYLE_GUIDE: &str = "\
You design the interface of a library's app and keep to its style guide: text 20 pt, one thing on \
each screen may have 28 pt; buttons green, at the bottom, one for each screen; no animation longer \
than 0.2 s. Answer in a few sentences.";

const INTERVIEWS: &str = "\
You speak for the users of a library's app, from interviews with ten of them: seven hold the book \
in one hand while they scan; four did not know whether the scan had worked; three are under ten \
and name books by their covers. Say what a design means for them. Answer in a few sentences.";

#[tokio::main]
async fn main() -> Result<()> {
    let model = model("design_round_table").await?;
    let user = Agent {
        human: person(["I like that. But children borrow here too.", "exit"]),
        ..Agent::user_proxy("user")
    };
    let ui = Agent {
        description: "Designs the interface, after the style guide.".to_owned(),
        system_message: STYLE_GUIDE.to_owned(),
        ..Agent::assistant("ui_designer", model.clone())
    };
    let ux = Agent {
        description: "Knows what users said in interviews.".to_owned(),
        system_message: INTERVIEWS.to_owned(),
        ..Agent::assistant("ux_researcher", model)
    };

    let chat = Chat { events: transcript(), ..Chat::joint(vec![user, ui, ux]) };
    let result = chat
        .run("How should the screen look on which people scan the book that they borrow?")
        .await?;
    finish(&result)
}
