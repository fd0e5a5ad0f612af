//! Who joins a group.
use event::{NextOffset, Start};

/// Who joins a group, and where a group starts that has committed nothing for the topic.
#[derive(Clone, Copy)]
pub struct GroupMember<'a> {
    /// Consumer group.
    pub group: &'a str,
    /// The topic it reads.
    pub topic: &'a str,
    /// Name of the static member.
    pub name: &'a str,
    /// Start position of a group that has committed nothing. A partition that appears later is read from its beginning.
    pub start: Start,
    /// The metadata of the offsets that are committed as the start.
    pub start_metadata: fn(NextOffset) -> String,
}
