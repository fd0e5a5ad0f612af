//! The report shows what the queries say.
use calamine::{Data, DataType, Range, Reader, Xlsx, open_workbook};
use devstack::pipeline::Pipeline;
use serde_json::Value;

use super::{DAY, as_of, ask, day, monday};

/// The row of a sheet that begins so, as text cells and numbers.
fn row<'a>(sheet: &'a Range<Data>, begins: &str) -> &'a [Data] {
    let found = sheet.rows().find(|row| matches!(&row[0], Data::String(text) if text == begins));
    found.unwrap_or_else(|| panic!("no row {begins}"))
}

pub(super) fn the_report_equals_the_queries(pipeline: &Pipeline) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("day.xlsx");
    let (path, day_text) = (file.to_str().unwrap(), day(0).to_string());
    pipeline.millrace(&["report", "daily", "--date", &day_text, "--out", path]).unwrap();
    let mut book: Xlsx<_> = open_workbook(&file).unwrap();
    let names = book.sheet_names();
    assert_eq!(names.len(), 13, "{names:?}");
    assert_eq!(names.last().unwrap(), "指标定义 Definitions");
    let as_of = as_of();
    let (before, week) = (day(1), day(7));
    let mut compared = 0;
    // Metric, definition, period, value, day before, change, week before, change.
    for name in &names[..names.len() - 1] {
        let sheet = book.worksheet_range(name).unwrap();
        let list: Value =
            serde_json::from_str(&pipeline.millrace(&["metrics", "list", "--json"]).unwrap()).unwrap();
        for cells in sheet.rows() {
            let [Data::String(title), Data::String(definition), Data::String(period), ..] = cells else {
                continue;
            };
            let metric = list.as_array().unwrap().iter().find(|metric| {
                *title
                    == format!(
                        "{} {}",
                        metric["title"]["zh"].as_str().unwrap(),
                        metric["title"]["en"].as_str().unwrap()
                    )
            });
            let Some(metric) = metric else { continue };
            let metric = metric["name"].as_str().unwrap();
            let step = if period.contains("week") {
                "week"
            } else if period.contains("month") {
                "month"
            } else {
                "day"
            };
            if metric == "freshness" {
                continue;
            }
            let from = if step == "day" { period.as_str() } else { day_text.as_str() };
            let question = format!(
                "{metric} --definition {definition} --from {from} --to {from} --step {step} --at {as_of}"
            );
            let value = ask(pipeline, &question).values().next().copied().flatten();
            let shown = match &cells[3] {
                Data::Float(number) => Some(*number),
                Data::Int(number) => Some(*number as f64),
                _ => None,
            };
            // Nothing counted is 0 in a report.
            let same = match (shown, value) {
                (Some(shown), Some(value)) => (shown - value).abs() < 1e-9,
                (Some(shown), None) => shown == 0.0,
                (None, value) => value.is_none(),
            };
            assert!(
                same,
                "{name}: {metric} ({definition}) {period} shows {shown:?}, the query says {value:?}"
            );
            compared += 1;
        }
    }
    assert!(compared > 60, "{compared} numbers compared");

    let users = book.worksheet_range("用户 Users").unwrap();
    let new = row(&users, "新增设备 New devices");
    let numbers: Vec<Option<f64>> = new[3..8].iter().map(|cell| cell.get_float()).collect();
    // One device was new on the day before, none a week before, so that nothing can be said about its change.
    assert_eq!(numbers, [Some(13.0), Some(1.0), Some(12.0), Some(0.0), None], "{before} {week}");

    let retention = book.worksheet_range("留存 Retention").unwrap();
    let cohort = row(&retention, &day(8).to_string());
    let shares: Vec<Option<f64>> = cohort[1..].iter().map(|cell| cell.get_float()).collect();
    assert_eq!(shares[..4], [Some(2.0), Some(1.0), Some(0.5), Some(0.0)]);
    assert_eq!(shares[8..11], [Some(0.5), Some(0.0), None], "day 7, day 8, and day 9, which is not over");

    let definitions = book.worksheet_range("指标定义 Definitions").unwrap();
    assert!(definitions.rows().any(|row| row[0] == Data::String("vip_open_rate v1".into())));

    // A day on which nothing happened says so in words.
    let empty = directory.path().join("empty.xlsx");
    let (path, nothing) = (empty.to_str().unwrap(), day(40).to_string());
    pipeline.millrace(&["report", "daily", "--date", &nothing, "--out", path]).unwrap();
    let mut book: Xlsx<_> = open_workbook(&empty).unwrap();
    let overview = book.worksheet_range("概览 Overview").unwrap();
    row(&overview, &format!("{nothing} 没有数据 · no data in this period"));

    let overview = book.worksheet_range("概览 Overview").unwrap();
    assert!(!overview.rows().any(|row| row[0].to_string().contains("not over")));

    // A day that is not over says so too.
    let unfinished = directory.path().join("unfinished.xlsx");
    let (path, today) = (unfinished.to_str().unwrap(), day(-DAY).to_string());
    pipeline.millrace(&["report", "daily", "--date", &today, "--out", path]).unwrap();
    let mut book: Xlsx<_> = open_workbook(&unfinished).unwrap();
    let overview = book.worksheet_range("概览 Overview").unwrap();
    assert!(overview.rows().any(|row| row[0].to_string().contains("the period is not over")));

    let weekly = directory.path().join("week.xlsx");
    pipeline.millrace(&["report", "weekly", "--date", &day_text, "--out", weekly.to_str().unwrap()]).unwrap();
    let mut book: Xlsx<_> = open_workbook(&weekly).unwrap();
    let users = book.worksheet_range("用户 Users").unwrap();
    let (monday, week) = (monday(day(0)), row(&users, "周活跃设备 Weekly active devices"));
    let question = format!("active_devices_week --from {monday} --to {monday}");
    assert_eq!(week[3].get_float(), ask(pipeline, &question)[&monday.to_string()]);
}
