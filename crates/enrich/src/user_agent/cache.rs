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

/// Most bytes of each of the two generations without another limit.
const GENERATION_BYTES: usize = 16 * 1024 * 1024;
/// Longest part of a user agent that is read, in bytes: what is in it decides, and its memory is bounded.
const MAX_TEXT: usize = 1024;
/// Longest text that is read from a user agent, in characters.
const MAX_CHARACTERS: usize = 128;

/// Compiled by the first thread that needs it; the others wait.
type SharedParser = Arc<OnceLock<Result<Arc<Parser>, UserAgentError>>>;

/// Reads user agents and remembers the last ones. Each worker has its own; clones share the parser.
#[derive(Debug, Clone)]
pub struct UserAgents {
    parser: SharedParser,
    recent: HashMap<Box<str>, UserAgent, RandomState>,
    /// The generation before. One that comes again moves to `recent`.
    older: HashMap<Box<str>, UserAgent, RandomState>,
    /// Bytes of the texts of `recent`.
    recent_bytes: usize,
    generation_bytes: usize,
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
        Self {
            parser,
            recent: HashMap::default(),
            older: HashMap::default(),
            recent_bytes: 0,
            generation_bytes: GENERATION_BYTES,
        }
    }

    /// Changes how many bytes of memory all remembered user agents take.
    pub fn set_limit(&mut self, bytes: usize) {
        // Both generations, and the half of a map that grows.
        self.generation_bytes = bytes / 5 * 2;
    }

    /// Bytes of memory of the generation that is filled.
    fn generation_memory(&self) -> usize {
        self.recent.allocation_size() + self.recent_bytes
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
        let text = &text[..text.floor_char_boundary(MAX_TEXT)];
        if !self.recent.contains_key(text) {
            let read = |parser: &Parser| bounded(parser.read(text));
            let known = self.older.remove(text);
            let agent = known.unwrap_or_else(|| self.parser().map(read).unwrap_or_default());
            let is_full = self.recent.len() == self.recent.capacity();
            let grows_by = if is_full { self.recent.allocation_size() } else { 0 };
            if self.generation_memory() + grows_by >= self.generation_bytes {
                self.older = mem::take(&mut self.recent);
                self.recent_bytes = 0;
            }
            self.recent_bytes += text.len() + agent.heap_bytes();
            self.recent.insert(text.into(), agent);
        }
        // It was inserted just now, so it is there; the fallback is never used.
        self.recent.get(text).unwrap_or(UserAgent::NOTHING)
    }
}

/// The same with texts of bounded length.
fn bounded(mut agent: UserAgent) -> UserAgent {
    let UserAgent { browser, os_name, os_version, device_brand, device_model, .. } = &mut agent;
    for text in [browser, os_name, os_version, device_brand, device_model] {
        if let Some((end, _)) = text.char_indices().nth(MAX_CHARACTERS) {
            text.truncate(end);
        }
        text.shrink_to_fit();
    }
    agent
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
        const MOST: usize = 16_384;
        let mut agents = UserAgents::new(Arc::new(Parser::new().unwrap()));
        agents.set_limit(MOST);
        for number in 0..50 {
            assert_eq!(agents.read("QuarkPC/1").browser, "Quark");
            let wechat = format!("MicroMessenger/{number}");
            assert_eq!(agents.read(&wechat).in_app_browser, "wechat");
            assert!(agents.generation_memory() <= MOST / 2 && agents.older.len() <= 30);
            let known = |text: &str| agents.recent.contains_key(text) || agents.older.contains_key(text);
            assert!(known("QuarkPC/1") && known(&wechat));
        }
        assert_eq!(agents.read(""), &UserAgent::default());
        let long =
            agents.read(&format!("Mozilla/5.0 (Linux; Android 14; {}) AppleWebKit/537.36", "V".repeat(900)));
        assert_eq!((long.os_name.as_str(), long.device_model.len()), ("Android", 128));
        assert_eq!(agents.read(&"活".repeat(100_000)), &UserAgent::default());
    }
}
