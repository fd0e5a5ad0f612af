//! Logs and metrics, set up once per process.
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Bucket bounds of every duration histogram, in seconds: from a fast commit to an outage of a minute.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Writes log lines to stderr: text to a terminal, JSON elsewhere, unless the format is configured.
pub(crate) fn log(settings: &Log) {
    let filter = EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    // Tests start several stages in one process. The first subscriber stays.
    let _ = if json { subscriber.json().try_init() } else { subscriber.try_init() };
}

/// Installs the recorder behind the `metrics` macros.
pub(crate) fn metrics() -> Result<PrometheusHandle, BuildError> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)?
        .build_recorder();
    let handle = recorder.handle();
    // As above, the first recorder stays.
    let _ = metrics::set_global_recorder(recorder);
    Ok(handle)
}
