//! What a user agent says about browser, app, system and device.
//!
//! The rules of uap-core (`user_agent/regexes.yaml`) know the browsers and devices of the world. Our own lists, tried
//! first, know the apps (`overlay`) and crawlers (`crawler`) that matter in China.
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
