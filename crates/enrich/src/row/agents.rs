//! The user agents of a batch: bot or not, and which in-app browser.
use event::{Batch, Field, TextRef};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::text::text_ref;
use crate::user_agent::UserAgents;

/// The part of a user agent that decisions depend on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AgentFacts {
    pub(crate) is_bot: bool,
    /// '' for none.
    pub(crate) in_app_browser: &'static str,
}

/// The user agents of one batch.
#[derive(Debug, Default)]
pub(crate) struct AgentCache(HashMap<TextRef, AgentFacts, RandomState>);

impl AgentCache {
    /// The facts of a row's user agent.
    pub(crate) fn get(&mut self, batch: &Batch, row: usize, agents: &mut UserAgents) -> AgentFacts {
        match text_ref(batch, Field::UserAgent, row) {
            0 => AgentFacts::default(),
            text => *self.0.entry(text).or_insert_with(|| {
                let agent = agents.read(batch.resolve(text));
                AgentFacts { is_bot: agent.is_bot, in_app_browser: agent.in_app_browser }
            }),
        }
    }
}
