//! The HTTP server with `/metrics`, `/livez`, `/readyz` and `/status`.
//!
//! A connection carries one request and ends within [`Limits::timeout`], whatever its client does. At the limit of
//! connections the oldest one is closed: the probes of the orchestrator are answered while others hold connections open.
use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use metrics_exporter_prometheus::PrometheusHandle;
use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};
use std::{collections::VecDeque, net::SocketAddr, time::Duration};
use tokio::{net::TcpListener, task::AbortHandle};

use crate::{Error, health::Health};

/// Largest request line with its headers, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_CONNECTIONS: u64 = 64;
/// The pause after an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What clients together may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    connections: usize,
    /// From the connection to the last byte of the response.
    timeout: Duration,
}

impl Limits {
    /// A small part of the file descriptors of this process: Kafka and ClickHouse need the others.
    fn of_process() -> Self {
        let connections = connections(getrlimit(Resource::Nofile).current);
        Self { connections, timeout: Duration::from_secs(10) }
    }
}

/// With this limit of file descriptors; none is unlimited.
fn connections(descriptors: Option<u64>) -> usize {
    descriptors.map_or(MAX_CONNECTIONS, |descriptors| (descriptors / 8).clamp(4, MAX_CONNECTIONS)) as usize
}

/// What the handlers read.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) stage: &'static str,
    pub(crate) pipeline: String,
    pub(crate) instance: String,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) health: Health,
}

/// Binds the address and serves until the process ends, also during a stop. Returns the bound address, which has a number
/// where the given port is 0.
pub(crate) async fn serve(address: SocketAddr, pages: Pages) -> Result<SocketAddr, Error> {
    let failed = |cause| Error::Listen { address, cause };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .with_state(pages);
    tokio::spawn(accept(listener, router, Limits::of_process()));
    Ok(bound)
}

async fn accept(listener: TcpListener, router: Router, limits: Limits) {
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "http connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= limits.connections
            && let Some(oldest) = connections.pop_front()
        {
            oldest.abort();
        }
        let connection = http1::Builder::new()
            .keep_alive(false)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        // An error of a connection concerns its client only.
        let task =
            tokio::spawn(async move { tokio::time::timeout(limits.timeout, connection).await.is_ok() });
        connections.push_back(task.abort_handle());
    }
}

async fn metrics(State(pages): State<Pages>) -> String {
    for (reason, components) in pages.health.degraded() {
        metrics::gauge!("millrace_degraded", "reason" => reason.as_str()).set(components as f64);
    }
    pages.metrics.render()
}

async fn livez(State(pages): State<Pages>) -> (StatusCode, String) {
    let stuck = pages.health.stuck();
    if stuck.is_empty() {
        (StatusCode::OK, "alive\n".into())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("no heartbeat from {}\n", stuck.join(", ")))
    }
}

async fn readyz(State(pages): State<Pages>) -> (StatusCode, &'static str) {
    if pages.health.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn status(State(pages): State<Pages>) -> Json<Value> {
    Json(json!({
        "pipeline": pages.pipeline,
        "stage": pages.stage,
        "instance": pages.instance,
        "version": env!("CARGO_PKG_VERSION"),
        "ready": pages.health.is_ready(),
        "components": pages.health.status(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        net::TcpStream,
        time::Instant,
    };

    const REQUEST: &str = "GET /livez HTTP/1.1\r\nhost: x\r\n";

    /// A server with these limits, and the runtime that it needs.
    fn server(limits: Limits) -> (tokio::runtime::Runtime, SocketAddr) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/livez", get(|| async { "alive\n" }));
        runtime.spawn(accept(listener, router, limits));
        (runtime, address)
    }

    fn connect(address: SocketAddr, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// Everything that the server sends until it closes the connection.
    fn rest(mut stream: TcpStream) -> String {
        let mut text = Vec::new();
        // A reset is an end too.
        let _ = stream.read_to_end(&mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_connection_ends_with_its_response_or_at_the_timeout() {
        let (_runtime, address) = server(Limits { connections: 8, timeout: Duration::from_millis(300) });
        let answer = rest(connect(address, &format!("{REQUEST}connection: keep-alive\r\n\r\n")));
        assert!(answer.contains("200 OK") && answer.ends_with("alive\n"), "{answer}");
        for unfinished in ["", "GET /liv", REQUEST] {
            let started = Instant::now();
            assert_eq!(rest(connect(address, unfinished)), "", "{unfinished}");
            assert!(started.elapsed() < Duration::from_secs(15), "{unfinished}");
        }
        let answer =
            rest(connect(address, "POST /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\n\r\nx"));
        assert!(answer.contains("405"), "{answer}");
        let answer = rest(connect(address, &format!("{REQUEST}x: {}\r\n\r\n", "y".repeat(MAX_HEAD_BYTES))));
        assert!(answer.contains("431"), "{answer}");
    }

    #[test]
    fn a_probe_is_answered_while_others_hold_every_connection() {
        let (_runtime, address) = server(Limits { connections: 8, timeout: Duration::from_secs(600) });
        let held: Vec<TcpStream> = (0..40).map(|_| connect(address, "GET /")).collect();
        let answer = rest(connect(address, &format!("{REQUEST}\r\n")));
        assert!(answer.contains("200 OK"), "{answer}");
        // The oldest were closed, the newest are open.
        let mut held = held.into_iter();
        assert_eq!(rest(held.next().unwrap()), "");
        let newest = held.next_back().unwrap();
        newest.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let error = (&newest).read(&mut [0]).unwrap_err();
        assert!(
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
            "{error}"
        );
    }

    #[test]
    fn connections_take_a_small_part_of_the_file_descriptors() {
        for (descriptors, expected) in
            [(Some(0), 4), (Some(32), 4), (Some(256), 32), (Some(1024), 64), (Some(u64::MAX), 64), (None, 64)]
        {
            assert_eq!(connections(descriptors), expected, "{descriptors:?}");
        }
    }
}
