//! Writes a message that is no batch to `dead-letters`: its beginning and its key, the reason and the origin as headers.
use event::{BatchError, DeadLetterLimits, RejectCode, Rejection, header};
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
        let (value, key) = (record.value.unwrap_or_default(), record.key);
        let kept = &value[..value.len().min(DeadLetterLimits::CUT_VALUE_BYTES)];
        let kept_key = key.map(|key| &key[..key.len().min(DeadLetterLimits::KEY_BYTES)]);
        let [origin_partition, origin_offset, received_at] =
            [i64::from(partition), offset, record.timestamp_ms].map(|number| number.to_string());
        let [value_bytes, key_bytes] =
            [value.len(), key.map_or(0, <[u8]>::len)].map(|bytes| bytes.to_string());
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
        if kept.len() < value.len() {
            headers.extend([(header::VALUE_BYTES, value_bytes.as_str()), (header::VALUE_TRUNCATED, "1")]);
        }
        if kept_key.map(<[u8]>::len) < key.map(<[u8]>::len) {
            headers.push((header::KEY_BYTES, &key_bytes));
        }
        output.send(Message {
            topic,
            partition: partition.rem_euclid((*partitions).max(1) as i32),
            key: kept_key,
            value: kept,
            headers: &headers,
        })
    }
}
