//! Finds the exact offsets of batches that librdkafka cannot decode.
//!
//! librdkafka reports such a batch as an error without topic and partition, and fetches the same offset again for ever;
//! behind a wrong checksum it even moves its position to some other offset. So the offsets are found with a client of
//! its own that reads one batch at a time: the error's text has the base offset of the batch, and the batch ends before
//! the first offset at which this error no longer comes. A good batch is never part of the range.
//!
//! That client is assigned one partition, once: librdkafka aborts the process when an assignment is taken away while it
//! still stops an earlier assignment of the same partition (librdkafka issue 5573). Further reads are seeks, and where a
//! seek is not possible, a new client.
use event::{NextOffset, Offset};
use rdkafka::{
    ClientConfig, ClientContext, Offset as RdOffset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
};
use runtime::{shutdown::Shutdown, stage::Undecodable};
use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How often a batch is read before it counts as undecodable: a checksum may be wrong because of the network.
const ATTEMPTS: u32 = 3;
/// Pause between two of them.
const PAUSE: Duration = Duration::from_millis(300);
/// How long one read waits for the broker.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long neighbouring batches are added to a range. What is left is found next time.
const EXTEND_FOR: Duration = Duration::from_secs(10);

/// Whether librdkafka could not decode a batch.
pub fn is_undecodable(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(error.rdkafka_error_code(), Some(Code::BadCompression | Code::BadMessage | Code::NotImplemented))
}

/// Reads single batches of one topic.
pub struct Probe<'a> {
    config: ClientConfig,
    topic: &'a str,
    shutdown: &'a Shutdown,
    /// The client that has read before, and its partition.
    client: Option<(i32, BaseConsumer<ProbeContext>)>,
}

/// What is at an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// A record, or the end of the partition.
    Readable,
    /// A batch that cannot be decoded, with its base offset.
    Undecodable { base: i64, cause: String },
}

impl<'a> Probe<'a> {
    /// A probe that decodes exactly as the consumer with this configuration does.
    pub fn new(consumer: &ClientConfig, topic: &'a str, shutdown: &'a Shutdown) -> Self {
        let mut config = consumer.clone();
        config
            // Its commits and its membership are those of nobody.
            .remove("group.instance.id")
            .set("enable.partition.eof", "true")
            // A broker returns at least one batch, so this is exactly one.
            .set("max.partition.fetch.bytes", "1")
            .set("fetch.min.bytes", "1")
            .set("fetch.error.backoff.ms", "0")
            .set("statistics.interval.ms", "0");
        Self { config, topic, shutdown, client: None }
    }

    /// The batches at these positions that cannot be decoded, each with its neighbours that cannot be decoded either. Each
    /// position is a partition, the offset to read next, and the end of the partition. What cannot be found out now is left out: the consumer's next error leads here again.
    pub fn find(&mut self, positions: impl IntoIterator<Item = (i32, NextOffset, i64)>) -> Vec<Undecodable> {
        let mut found = Vec::new();
        for (partition, next, end) in positions {
            match self.find_at(partition, next, end) {
                Ok(batch) => found.extend(batch),
                Err(error) => {
                    let (topic, offset) = (self.topic, next.0);
                    tracing::warn!(topic, partition, offset, %error, "looking for a batch that cannot be decoded failed");
                    break;
                }
            }
        }
        found
    }

    fn find_at(
        &mut self,
        partition: i32,
        next: NextOffset,
        end: i64,
    ) -> Result<Option<Undecodable>, KafkaError> {
        if next.0 >= end {
            return Ok(None);
        }
        let Seen::Undecodable { base, cause } = self.read(partition, next.0)? else { return Ok(None) };
        // It was appended after the end had been read, so its last offset may be behind the end.
        if base >= end {
            return Ok(None);
        }
        for _ in 1..ATTEMPTS {
            std::thread::sleep(PAUSE);
            if !self.is_in_batch(partition, next.0, base)? {
                return Ok(None);
            }
        }
        let first = base.max(next.0);
        let mut last = self.last_offset(partition, base, first..end, 1)?;
        let mut width = last - base + 1;
        let deadline = Instant::now() + EXTEND_FOR;
        while last + 1 < end && Instant::now() < deadline {
            let Seen::Undecodable { base, .. } = self.read(partition, last + 1)? else { break };
            if base <= last || base >= end {
                break;
            }
            last = self.last_offset(partition, base, base..end, width)?;
            width = last - base + 1;
        }
        Ok(Some(Undecodable { partition, first: Offset(first), last: Offset(last), cause }))
    }

