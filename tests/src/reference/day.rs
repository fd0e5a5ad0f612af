//! Days, weeks and months of Asia/Shanghai, which is UTC+8 all year.

const AHEAD_MS: i64 = 8 * 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// The business day of a time (epoch ms), in days since 1970-01-01.
pub fn day_of(moment: i64) -> i64 {
    (moment + AHEAD_MS).div_euclid(DAY_MS)
}

/// First moment of a business day, epoch ms.
pub fn start_of(day: i64) -> i64 {
    day * DAY_MS - AHEAD_MS
}

/// Number of the ISO week of a day: 1970-01-01 was a Thursday.
pub fn week_of(day: i64) -> i64 {
    (day + 3).div_euclid(7)
}

/// Months since the year 0.
pub fn month_of(day: i64) -> i64 {
    let (year, month, _) = civil(day);
    year * 12 + month - 1
}

/// In the form 2026-03-02.
pub fn written(day: i64) -> String {
    let (year, month, day) = civil(day);
    format!("{year:04}-{month:02}-{day:02}")
}

fn civil(day: i64) -> (i64, i64, i64) {
    let date =
        jiff::Timestamp::from_millisecond(day * DAY_MS).map(|at| at.to_zoned(jiff::tz::TimeZone::UTC).date());
    date.map_or((0, 1, 1), |date| (i64::from(date.year()), i64::from(date.month()), i64::from(date.day())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_business_day_begins_at_16_o_clock_utc_of_the_day_before() {
        let moment = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        for (at, day) in [
            ("2026-02-28T15:59:59.999Z", "2026-02-28"),
            ("2026-02-28T16:00:00Z", "2026-03-01"),
            ("1969-12-31T15:59:59Z", "1969-12-31"),
        ] {
            assert_eq!(written(day_of(moment(at))), day);
        }
        let sunday = day_of(moment("2026-03-01T00:00:00Z"));
        assert_eq!(week_of(sunday) + 1, week_of(sunday + 1));
        assert_eq!(month_of(sunday - 1) + 1, month_of(sunday));
        assert_eq!(start_of(sunday), moment("2026-02-28T16:00:00Z"));
    }
}
