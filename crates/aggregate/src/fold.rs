//! What a lane makes of its records until a flush takes them as blocks. Pure.
//!
//! | file | what it holds |
//! |---|---|
//! | `lane_fold` | the trait that every kind of lane implements, its input and its counts |
//! | `buffers` | a lane's fold and the messages that it cannot read |
//! | `decode` | the batch in a record of `enriched-events` |
//! | `cubes` | lanes `live` and `report`: events folded into the cells of cubes |
//! | `dead_letters` | lane `dead_letters`: one row per dead letter |
//! | `events` | lane `events`: one row per event |
//! | `address` | blanks the IP addresses in the payload of a dead letter |
mod address;
mod buffers;
mod cubes;
mod dead_letters;
mod decode;
mod events;
mod lane_fold;

pub use self::buffers::{Buffers, Flushed};
pub use self::cubes::{Accumulator, CompiledLane, OTHER};
pub use self::dead_letters::DeadLetters;
pub use self::events::Events;
pub use self::lane_fold::{Added, FlushCounts, Input, LaneFold, Unreadable};
