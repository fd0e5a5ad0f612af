//! Where the results of a pipeline are read from.

/// The servers and the name of a pipeline.
#[derive(Debug, Clone, Copy)]
pub struct ResultSource<'a> {
    /// Kafka's bootstrap servers.
    pub brokers: &'a str,
    /// ClickHouse's HTTP interface.
    pub clickhouse_url: &'a str,
    /// Name of the pipeline: its database, and the prefix of its topics.
    pub pipeline: &'a str,
}
