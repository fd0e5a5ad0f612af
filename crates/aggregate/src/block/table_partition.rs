//! Table partitions: the partition of its ClickHouse table into which a row goes.
//!
//! In this crate a table partition is identified by its first second in UTC. One INSERT writes one data part per table
//! partition, and the server keeps each of these parts completely or not at all.
use event::calendar::{month_of, week_of};

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
        let day = (seconds / DAY) as i32;
        let first = match self {
            Self::ByWeek => *week_of(day).start(),
            Self::ByMonth => *month_of(day).start(),
        };
        // ClickHouse puts the days before the first Monday into the partition 1970-01-01.
        first.max(0) as u32 * DAY
    }
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
    fn months_begin_on_their_first_day() {
        // 1970-01-31, 1970-02-01, 2026-02-28, 2106-02-07 (the last day of a `DateTime`).
        for (day, expected) in [(30, 0), (31, 31), (20_512, 20_485), (49_710, 49_704)] {
            assert_eq!(TablePartitioning::ByMonth.of(day * DAY + 5), expected * DAY, "day {day}");
        }
    }
}
