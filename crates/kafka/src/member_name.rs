//! Whether a client that was fenced off may start again. The broker fences off the older of two clients with one name, but
//! also a client whose transaction took too long, and after a failure of brokers one whose predecessor it still takes
//! for alive. A member that sends no heartbeat leaves the group after `kafka.session_timeout`; one that stays is alive.
use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    groups::GroupMemberInfo,
};
use runtime::{config::Settings, shutdown::Shutdown};
use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{client, error::Error};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(500);
/// The broker looks for expired members now and then.
const MARGIN: Duration = Duration::from_secs(5);
/// Characters that the broker adds to the instance ID of a static member: a UUID.
const UUID: usize = 36;

/// Waits until the group has no member named `member`. Call it while no client of this process has the name. `wait` is
/// called several times a minute. While no broker answers it goes on waiting.
///
/// # Errors
/// The group keeps such a member for longer than a session, or a stop was requested.
pub fn wait_until_name_is_free(
    settings: &Settings,
    group: &str,
    member: &str,
    shutdown: &Shutdown,
    wait: impl Fn(),
) -> Result<(), Error> {
    let session = settings.kafka.session_timeout + MARGIN;
    let failed = |e| Error::call("creating a client", member, e);
    let client: BaseConsumer = client::client(settings).create().map_err(failed)?;
    let mut deadline = Instant::now() + session;
    while !shutdown.requested() {
        match client.fetch_group_list(Some(group), REQUEST_TIMEOUT) {
            Ok(groups) => {
                let members = groups.groups().iter().flat_map(|group| group.members());
                let Some(other) = members.into_iter().find(|other| has_name(other, member)) else {
                    return Ok(());
                };
                if Instant::now() >= deadline {
                    let (client_id, host) = (other.client_id().to_owned(), other.client_host().to_owned());
                    return Err(Error::NameTaken { member: member.to_owned(), client_id, host });
                }
            }
            // A coordinator that comes back counts the sessions from then.
            Err(_) => deadline = Instant::now() + session,
        }
        wait();
        thread::sleep(PAUSE);
    }
    Err(Error::Stopped)
}

/// A static member's ID is its instance ID, a dash and a UUID.
fn has_name(other: &GroupMemberInfo, member: &str) -> bool {
    other.id().strip_prefix(member).is_some_and(|rest| rest.len() == UUID + 1 && rest.starts_with('-'))
}
