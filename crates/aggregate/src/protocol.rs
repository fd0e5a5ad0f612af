//! Exactly once from Kafka to ClickHouse, as pure decisions.
//!
//! A flush writes the rows made of the records [b, c) of one Kafka partition. Three mechanisms make it count once:
//! - the **intent** ([`Intent`]): before any insert, offset b is committed to Kafka with the text "b to c, these
//!   rows" as metadata. After a crash the next owner replays exactly these records;
//! - the **token** ([`token`]): every insert carries a deduplication token made of b and c, so that ClickHouse drops a
//!   repeated insert, also one that is still running;
//! - the **marker row**: it is part of the same insert as the rows and is the only proof that they are in the table.
//!   ClickHouse can forget a token, and a server that was killed can remember a token whose rows it lost.
//!
//! [`start`] decides how an assigned partition starts; [`Flush`] decides the steps of one flush;
//! [`lane::partition`](crate::lane) joins both to the life of a partition. Nothing here knows Kafka, ClickHouse,
//! threads or a clock.
mod flush;
mod halt;
mod intent;
mod rules;
mod start;
mod token;

pub use flush::{BlockPartitions, Flush, FoundMarkers, Step};
pub use halt::Halt;
pub use intent::Intent;
pub use rules::Rules;
pub use start::{CommittedOffset, Start, check_newest_marker, start};
pub use token::{TokenParts, source, token};
