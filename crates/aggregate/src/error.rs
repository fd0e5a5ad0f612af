//! Why the process cannot go on, each in one line that says what to do.

/// Why the process cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cubes file does not make sense.
    #[error("{0}")]
    Cubes(#[from] crate::cube::CubeError),
    /// A file of cubes could not be read.
    #[error("aggregate.cubes_file {path}: {problem}")]
    CubesFile {
        /// The path as configured.
        path: String,
        /// What the system said.
        problem: std::io::Error,
    },
    /// ClickHouse refuses for a reason that waiting does not change.
    #[error("{0}")]
    ClickHouse(String),
    /// ClickHouse did not answer, or refuses for a reason that passes by itself.
    #[error("clickhouse at {url}: {cause}")]
    Passing {
        /// The server.
        url: String,
        /// What it said, or what became of the connection.
        cause: String,
    },
    /// The lane does not exist.
    #[error("aggregate.lanes: there is no lane `{0}`; known: live, report, dead_letters, events")]
    UnknownLane(String),
    /// A part of the process ended that must not.
    #[error("{0}")]
    Stopped(String),
    /// Kafka failed.
    #[error(transparent)]
    Kafka(#[from] kafka::Error),
    /// The process shell failed.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
}
