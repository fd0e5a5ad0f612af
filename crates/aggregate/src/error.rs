//! Errors that end the process or a command. Each is one line that says what to do.

/// An error that ends the process or a command, unless it is [transient](Error::is_transient).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of cubes has mistakes.
    #[error("{0}")]
    Cubes(#[from] crate::cube::CubeError),
    /// A file of cubes could not be read.
    #[error("{path} cannot be read: {problem}")]
    CubesFile {
        /// The path as configured.
        path: String,
        /// The error of the system.
        problem: std::io::Error,
    },
    /// A permanent error of ClickHouse: waiting does not help.
    #[error("{0}")]
    ClickHouse(String),
    /// A transient error of ClickHouse, or no response.
    #[error("clickhouse at {url}: {cause}")]
    Transient {
        /// The server.
        url: String,
        /// Its error, or that of the connection.
        cause: String,
    },
    /// The certificate of ClickHouse or that of the client is not accepted. A start fails at once; a process that runs
    /// waits until the server's certificate is renewed, or until it is restarted with other files.
    #[error("clickhouse at {url}: {cause}")]
    Certificate {
        /// The server.
        url: String,
        /// Why, and what to do.
        cause: String,
    },
    /// The process was asked to stop before it was ready, or a part of it ended.
    #[error("{0}")]
    Stopped(String),
    /// Kafka failed.
    #[error(transparent)]
    Kafka(#[from] kafka::Error),
    /// The process shell failed.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
}

impl Error {
    /// Whether waiting may heal it: the lane is rebuilt, and the process goes on.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transient { .. } | Self::Certificate { .. } => true,
            // A lane that is rebuilt halts the partition whose records are gone, and reads the others.
            Self::Kafka(kafka::Error::PositionGone { .. }) => true,
            Self::Kafka(error) => error.is_transient(),
            Self::Runtime(error) => error.is_transient(),
            Self::Cubes(_) | Self::CubesFile { .. } | Self::ClickHouse(_) | Self::Stopped(_) => false,
        }
    }
}
