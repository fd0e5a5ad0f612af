//! A pipeline on Kafka with TLS, SASL and ACLs and on ClickHouse behind TLS, and what each refused connection says.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod exact;
mod refused;

use std::sync::OnceLock;

use devstack::{Stack, StackOptions};
use system_tests::{secure::Secure, stack, use_stack};

/// What the tests of this binary share.
struct Shared {
    secure: Secure,
    /// ClickHouse for clients with TLS.
    clickhouse_url: String,
}

/// The first call starts the stack.
fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let secure = Secure::new().unwrap();
        let options =
            StackOptions { kafka_security: Some(secure.kafka.clone()), ..StackOptions::own_servers() };
        use_stack(Stack::start(options).unwrap_or_else(|error| panic!("{error}")));
        let clickhouse_url = secure.https(stack().clickhouse_url()).unwrap();
        Shared { secure, clickhouse_url }
    })
}

/// The configuration of a client of this listener of Kafka.
fn variables(listener: &str, user: &str) -> Vec<(String, String)> {
    let Shared { secure, clickhouse_url } = shared();
    let brokers = stack().secure_brokers(listener).unwrap_or_else(|error| panic!("{error}"));
    secure.variables(&brokers, clickhouse_url, user)
}
