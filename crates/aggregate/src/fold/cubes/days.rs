//! When the days of the business time zone begin: panes of a day start there.
use jiff::{Timestamp, tz::TimeZone};

const DAY: u32 = 86_400;
/// Days whose bounds are kept: those of the events in flight, a week of late ones included.
const KEPT: usize = 32;

/// The days of one time zone, with those that were asked lately.
#[derive(Debug, Clone)]
pub(super) struct Days {
    zone: TimeZone,
    known: Vec<(u32, u32)>,
}

impl Days {
    /// The days of a time zone.
    pub(super) fn new(zone: TimeZone) -> Self {
        Self { zone, known: Vec::with_capacity(KEPT) }
    }

    /// The first second of the day that a moment lies in, both in seconds since 1970.
    #[inline]
    pub(super) fn start(&mut self, seconds: u32) -> u32 {
        match self.known.first() {
            Some(&(start, end)) if start <= seconds && seconds < end => start,
            _ => self.look_up(seconds),
        }
    }

    /// Puts the day of the moment first: most events are of one day.
    fn look_up(&mut self, seconds: u32) -> u32 {
        let place = self.known.iter().position(|&(start, end)| start <= seconds && seconds < end);
        let place = place.unwrap_or_else(|| {
            if self.known.len() >= KEPT {
                self.known.clear();
            }
            // Before 1970 began everywhere, and beyond the years that calendars know, days are those of UTC.
            let utc = seconds - seconds % DAY;
            self.known.push(self.ask(seconds).unwrap_or((utc, utc.saturating_add(DAY))));
            self.known.len() - 1
        });
        self.known.swap(0, place);
        self.known[0].0
    }

    fn ask(&self, seconds: u32) -> Option<(u32, u32)> {
        let moment = Timestamp::from_second(i64::from(seconds)).ok()?.to_zoned(self.zone.clone());
        let start = moment.start_of_day().ok()?;
        let end = start.tomorrow().ok()?.start_of_day().ok()?;
        let second = |at: jiff::Zoned| at.timestamp().as_second();
        let start = u32::try_from(second(start).max(0)).ok()?;
        Some((start, u32::try_from(second(end)).unwrap_or(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight_of_their_zone_also_where_clocks_change() {
        for (zone, moment, expected) in [
            ("Asia/Shanghai", "2026-03-01T15:59:59Z", "2026-02-28T16:00:00Z"),
            ("Asia/Shanghai", "2026-03-01T16:00:00Z", "2026-03-01T16:00:00Z"),
            ("Asia/Kolkata", "2026-03-01T18:29:59Z", "2026-02-28T18:30:00Z"),
            ("Asia/Kolkata", "2026-03-01T18:30:00Z", "2026-03-01T18:30:00Z"),
            // 23 hours on 29 March, 25 on 25 October.
            ("Europe/Berlin", "2026-03-29T21:59:59Z", "2026-03-28T23:00:00Z"),
            ("Europe/Berlin", "2026-03-29T22:00:00Z", "2026-03-29T22:00:00Z"),
            ("Europe/Berlin", "2026-10-25T22:59:59Z", "2026-10-24T22:00:00Z"),
            ("Europe/Berlin", "2026-10-25T23:00:00Z", "2026-10-25T23:00:00Z"),
            // The day begins at 01:00, because midnight is skipped.
            ("Africa/Cairo", "2026-04-24T12:00:00Z", "2026-04-23T22:00:00Z"),
            // Midnight comes twice; the first one counts.
            ("America/Havana", "2026-11-01T04:30:00Z", "2026-11-01T04:00:00Z"),
            ("America/Havana", "2026-11-01T05:30:00Z", "2026-11-01T04:00:00Z"),
            ("UTC", "2026-03-01T23:59:59Z", "2026-03-01T00:00:00Z"),
        ] {
            let seconds = |text: &str| text.parse::<Timestamp>().unwrap().as_second() as u32;
            let mut days = Days::new(TimeZone::get(zone).unwrap());
            for _ in 0..2 {
                assert_eq!(days.start(seconds(moment)), seconds(expected), "{moment} in {zone}");
            }
        }
    }

    #[test]
    fn every_moment_has_a_day_and_many_days_may_be_asked() {
        let mut days = Days::new(TimeZone::get("Asia/Shanghai").unwrap());
        assert_eq!(days.start(0), 0);
        for day in 1..100_u32 {
            assert_eq!(days.start(day * DAY - 8 * 3600 + 5), day * DAY - 8 * 3600);
        }
        assert!(u32::MAX - days.start(u32::MAX) < DAY);
    }
}
