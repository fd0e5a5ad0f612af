//! Writes a message that is no batch to `dead-letters`: its beginning and its key, the reason and the origin as headers.
use event::{BatchError, KeptBytes, RejectCode, Rejection, header};
use runtime::{
    Error,
    stage::{Message, Output, Record},
};

/// Where rejected messages come from and go to.
#[derive(Debug, Clone)]
pub(super) struct DeadLetters {
    /// Full name of the topic.
    pub(super) topic: String,
    /// Number of its partitions. It may be smaller than that of the input topic.
    pub(super) partitions: u32,
    /// Full name of the input topic.
    pub(super) origin: String,
}

impl DeadLetters {
    /// Sends a message that is no batch.
    pub(super) fn reject(
        &self,
        record: &Record<'_>,
        cause: &BatchError,
        output: &mut dyn Output,
    ) -> Result<(), Error> {
        let code = RejectCode::EnrichmentError;
        let Self { topic, partitions, origin } = self;
        let &Record { partition, offset, .. } = record;
        tracing::error!(topic = origin, partition, offset, %cause, "message rejected: it is no batch of ingest; find the program that writes to this topic");
        metrics::counter!("millrace_dead_letters_total", "stage" => "enrich", "code" => code.as_str())
            .increment(1);
        let message = match record.value {
            None => "the message has no value: ingest writes none without".to_owned(),
            Some([]) => "the message is empty: ingest writes none without events".to_owned(),
            Some(_) => cause.to_string(),
        };
        let message = Rejection::new(code, "", message).message;
        let kept = KeptBytes::of_record(record.key, record.value.unwrap_or_default());
        let [origin_partition, origin_offset, received_at] =
            [i64::from(partition), offset, record.timestamp_ms].map(|number| number.to_string());
        let mut headers = vec![
            (header::CODE, code.as_str()),
            (header::MESSAGE, &message),
            (header::POINTER, ""),
            (header::ORIGIN_TOPIC, origin),
            (header::ORIGIN_PARTITION, &origin_partition),
            (header::ORIGIN_OFFSET, &origin_offset),
            (header::ORIGIN_INDEX, "0"),
            (header::STAGE, "enrich"),
            (header::VERSION, env!("CARGO_PKG_VERSION")),
            (header::RECEIVED_AT, &received_at),
        ];
        headers.extend(kept.headers());
        output.send(Message {
            topic,
            partition: partition.rem_euclid((*partitions).max(1) as i32),
            key: kept.key,
            value: kept.value,
            headers: &headers,
        })
    }
}
