//! `millrace report`: the metrics of a day or a week as a spreadsheet.
use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::json;

use crate::{
    context::Context,
    error::Error,
    metrics::{
        catalogue::MetricCatalogue,
        clickhouse::MetricClient,
        period::{self, BusinessCalendar},
    },
    report::{self, data::ReportData, length::ReportLength},
};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
EXAMPLES
  millrace report daily --date 2026-03-07 --out 2026-03-07.xlsx
  millrace report weekly --out week.xlsx")]
pub(crate) enum ReportCommand {
    Daily(DailyReport),
    Weekly(WeeklyReport),
}

/// Write the metrics of one business day, compared with the day before and the week before
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace report daily --date 2026-03-07 --out 2026-03-07.xlsx
  millrace report daily --out yesterday.xlsx --app web-main")]
pub(crate) struct DailyReport {
    #[command(flatten)]
    common: Common,
}

/// Write the metrics of one week from Monday to Sunday, compared with the week before
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace report weekly --date 2026-03-07 --out week.xlsx
  millrace report weekly --out last-week.xlsx")]
pub(crate) struct WeeklyReport {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// Business day, or any day of the week; the default is the last day or week that is over
    #[arg(long, value_name = "DAY")]
    date: Option<Date>,
    /// File to write
    #[arg(long, value_name = "FILE.xlsx")]
    out: PathBuf,
    /// Count this app only
    #[arg(long, value_name = "APP_ID")]
    app: Option<String>,
}

impl ReportCommand {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let (length, common) = match self {
            Self::Daily(daily) => (ReportLength::Daily, &daily.common),
            Self::Weekly(weekly) => (ReportLength::Weekly, &weekly.common),
        };
        let Context { settings, output, tokio } = context;
        let catalogue = MetricCatalogue::built_in().map_err(Error::Failed)?;
        let (day, calendar) =
            period_of(length, common.date, settings.business_timezone.name(), Timestamp::now())
                .map_err(Error::Usage)?;
        let client = MetricClient::new(settings, &aggregate::cubes(settings)?);
        let data = ReportData {
            catalogue: &catalogue,
            client: &client,
            tokio,
            calendar,
            length,
            day,
            app: common.app.clone(),
        };
        let sheets = report::write(&data, &common.out)?;
        output.line(format!(
            "wrote {} with {} sheets for {}",
            common.out.display(),
            sheets.len(),
            data.period()
        ))?;
        Ok(output.json(&json!({
            "file": common.out.display().to_string(), "first_day": data.first_day()?.to_string(),
            "last_day": day.to_string(), "sheets": sheets,
        }))?)
    }
}

/// The last day of a report, and its calendar. The current time of the calendar is the end of that day, or now if that is
/// earlier.
fn period_of(
    length: ReportLength,
    date: Option<Date>,
    zone: &str,
    now: Timestamp,
) -> Result<(Date, BusinessCalendar), String> {
    let calendar = BusinessCalendar::new(zone, now)?;
    let out_of_range = |error: jiff::Error| format!("--date is outside the calendar: {error}");
    let step = length.step();
    let begin = match date {
        Some(date) => at(date, calendar.now.time_zone()).and_then(|at| period::floor(&at, step)),
        // The step before the current one.
        None => period::floor(&calendar.now, step)
            .and_then(|begin| at(begin.date().yesterday()?, calendar.now.time_zone()))
            .and_then(|day_before| period::floor(&day_before, step)),
    }
    .map_err(out_of_range)?;
    let end = period::next(&begin, step).map_err(out_of_range)?;
    let day = end.date().yesterday().map_err(out_of_range)?;
    if begin > calendar.now {
        return Err(format!(
            "--date {} is in the future: the current business day is {}",
            begin.date(),
            calendar.today()
        ));
    }
    let now = if end < calendar.now { end } else { calendar.now };
    Ok((day, BusinessCalendar { now }))
}

fn at(date: Date, zone: &TimeZone) -> Result<jiff::Zoned, jiff::Error> {
    date.to_zoned(zone.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_covers_a_whole_day_or_week_as_of_its_end() {
        let now: Timestamp = "2026-03-11T02:34:56Z".parse().unwrap();
        for (length, date, day, as_of) in [
            (ReportLength::Daily, "", "2026-03-10", "2026-03-11 00:00"),
            (ReportLength::Daily, "2026-03-02", "2026-03-02", "2026-03-03 00:00"),
            (ReportLength::Daily, "2026-03-11", "2026-03-11", "2026-03-11 10:34"),
            (ReportLength::Weekly, "", "2026-03-08", "2026-03-09 00:00"),
            (ReportLength::Weekly, "2026-03-02", "2026-03-08", "2026-03-09 00:00"),
            (ReportLength::Weekly, "2026-03-10", "2026-03-15", "2026-03-11 10:34"),
        ] {
            let date = (!date.is_empty()).then(|| date.parse().unwrap());
            let (last, calendar) = period_of(length, date, "Asia/Shanghai", now).unwrap();
            assert_eq!(last.to_string(), day, "{length:?} {date:?}");
            assert_eq!(calendar.now.strftime("%Y-%m-%d %H:%M").to_string(), as_of, "{length:?} {date:?}");
        }
        let problem =
            period_of(ReportLength::Daily, Some("2026-03-12".parse().unwrap()), "Asia/Shanghai", now);
        assert!(problem.unwrap_err().contains("is in the future"));
    }
}
