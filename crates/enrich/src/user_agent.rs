//! What a user agent says about browser, app, system and device.
//!
//! The rules of uap-core (`user_agent/regexes.yaml`) know the world's browsers and devices; our own lists, which are
//! asked first, know the apps, browsers and crawlers of China's web. Reading costs 10 to 20 µs, so each text is read
//! once and remembered.
use std::{
    mem,
    sync::{Arc, OnceLock},
    thread,
};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

mod crawler;
mod overlay;
mod parser;

pub use overlay::IN_APP_BROWSERS;
pub use parser::{Parser, UserAgentError};

/// User agents remembered in each of the two generations: about 500 bytes each.
const GENERATION: usize = 32_768;

/// What one user agent says; '' for what it leaves open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserAgent {
    /// The browser, without version: Chrome, Mobile Safari, WeChat, Quark, …
    pub browser: String,
    /// The app whose built-in browser it is, one of [`IN_APP_BROWSERS`]; '' for a browser of its own.
    pub in_app_browser: &'static str,
    /// Android, iOS, HarmonyOS, Windows, macOS, Linux, …
    pub os_name: String,
    /// As far as it is told, such as 17.4.1.
    pub os_version: String,
    /// Who made the device, spelt as devices spell it themselves: HUAWEI, Xiaomi, vivo, …
    pub device_brand: String,
    /// The model as the device calls itself.
    pub device_model: String,
    /// Whether it is a known crawler or a browser without a head.
    pub is_bot: bool,
}

/// Compiled by whoever asks first; the others wait.
type Rules = Arc<OnceLock<Result<Arc<Parser>, UserAgentError>>>;

/// Reads user agents and remembers the last ones. Each worker has its own; the parser is shared.
#[derive(Debug, Clone)]
pub struct UserAgents {
    rules: Rules,
    recent: HashMap<Box<str>, UserAgent, RandomState>,
    /// Those that were recent before; one that is asked for again becomes recent again.
    older: HashMap<Box<str>, UserAgent, RandomState>,
    generation: usize,
}

impl UserAgents {
    /// With an empty memory.
    pub fn new(parser: Arc<Parser>) -> Self {
        Self::with(Arc::new(OnceLock::from(Ok(parser))))
    }

    /// The same, and the rules are compiled on a thread of their own: a process that starts has other things to do.
    pub fn compiling() -> Self {
        let agents = Self::with(Rules::default());
        let rules = Arc::clone(&agents.rules);
        let compile = move || {
            compiled(&rules);
        };
        if let Err(error) = thread::Builder::new().name("user-agents".into()).spawn(compile) {
            tracing::warn!(%error, "user agent rules are compiled when the first worker needs them");
        }
        agents
    }

    fn with(rules: Rules) -> Self {
        Self { rules, recent: HashMap::default(), older: HashMap::default(), generation: GENERATION }
    }

    /// The rules, after a wait while they are being compiled. To be asked before anything is read.
    ///
    /// # Errors
    /// The rules in the program are broken; nothing is read from any text then.
    pub fn parser(&self) -> Result<&Parser, &UserAgentError> {
        compiled(&self.rules).as_deref()
    }

    /// What `text` says; nothing of an empty one.
    pub fn read(&mut self, text: &str) -> &UserAgent {
        if !self.recent.contains_key(text) {
            let read = |parser: &Parser| parser.read(text);
            let known = self.older.remove(text);
            let agent = known.unwrap_or_else(|| self.parser().map(read).unwrap_or_default());
            if self.recent.len() >= self.generation {
                self.older = mem::take(&mut self.recent);
            }
            self.recent.insert(text.into(), agent);
        }
        // It has just been seen to; a default is what an unreadable text gives as well.
        const NOTHING: &UserAgent = &UserAgent {
            browser: String::new(),
            in_app_browser: "",
            os_name: String::new(),
            os_version: String::new(),
            device_brand: String::new(),
            device_model: String::new(),
            is_bot: false,
        };
        self.recent.get(text).unwrap_or(NOTHING)
    }
}

fn compiled(rules: &OnceLock<Result<Arc<Parser>, UserAgentError>>) -> &Result<Arc<Parser>, UserAgentError> {
    rules.get_or_init(|| Parser::new().map(Arc::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_while_the_rules_are_compiled_waits_for_them() {
        let agents = UserAgents::compiling();
        let read = |mut agents: UserAgents| agents.read("curl/8 (Windows NT 10.0)").os_name.clone();
        thread::scope(|scope| {
            let workers = [0, 1].map(|_| scope.spawn(|| read(agents.clone())));
            assert_eq!(workers.map(|worker| worker.join().unwrap()), ["Windows"; 2]);
        });
        assert!(agents.parser().is_ok());
    }

    #[test]
    fn memory_is_bounded_and_what_is_asked_for_again_stays() {
        let mut agents = UserAgents { generation: 4, ..UserAgents::new(Arc::new(Parser::new().unwrap())) };
        for number in 0..50 {
            assert_eq!(agents.read("QuarkPC/1").browser, "Quark");
            let wechat = format!("MicroMessenger/{number}");
            assert_eq!(agents.read(&wechat).in_app_browser, "wechat");
            assert!(agents.recent.len() <= 4 && agents.older.len() <= 4);
            let known = |text: &str| agents.recent.contains_key(text) || agents.older.contains_key(text);
            assert!(known("QuarkPC/1") && known(&wechat));
        }
        assert_eq!(agents.read(""), &UserAgent::default());
    }

    #[test]
    fn every_app_of_the_lists_is_one_of_the_published_names() {
        for product in overlay::PRODUCTS.iter().filter(|product| !product.app.is_empty()) {
            assert!(IN_APP_BROWSERS.contains(&product.app), "{}", product.app);
        }
        assert!(IN_APP_BROWSERS.is_sorted());
        assert!(
            IN_APP_BROWSERS.iter().all(|app| overlay::PRODUCTS.iter().any(|product| product.app == *app))
        );
    }
}
