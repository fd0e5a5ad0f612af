//! What a lane knows about one of its partitions.
use event::NextOffset;

use crate::delivery::Work;
use crate::protocol::{Begin, Intent};

/// A partition whose buffer has grown beyond either bound is paused until it has been flushed.
const MAX_BUFFERED_EVENTS: u64 = 250_000;
const MAX_BUFFERED_BYTES: usize = 32 * 1024 * 1024;

/// A partition that is ours.
pub(crate) struct Partition {
    /// How it began; compared with the markers once they have been read.
    pub(crate) begun: Begin,
    /// The markers have been read: nothing that is read here is in the table, but for a flush that is replayed.
    pub(crate) is_cleared: bool,
    /// An earlier process's flush whose records are being read again.
    pub(crate) replay: Option<Intent>,
    /// Such a flush, rebuilt before the markers had been read.
    pub(crate) replayed: Option<Work>,
    /// Where the buffer begins.
    pub(crate) begin: NextOffset,
    /// The offset after the last record read.
    pub(crate) next: NextOffset,
    pub(crate) events: u64,
    pub(crate) bytes: usize,
    /// A flush is under way.
    pub(crate) is_busy: bool,
    pub(crate) is_paused: bool,
    /// Everything below is in the table, and not committed yet.
    pub(crate) done: Option<NextOffset>,
    pub(crate) halted: Option<Halted>,
}

/// Why a partition does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Halted {
    /// What was read before may still be written; nothing more is read.
    AtRecord(String),
    /// ClickHouse refuses its rows; they are sent again now and then.
    Refused(String),
    /// Nothing may be written.
    ForGood(String),
}

impl Halted {
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::AtRecord(reason) | Self::Refused(reason) | Self::ForGood(reason) => reason,
        }
    }
}

impl Partition {
    pub(crate) fn new(begun: Begin, is_cleared: bool) -> Self {
        let (next, replay) = match &begun {
            Begin::Read(next) => (*next, None),
            Begin::Replay(next, intent) => (*next, Some(intent.clone())),
        };
        Self {
            begun,
            is_cleared,
            replay,
            replayed: None,
            begin: next,
            next,
            events: 0,
            bytes: 0,
            is_busy: false,
            is_paused: false,
            done: None,
            halted: None,
        }
    }

    pub(crate) fn has_records(&self) -> bool {
        self.next != self.begin
    }

    /// Whether its buffer may be frozen now.
    pub(crate) fn is_ready(&self) -> bool {
        let may_write = !matches!(self.halted, Some(Halted::ForGood(_)));
        self.has_records() && !self.is_busy && self.is_cleared && self.replay.is_none() && may_write
    }

    /// Whether nothing more may be read before a flush. A flush that is replayed fitted once, and has no other end.
    pub(crate) fn is_full(&self) -> bool {
        self.replay.is_none() && (self.events >= MAX_BUFFERED_EVENTS || self.bytes >= MAX_BUFFERED_BYTES)
    }

    /// Whether records that come now are to be read.
    pub(crate) fn reads(&self) -> bool {
        !matches!(self.halted, Some(Halted::AtRecord(_) | Halted::ForGood(_)))
    }
}
