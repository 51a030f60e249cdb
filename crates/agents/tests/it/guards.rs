//! The ends of a chat by budgets, loops and cancellation, and their texts.

mod budgets;
mod cancel;
mod reasons;

use crate::cast::says;
use cellblock_agents::Agent;
use cellblock_agents::scripted::ScriptedModel;
use std::{sync::Arc, time::Duration};

/// An assistant that answers forever, with one cent and ten tokens each time.
fn talker() -> Agent {
    let model = ScriptedModel::with(|_| "more").named("talker").cost(0.01).usage(7, 3);
    Agent::assistant("assistant", Arc::new(model))
}

/// A model that takes much longer than any test.
fn slow() -> Arc<ScriptedModel> {
    Arc::new(ScriptedModel::with(|_| "late").delay(Duration::from_secs(600)))
}

fn user() -> Agent {
    says("user", "go on")
}
