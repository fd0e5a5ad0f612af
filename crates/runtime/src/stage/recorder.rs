//! An [`Output`] in memory, for tests of stages.
use event::LedgerCounts;
use std::collections::BTreeMap;

use super::contract::{Message, Output};
use crate::Error;

/// An [`Output`] that keeps everything it is given.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Every message, in order.
    pub sent: Vec<Sent>,
    /// Topic, partition and key of every tombstone, in order.
    pub tombstones: Vec<(String, i32, Vec<u8>)>,
    /// Sum of all counts, by input partition.
    pub counts: BTreeMap<i32, LedgerCounts>,
}

/// One message kept by a [`Recorder`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Full topic name.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Key, if any.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub value: Vec<u8>,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
}

impl Output for Recorder {
    fn send(&mut self, message: Message<'_>) -> Result<(), Error> {
        let headers = message.headers.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        self.sent.push(Sent {
            topic: message.topic.to_owned(),
            partition: message.partition,
            key: message.key.map(<[u8]>::to_vec),
            value: message.value.to_vec(),
            headers,
        });
        Ok(())
    }

    fn send_tombstone(&mut self, topic: &str, partition: i32, key: &[u8]) -> Result<(), Error> {
        self.tombstones.push((topic.to_owned(), partition, key.to_vec()));
        Ok(())
    }

    fn count(&mut self, partition: i32, counts: &LedgerCounts) {
        self.counts.entry(partition).or_default().add(counts);
    }
}
