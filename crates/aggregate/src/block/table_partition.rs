//! Table partitions: the partition of its ClickHouse table into which a row goes.
//!
//! In this crate a table partition is identified by its first second in UTC. One INSERT writes one data part per table
//! partition, and the server keeps each of these parts completely or not at all.

const DAY: u32 = 86_400;

/// How a table is partitioned by its time column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TablePartitioning {
    /// `toMonday(time)`.
    ByWeek,
    /// `toStartOfMonth(time)`.
    ByMonth,
}

impl TablePartitioning {
    /// The ClickHouse function in PARTITION BY.
    pub fn function(self) -> &'static str {
        match self {
            Self::ByWeek => "toMonday",
            Self::ByMonth => "toStartOfMonth",
        }
    }

    /// The table partition of a time in seconds since 1970.
    pub fn of(self, seconds: u32) -> u32 {
        let day = seconds / DAY;
        match self {
            // Day 0 is a Thursday. ClickHouse puts the days before the first Monday into the partition 1970-01-01.
            Self::ByWeek => day.saturating_sub((day + 3) % 7) * DAY,
            Self::ByMonth => (day - day_of_month(day)) * DAY,
        }
    }
}

/// Days since the first of the month, from days since 1970 (after Howard Hinnant's `civil_from_days`).
fn day_of_month(day: u32) -> u32 {
    // Years begin in March here, so that the leap day is the last of its year; 719 468 days from 0000-03-01 to 1970.
    let of_era = (day + 719_468) % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    of_year - (153 * month + 2) / 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_as_in_clickhouse() {
        // 1970-01-01 (Thursday), the Sunday and the Monday after, 2026-11-22 (a Sunday), 2026-11-23.
        for (day, expected) in [(0, 0), (3, 0), (4, 4), (10, 4), (11, 11), (20_779, 20_773), (20_780, 20_780)]
        {
            assert_eq!(TablePartitioning::ByWeek.of(day * DAY + 5), expected * DAY, "day {day}");
        }
    }

    #[test]
    fn months_begin_as_in_every_calendar() {
        let date = |day: u32| jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(day));
        for day in (0..49_710).step_by(3) {
            let expected = date(day).first_of_month();
            let first = TablePartitioning::ByMonth.of(day * DAY + 86_399) / DAY;
            assert_eq!(date(first), expected, "day {day}");
        }
    }
}
