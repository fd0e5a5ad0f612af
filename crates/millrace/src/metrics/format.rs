//! Values as text: a number in its unit, and a series as one line of bars.
use super::catalogue::MetricUnit;
use crate::output::text::count;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// An unknown value.
const UNKNOWN: &str = "-";
/// A longer series is shortened, so that it fits a terminal beside its name.
const MAX_BARS: usize = 60;

/// A value in its unit, without the unit's name.
pub(crate) fn value(unit: MetricUnit, value: Option<f64>) -> String {
    let Some(value) = value else { return UNKNOWN.into() };
    match unit {
        MetricUnit::Share => format!("{:.2} %", value * 100.0),
        MetricUnit::PerDevice | MetricUnit::Hours => format!("{value:.2}"),
        MetricUnit::Seconds => format!("{value:.1}"),
        _ => count(value.round() as i64),
    }
}

/// One bar per value, scaled from the smallest to the largest; a space for an unknown value. Of a long series only every
/// n-th value is shown.
pub(crate) fn sparkline(values: &[Option<f64>]) -> String {
    let shortened: Vec<Option<f64>>;
    let values = if values.len() > MAX_BARS {
        let stretch = values.len().div_ceil(MAX_BARS);
        shortened = values.chunks(stretch).map(|chunk| chunk.last().copied().flatten()).collect();
        &shortened
    } else {
        values
    };
    let known = || values.iter().flatten().copied();
    let least = known().fold(f64::INFINITY, f64::min);
    let greatest = known().fold(f64::NEG_INFINITY, f64::max);
    let bar = |value: f64| {
        if greatest <= least {
            return BARS[if value == 0.0 { 0 } else { 3 }];
        }
        let share = (value - least) / (greatest - least);
        BARS[(share * (BARS.len() - 1) as f64).round() as usize]
    };
    values.iter().map(|value| value.map_or(' ', bar)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_in_its_unit() {
        for (unit, number, text) in [
            (MetricUnit::Devices, Some(1_234_567.0), "1 234 567"),
            (MetricUnit::Share, Some(0.12345), "12.35 %"),
            (MetricUnit::Share, None, "-"),
            (MetricUnit::Minor, Some(-150.0), "-150"),
            (MetricUnit::Hours, Some(0.25), "0.25"),
            (MetricUnit::PerDevice, Some(1.5), "1.50"),
        ] {
            assert_eq!(value(unit, number), text);
        }
    }

    #[test]
    fn a_series_is_one_line_of_bars_with_gaps_for_unknown_values() {
        let some = |values: &[f64]| values.iter().map(|&value| Some(value)).collect::<Vec<_>>();
        for (values, line) in [
            (some(&[0.0, 1.0, 2.0, 3.5, 7.0]), "▁▂▃▅█"),
            (vec![Some(1.0), None, Some(2.0)], "▁ █"),
            (some(&[5.0, 5.0]), "▄▄"),
            (some(&[0.0]), "▁"),
            (vec![], ""),
        ] {
            assert_eq!(sparkline(&values), line);
        }
        assert_eq!(sparkline(&some(&[1.0; 1000])).chars().count(), 59);
    }
}
