//! HTTP client for a server behind TLS, and what is wrong with a certificate.
use clickhouse::{Client, error::Error as ClientError};
use runtime::config::ClickHouse;

/// A client without credentials.
#[cfg(feature = "tls")]
pub(super) fn http_client(clickhouse: &ClickHouse) -> Client {
    use hyper_util::{
        client::legacy::{Client as HttpClient, connect::HttpConnector},
        rt::TokioExecutor,
    };
    use std::time::Duration;

    // As the client of the clickhouse crate: the server closes an idle connection after 3 s.
    const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(2);
    const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

    let Some(tls) = &clickhouse.tls else { return Client::default() };
    let mut tcp = HttpConnector::new();
    tcp.set_keepalive(Some(TCP_KEEPALIVE));
    tcp.enforce_http(false);
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls.client().as_ref().clone())
        .https_only()
        .enable_http1()
        .wrap_connector(tcp);
    let http =
        HttpClient::builder(TokioExecutor::new()).pool_idle_timeout(POOL_IDLE_TIMEOUT).build(connector);
    Client::with_http_client(http)
}

/// A client without credentials. The configuration does not accept `https://` without the feature `tls`.
#[cfg(not(feature = "tls"))]
pub(super) fn http_client(_: &ClickHouse) -> Client {
    Client::default()
}

/// The problem of a certificate, if it is the cause of this error. A process reads its own files at its start only.
#[cfg(feature = "tls")]
pub(super) fn certificate_problem(error: &ClientError) -> Option<String> {
    let problem = runtime::tls::explain(error, &runtime::config::CLICKHOUSE_TLS)?;
    Some(format!("{problem}; after a change of the files of this process, restart it"))
}

/// Without the feature `tls` there is none.
#[cfg(not(feature = "tls"))]
pub(super) fn certificate_problem(_: &ClientError) -> Option<String> {
    None
}
