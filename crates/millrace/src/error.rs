//! Why a command failed: one line with what to do, and the exit code for scripts.
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use rdkafka::error::KafkaError;

use crate::output::escaped;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Config(#[from] runtime::config::ConfigError),
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    #[error(transparent)]
    Broker(#[from] ::kafka::Error),
    #[error(transparent)]
    Aggregate(#[from] aggregate::Error),
    #[error(transparent)]
    Activity(#[from] event::ActivityError),
    #[error(transparent)]
    Simulator(#[from] simulator::produce::Error),
    #[error("kafka: {action} failed: {source}{}", ::kafka::advice(source))]
    Kafka { action: String, source: KafkaError },
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Failed(String),
    /// The command has printed the reason itself.
    #[error("")]
    Reported,
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{action}: {source}")]
    System { action: &'static str, source: io::Error },
    #[error("printing failed: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    /// For `map_err`: a Kafka call that failed.
    pub(crate) fn kafka(action: impl Into<String>) -> impl FnOnce(KafkaError) -> Self {
        let action = action.into();
        move |source| Self::Kafka { action, source }
    }

    /// Prints the error to stderr and returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        // The reader of a pipe, such as `head`, has closed it.
        if matches!(self, Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        match self {
            Self::Reported => (),
            // One line for each mistake.
            Self::Config(error) => error.to_string().lines().for_each(report_line),
            error => report_line(&error.to_string().replace('\n', " ")),
        }
        ExitCode::from(match self {
            Self::Usage(_) | Self::Activity(_) => 2,
            Self::Config(_) => runtime::EXIT_CONFIG,
            Self::Runtime(error) | Self::Aggregate(aggregate::Error::Runtime(error)) => error.exit_code(),
            Self::Aggregate(aggregate::Error::Cubes(_) | aggregate::Error::CubesFile { .. }) => {
                runtime::EXIT_CONFIG
            }
            _ => 1,
        })
    }
}

fn report_line(line: &str) {
    let _ = writeln!(io::stderr(), "error: {}", escaped(line));
}
