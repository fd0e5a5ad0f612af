//! Remembers the user agents that were read last: reading one costs 10 to 20 µs.
use std::{
    mem,
    sync::{Arc, OnceLock},
};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{
    agent::UserAgent,
    parser::{Parser, UserAgentError},
};

/// Most user agents in each of the two generations: about 500 bytes each.
const GENERATION: usize = 32_768;

/// Compiled by the first thread that needs it; the others wait.
type SharedParser = Arc<OnceLock<Result<Arc<Parser>, UserAgentError>>>;

/// Reads user agents and remembers the last ones. Each worker has its own; clones share the parser.
#[derive(Debug, Clone)]
pub struct UserAgents {
    parser: SharedParser,
    recent: HashMap<Box<str>, UserAgent, RandomState>,
    /// The generation before. One that comes again moves to `recent`.
    older: HashMap<Box<str>, UserAgent, RandomState>,
    generation: usize,
}

impl Default for UserAgents {
    /// With rules that are compiled when they are first needed.
    fn default() -> Self {
        Self::with(SharedParser::default())
    }
}

impl UserAgents {
    /// With compiled rules.
    pub fn new(parser: Arc<Parser>) -> Self {
        Self::with(Arc::new(OnceLock::from(Ok(parser))))
    }

    fn with(parser: SharedParser) -> Self {
        Self { parser, recent: HashMap::default(), older: HashMap::default(), generation: GENERATION }
    }

    /// The parser. Compiles the rules, or waits while another thread does. Call it before the first [`read`](Self::read).
    ///
    /// # Errors
    /// The built-in rules are broken; `read` returns nothing then.
    pub fn parser(&self) -> Result<&Parser, &UserAgentError> {
        self.parser.get_or_init(|| Parser::new().map(Arc::new)).as_deref()
    }

    /// Parses a user agent, or returns it from memory.
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
        // It was inserted just now, so it is there; the fallback is never used.
        self.recent.get(text).unwrap_or(UserAgent::NOTHING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn threads_wait_while_one_of_them_compiles_the_rules() {
        let agents = UserAgents::default();
        let read = |mut agents: UserAgents| agents.read("curl/8 (Windows NT 10.0)").os_name.clone();
        thread::scope(|scope| {
            let workers = [0, 1].map(|_| scope.spawn(|| read(agents.clone())));
            assert_eq!(workers.map(|worker| worker.join().unwrap()), ["Windows"; 2]);
        });
        assert!(agents.parser().is_ok());
    }

    #[test]
    fn memory_is_bounded_and_a_user_agent_that_comes_again_stays() {
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
}
