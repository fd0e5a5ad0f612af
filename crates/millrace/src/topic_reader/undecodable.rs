//! Finds the end of a batch that cannot be decoded. A broker always returns whole batches, so every offset of such a batch
//! fails, and the first offset that does not fail is behind it.
use std::time::{Duration, Instant};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use runtime::config::Settings;

use super::{OffsetRange, REQUEST_TIMEOUT, config};
use crate::error::Error;

/// Whether librdkafka reports this for a batch that it cannot decompress or parse.
pub(super) fn is_cause(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BadCompression
            | RDKafkaErrorCode::BadMessage
            | RDKafkaErrorCode::InvalidMessage
            | RDKafkaErrorCode::NotImplemented
            | RDKafkaErrorCode::Underflow
    )
}

/// The first offset of a range whose batch can be decoded; the end of the range if there is none.
pub(super) fn first_decodable(settings: &Settings, topic: &str, range: OffsetRange) -> Result<i64, Error> {
    let mut config = config(settings, &format!("{}-command", settings.pipeline));
    // The same batch fails many times.
    config.set("fetch.error.backoff.ms", "10").set("isolation.level", "read_uncommitted");
    let consumer: BaseConsumer = config.create().map_err(Error::kafka("creating a client"))?;
    let failed = || Error::kafka(format!("looking for the end of an undecodable batch in {topic}"));
    search(range.start, range.end, |offset| {
        let mut position = TopicPartitionList::new();
        position
            .add_partition_offset(topic, range.partition, Offset::Offset(offset))
            .and_then(|()| consumer.assign(&position))
            .map_err(failed())?;
        is_decodable(&consumer).map_err(failed())
    })
}

fn is_decodable(consumer: &BaseConsumer) -> Result<bool, KafkaError> {
    let started = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return Ok(true),
            Some(Err(error)) if error.rdkafka_error_code().is_some_and(is_cause) => return Ok(false),
            Some(Err(error)) if started.elapsed() > REQUEST_TIMEOUT => return Err(error),
            None if started.elapsed() > REQUEST_TIMEOUT => {
                return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
            }
            // librdkafka retries.
            _ => (),
        }
    }
}

/// The first offset from `start` on that is decodable, in about two times log2 attempts: doubles the step until an offset
/// is decodable, then halves the interval. Batches behind the first one may be undecodable as well.
fn search<E>(start: i64, end: i64, mut is_decodable: impl FnMut(i64) -> Result<bool, E>) -> Result<i64, E> {
    let (mut undecodable, mut step) = (start, 1);
    if start >= end || is_decodable(start)? {
        return Ok(start);
    }
    let mut decodable = loop {
        let next = undecodable.saturating_add(step).min(end);
        if next == end || is_decodable(next)? {
            break next;
        }
        (undecodable, step) = (next, step * 2);
    };
    while undecodable + 1 < decodable {
        let middle = undecodable + (decodable - undecodable) / 2;
        if is_decodable(middle)? {
            decodable = middle;
        } else {
            undecodable = middle;
        }
    }
    Ok(decodable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(start: i64, end: i64, undecodable: std::ops::Range<i64>, expected: i64) {
        let mut attempts = 0;
        let found = search(start, end, |offset| {
            attempts += 1;
            Ok::<_, ()>(!undecodable.contains(&offset))
        });
        assert_eq!(found, Ok(expected));
        assert!(attempts <= 40, "{attempts} attempts");
    }

    #[test]
    fn the_first_offset_behind_the_batch_is_found() {
        check(7, 100, 0..0, 7);
        check(7, 100, 7..8, 8);
        check(7, 100, 7..20, 20);
        check(7, 20, 7..20, 20);
        check(7, 20, 7..25, 20);
        check(0, i64::MAX, 0..150_000, 150_000);
        check(9, 9, 9..20, 9);
    }
}
