//! `millrace report`: the numbers of a day or a week as a spreadsheet.
use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::json;

use crate::{
    context::Context,
    error::Error,
    metrics::{
        Catalogue,
        answer::Source,
        period::{self, Calendar, Step},
    },
    report::{self, Span, numbers::Desk},
};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
EXAMPLES
  millrace report daily --date 2026-03-07 --out 2026-03-07.xlsx
  millrace report weekly --out week.xlsx")]
pub(crate) enum Report {
    Daily(Daily),
    Weekly(Weekly),
}

/// Write the numbers of one business day, beside those of the day and the week before.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace report daily --date 2026-03-07 --out 2026-03-07.xlsx
  millrace report daily --out yesterday.xlsx --app web-main")]
pub(crate) struct Daily {
    #[command(flatten)]
    common: Common,
}

/// Write the numbers of one week from Monday to Sunday, beside those of the week before.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace report weekly --date 2026-03-07 --out week.xlsx
  millrace report weekly --out last-week.xlsx")]
pub(crate) struct Weekly {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// The business day, or any day of the week; without it the last one that is over
    #[arg(long, value_name = "DAY")]
    date: Option<Date>,
    /// File to write
    #[arg(long, value_name = "FILE.xlsx")]
    out: PathBuf,
    /// Count this application alone
    #[arg(long, value_name = "APP_ID")]
    app: Option<String>,
}

impl Report {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Error> {
        let (span, common) = match self {
            Self::Daily(daily) => (Span::Daily, &daily.common),
            Self::Weekly(weekly) => (Span::Weekly, &weekly.common),
        };
        let Context { settings, output, tokio } = context;
        let catalogue = Catalogue::built_in().map_err(Error::Failed)?;
        let (day, calendar) = period_of(span, common.date, &settings.business_timezone, Timestamp::now())
            .map_err(Error::Usage)?;
        let source = Source::new(settings, &aggregate::cubes(settings)?);
        let desk = Desk {
            catalogue: &catalogue,
            source: &source,
            tokio,
            calendar,
            span,
            day,
            app: common.app.clone(),
        };
        let sheets = report::write(&desk, &common.out)?;
        output.line(format!(
            "wrote {} with {} sheets for {}",
            common.out.display(),
            sheets.len(),
            desk.period()
        ))?;
        Ok(output.json(&json!({
            "file": common.out.display().to_string(), "first_day": desk.first_day()?.to_string(),
            "last_day": day.to_string(), "sheets": sheets,
        }))?)
    }
}

/// The last day of a report and the calendar it is made by, whose present is the end of that day unless it is yet to
/// come.
fn period_of(span: Span, date: Option<Date>, zone: &str, now: Timestamp) -> Result<(Date, Calendar), String> {
    let calendar = Calendar::new(zone, now)?;
    let unreal = |error: jiff::Error| format!("--date leaves the calendar: {error}");
    let step = match span {
        Span::Daily => Step::Day,
        Span::Weekly => Step::Week,
    };
    let begin = match date {
        Some(date) => at(date, calendar.now.time_zone()).and_then(|at| period::floor(&at, step)),
        // One step back from the one that is not over.
        None => period::floor(&calendar.now, step)
            .and_then(|begin| at(begin.date().yesterday()?, calendar.now.time_zone()))
            .and_then(|day_before| period::floor(&day_before, step)),
    }
    .map_err(unreal)?;
    let end = period::next(&begin, step).map_err(unreal)?;
    let day = end.date().yesterday().map_err(unreal)?;
    if begin > calendar.now {
        return Err(format!(
            "--date {} has not begun: the business day is {}",
            begin.date(),
            calendar.today()
        ));
    }
    let now = if end < calendar.now { end } else { calendar.now };
    Ok((day, Calendar { now }))
}

fn at(date: Date, zone: &TimeZone) -> Result<jiff::Zoned, jiff::Error> {
    date.to_zoned(zone.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_about_whole_days_and_weeks_and_made_as_of_their_end() {
        let now: Timestamp = "2026-03-11T02:34:56Z".parse().unwrap();
        for (span, date, day, made) in [
            (Span::Daily, "", "2026-03-10", "2026-03-11 00:00"),
            (Span::Daily, "2026-03-02", "2026-03-02", "2026-03-03 00:00"),
            (Span::Daily, "2026-03-11", "2026-03-11", "2026-03-11 10:34"),
            (Span::Weekly, "", "2026-03-08", "2026-03-09 00:00"),
            (Span::Weekly, "2026-03-02", "2026-03-08", "2026-03-09 00:00"),
            (Span::Weekly, "2026-03-10", "2026-03-15", "2026-03-11 10:34"),
        ] {
            let date = (!date.is_empty()).then(|| date.parse().unwrap());
            let (last, calendar) = period_of(span, date, "Asia/Shanghai", now).unwrap();
            assert_eq!(last.to_string(), day, "{span:?} {date:?}");
            assert_eq!(calendar.now.strftime("%Y-%m-%d %H:%M").to_string(), made, "{span:?} {date:?}");
        }
        let problem = period_of(Span::Daily, Some("2026-03-12".parse().unwrap()), "Asia/Shanghai", now);
        assert!(problem.unwrap_err().contains("has not begun"));
    }
}
