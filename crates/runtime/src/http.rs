//! The HTTP server with `/metrics`, `/livez`, `/readyz` and `/status`.
use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::TcpListener;

use crate::{Error, health::Health, shutdown::Shutdown};

/// What the handlers read.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) stage: &'static str,
    pub(crate) pipeline: String,
    pub(crate) instance: String,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) health: Health,
}

/// Binds the address and serves until `shutdown`. Returns the bound address, which has a number where the given port is 0.
pub(crate) async fn serve(
    address: SocketAddr,
    pages: Pages,
    shutdown: Shutdown,
) -> Result<SocketAddr, Error> {
    let failed = |cause| Error::Listen { address, cause };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .with_state(pages);
    tokio::spawn(async move {
        let served =
            axum::serve(listener, router).with_graceful_shutdown(async move { shutdown.wait().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "http server stopped");
        }
    });
    Ok(bound)
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
