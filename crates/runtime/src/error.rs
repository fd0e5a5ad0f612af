//! Why a process cannot go on. Each message is one line that says what failed and what to do.
use std::{error, net::SocketAddr};

/// Exit code for bad configuration (EX_CONFIG of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// Why a process cannot go on. A bad record is never one of these.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong. Exit code 78.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The settings of a topic do not fit the pipeline. Exit code 78.
    #[error("{0}")]
    WrongTopic(String),
    /// The client library behind a source or a producer failed, and a new client would fail too.
    #[error("{0}")]
    Client(Box<dyn error::Error + Send + Sync>),
    /// A server did not answer, or a client failed in a way that a new client may not. The worker is rebuilt.
    #[error("{0}")]
    Unavailable(Box<dyn error::Error + Send + Sync>),
    /// The HTTP address cannot be used.
    #[error(
        "http.listen {address}: {cause}; set http.listen (MILLRACE__HTTP__LISTEN) to a free address, port 0 takes any"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's error.
        cause: std::io::Error,
    },
    /// A message between the stages cannot be decoded.
    #[error("{topic}/{partition} offset {offset}: {source}")]
    Batch {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset of the message.
        offset: i64,
        /// What is wrong with it.
        source: event::BatchError,
    },
    /// A thread panicked.
    #[error("worker {0} panicked; its last log lines are above")]
    Panicked(String),
    /// Any other error of a stage.
    #[error("{0}")]
    Stage(String),
    /// The operating system returned an error.
    #[error("{action}: {source}")]
    System {
        /// What failed.
        action: &'static str,
        /// The operating system's error.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether waiting may heal it: the worker is rebuilt, and the process goes on.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::System { .. })
    }

    /// The exit code: 78 for configuration that cannot work, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::WrongTopic(_) => EXIT_CONFIG,
            _ => 1,
        }
    }
}
