//! Browser, app, system and device of a user agent, and whether it is a crawler.
//!
//! The rules of uap-core (`user_agent/regexes.yaml`) cover the browsers and devices of the world. Our own lists, tried
//! first, cover the apps, browsers and makers of China (`overlay`) and the crawlers (`crawler`).
mod agent;
mod cache;
mod crawler;
mod overlay;
mod parser;

pub(crate) use self::overlay::IN_APP_BROWSERS;
pub use self::{
    agent::UserAgent,
    cache::UserAgents,
    parser::{Parser, UserAgentError},
};
