//! Events of servers: featured and distributed videos, promoted creators. Most of them have no device.

use crate::clock::{TimeFormat, event_time_bounds, write_time};
use crate::json_text::{event_id, number, text};
use crate::names::{App, ChannelGroup, EventKind, EventName, Platform};
use crate::population::{LIBRARIES, SERVER_LIBRARIES, key_of};
use crate::truth_tally::ExpectedEvent;
use crate::world::World;

impl World {
    /// Writes one event of a server, and the device's ID into `key` if it has one.
    pub(crate) fn write_server_event(
        &mut self,
        moment: i64,
        now_ms: i64,
        key: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> ExpectedEvent {
        use EventName::*;
        let event =
            self.dice.weighted(&[(ContentFeatured, 4), (ContentDistributed, 4), (CreatorLevelChanged, 2)]);
        let library = self.dice.pick(&SERVER_LIBRARIES);
        let device = self.dice.chance(0.3).then(|| self.dice.mild_rank(self.memory.len() as u32));
        let (app, anonymous_id) = match device {
            Some(device) => key_of(self.config.seed, device),
            None => (self.dice.pick(&[App::Web, App::Mobile]), String::new()),
        };
        let sent_at = self.dice.chance(0.5).then_some(now_ms);
        let is_test = self.dice.chance(self.config.tests);
        let bounds = event_time_bounds(moment, sent_at, now_ms);
        // Servers send no session ID. If it is uncertain whether a session starts or which channel it has, the
        // event has no device.
        let joined = device.and_then(|device| {
            let counted = &self.memory[device as usize].counted;
            let starts = counted.starts_derived(bounds)?;
            let group = if starts {
                counted.inherited(bounds, ChannelGroup::Direct)?
            } else {
                counted.session_group(ChannelGroup::Direct)
            };
            Some((device, starts, group))
        });
        let device = joined.map(|(device, ..)| device);
        let (mut new_device, mut session_start, mut group) = (false, false, ChannelGroup::Direct);
        if let Some((device, starts, of_session)) = joined
            && !is_test
        {
            let counted = &mut self.memory[device as usize].counted;
            (new_device, session_start, group) = (counted.is_new(), starts, of_session);
            if starts {
                counted.begin_session(group);
            }
            counted.take(bounds);
        }

        text(out, "{\"library\":{\"name\":\"", LIBRARIES[usize::from(library)].0);
        text(out, "\",\"version\":\"", LIBRARIES[usize::from(library)].1);
        text(out, "\"},\"schema_version\":\"1-0-0\",\"platform\":\"server\",\"app_id\":\"", app.as_str());
        text(out, "\",\"event_id\":\"", "");
        event_id(out, &mut self.dice, moment);
        text(out, "\",\"event_name\":\"", event.as_str());
        text(out, "\",\"original_timestamp\":", "");
        write_time(out, moment, TimeFormat::Utc);
        if let Some(sent_at) = sent_at {
            text(out, ",\"sent_at\":", "");
            write_time(out, sent_at, TimeFormat::EpochMillis);
        }
        if device.is_some() {
            text(out, ",\"anonymous_id\":\"", &anonymous_id);
            out.push(b'"');
            key.extend_from_slice(anonymous_id.as_bytes());
        }
        text(out, if is_test { ",\"is_test\":true" } else { ",\"is_test\":false" }, "");
        if event == CreatorLevelChanged {
            let level = u64::from(1 + self.dice.below(5));
            number(out, ",\"creator\":{\"id\":\"u", u64::from(self.dice.below(200_000)));
            number(out, "\",\"previous_level\":\"lv", level);
            number(out, "\",\"level\":\"lv", level + 1);
            out.extend_from_slice(b"\"}");
        } else {
            let video = self.dice.zipf_rank(self.videos.len() as u32);
            self.content(video, out);
        }
        out.push(b'}');

        ExpectedEvent {
            app,
            platform: Platform::Server,
            event,
            group,
            library,
            device,
            touch: None,
            kind: if is_test { EventKind::Test } else { EventKind::Event },
            original: moment,
            sent_at,
            new_device,
            session_start,
        }
    }
}