    /// The last offset of the batch at `base`: the first of `offsets` is one of its offsets, and the end of `offsets` is
    /// not. Tries a batch of `width` offsets first.
    fn last_offset(
        &mut self,
        partition: i32,
        base: i64,
        offsets: Range<i64>,
        width: i64,
    ) -> Result<i64, KafkaError> {
        let mut is_inside =
            |offset| Ok::<_, KafkaError>(offset < offsets.end && self.is_in_batch(partition, offset, base)?);
        let mut inside = offsets.start;
        let guess = base + width - 1;
        if guess > inside && is_inside(guess)? {
            inside = guess;
        }
        let mut step = 1;
        let mut outside = inside + step;
        while is_inside(outside)? {
            inside = outside;
            step *= 2;
            outside = inside + step;
        }
        while outside - inside > 1 {
            let middle = inside + (outside - inside) / 2;
            if is_inside(middle)? {
                inside = middle;
            } else {
                outside = middle;
            }
        }
        Ok(inside)
    }

    fn is_in_batch(&mut self, partition: i32, offset: i64, of: i64) -> Result<bool, KafkaError> {
        Ok(matches!(self.read(partition, offset)?, Seen::Undecodable { base, .. } if base == of))
    }

    /// The first thing that librdkafka returns from an offset on. What it fetched before is not returned.
    fn read(&mut self, partition: i32, offset: i64) -> Result<Seen, KafkaError> {
        let started = Instant::now();
        let mut consumer = self.client_at(partition, offset)?;
        let seen = loop {
            if self.shutdown.requested() || started.elapsed() > READ_TIMEOUT {
                return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
            }
            match consumer.poll(Duration::from_millis(100)) {
                None => (),
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => break Seen::Readable,
                // Behind a wrong checksum librdkafka fetches from some other offset, and then no longer.
                Some(Err(error)) if is_position_gone(&error) => {
                    consumer = self.new_client_at(partition, offset)?;
                }
                Some(Err(error)) if is_undecodable(&error) => {
                    let cause = consumer.context().take_reason();
                    match base_offset(&cause) {
                        Some(base) => break Seen::Undecodable { base, cause },
                        None => return Err(error),
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "a probe for an undecodable batch failed, librdkafka retries")
                }
            }
        };
        self.client = Some((partition, consumer));
        Ok(seen)
    }

    /// A client whose next answer is what stands at an offset: that of the last read, if it can seek.
    fn client_at(&mut self, partition: i32, offset: i64) -> Result<BaseConsumer<ProbeContext>, KafkaError> {
        if let Some((of, consumer)) = self.client.take()
            && of == partition
            && consumer.seek(self.topic, partition, RdOffset::Offset(offset), READ_TIMEOUT).is_ok()
        {
            return Ok(consumer);
        }
        self.new_client_at(partition, offset)
    }

    fn new_client_at(&self, partition: i32, offset: i64) -> Result<BaseConsumer<ProbeContext>, KafkaError> {
        let consumer: BaseConsumer<_> = self.config.create_with_context(ProbeContext::default())?;
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(self.topic, partition, RdOffset::Offset(offset))?;
        consumer.assign(&assignment)?;
        Ok(consumer)
    }
}

/// Whether the broker has no record at the position of a consumer.
pub(crate) fn is_position_gone(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(error.rdkafka_error_code(), Some(Code::AutoOffsetReset | Code::OffsetOutOfRange))
}

/// The base offset of the batch in librdkafka's error text, for example "MessageSet at offset 7 (100 bytes) failed
/// CRC32C check" or "Decompression (codec 0x4) of message at 7 of 100 bytes failed". rdkafka has it nowhere else.
fn base_offset(reason: &str) -> Option<i64> {
    let number =
        [" at offset ", " message at "].iter().find_map(|before| Some(reason.split_once(before)?.1))?;
    let digits = number.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Keeps the text of the last error.
#[derive(Default)]
struct ProbeContext(Mutex<String>);

impl ProbeContext {
    fn take_reason(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for ProbeContext {
    fn error(&self, _: KafkaError, reason: &str) {
        reason.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl ConsumerContext for ProbeContext {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_offset_is_read_from_each_text_of_librdkafka() {
        for (reason, base) in [
            (
                "Decompression (codec 0x4) of message at 1234 of 7000 bytes failed: Local: Invalid compressed data",
                Some(1234),
            ),
            (
                "MessageSet at offset 7 (100 bytes) failed CRC32C check (original 0x1 != calculated 0x2)",
                Some(7),
            ),
            ("Unsupported Message(Set) MagicByte 100 at offset 88", Some(88)),
            ("Fetch from broker 1 failed: Broker: Invalid message", None),
        ] {
            assert_eq!(base_offset(reason), base, "{reason}");
        }
    }
}
