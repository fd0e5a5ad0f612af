//! The state of the process for `/livez`, `/readyz` and `/status`: heartbeats, readiness and details of its components.
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A component without a heartbeat for this long is stuck; the process should be restarted.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// Shared between the workers, which report, and the HTTP server, which reads.
#[derive(Debug, Clone, Default)]
pub struct Health {
    components: Arc<Mutex<BTreeMap<String, Component>>>,
}

#[derive(Debug)]
struct Component {
    ready: bool,
    last_heartbeat: Instant,
    details: BTreeMap<String, Value>,
}

impl Health {
    /// Sets whether a component is ready. The process is ready when all of them are.
    pub fn set_ready(&self, component: &str, ready: bool) {
        self.with(component, |c| c.ready = ready);
    }

    /// A heartbeat of a component. Call it at least every few seconds, also while waiting.
    pub fn heartbeat(&self, component: &str) {
        self.with(component, |_| ());
    }

    /// Sets a detail of a component in `/status`.
    pub fn report(&self, component: &str, key: &str, value: impl Into<Value>) {
        let value = value.into();
        self.with(component, |c| {
            c.details.insert(key.to_owned(), value);
        });
    }

    /// Whether every component is ready, and there is at least one.
    pub fn is_ready(&self) -> bool {
        let components = self.lock();
        !components.is_empty() && components.values().all(|c| c.ready)
    }

    /// The components without a heartbeat for too long.
    pub fn stuck(&self) -> Vec<String> {
        let components = self.lock();
        let is_stuck = |c: &Component| c.last_heartbeat.elapsed() > STUCK_AFTER;
        components.iter().filter(|(_, c)| is_stuck(c)).map(|(name, _)| name.clone()).collect()
    }

    /// All components, as JSON.
    pub fn status(&self) -> Value {
        let components = self.lock();
        let details = |c: &Component| json!({"ready": c.ready, "heard_seconds_ago": c.last_heartbeat.elapsed().as_secs(), "details": c.details});
        components
            .iter()
            .map(|(name, c)| (name.clone(), details(c)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    fn with(&self, name: &str, change: impl FnOnce(&mut Component)) {
        let mut components = self.lock();
        if !components.contains_key(name) {
            let new = Component { ready: false, last_heartbeat: Instant::now(), details: BTreeMap::new() };
            components.insert(name.to_owned(), new);
        }
        if let Some(component) = components.get_mut(name) {
            component.last_heartbeat = Instant::now();
            change(component);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Component>> {
        // A panic while the lock was held cannot have left a broken value.
        self.components.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_all_its_components_are() {
        let health = Health::default();
        assert!(!health.is_ready());
        health.set_ready("worker-0", true);
        health.heartbeat("worker-1");
        assert!(!health.is_ready());
        health.set_ready("worker-1", true);
        assert!(health.is_ready());
        assert!(health.stuck().is_empty());
    }
}
