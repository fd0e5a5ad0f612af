//! Values for people: numbers in their unit, and a series as one line of bars.
use super::Unit;
use crate::table::count;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// What is not known.
pub(crate) const NOTHING: &str = "-";
/// Wider series are folded, so that they fit a terminal beside their name.
const WIDEST: usize = 60;

/// A value in its unit, without the unit's name.
pub(crate) fn value(unit: Unit, value: Option<f64>) -> String {
    let Some(value) = value else { return NOTHING.into() };
    match unit {
        Unit::Share => format!("{:.2} %", value * 100.0),
        Unit::PerDevice | Unit::Hours => format!("{value:.2}"),
        Unit::Seconds => format!("{value:.1}"),
        _ => count(value.round() as i64),
    }
}

/// One bar per value, from the least to the greatest; a gap where there is none. A series wider than a terminal shows
/// the last value of each stretch.
pub(crate) fn sparkline(values: &[Option<f64>]) -> String {
    let folded: Vec<Option<f64>>;
    let values = if values.len() > WIDEST {
        let stretch = values.len().div_ceil(WIDEST);
        folded = values.chunks(stretch).map(|chunk| chunk.last().copied().flatten()).collect();
        &folded
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
    fn a_value_reads_in_its_unit() {
        for (unit, number, text) in [
            (Unit::Devices, Some(1_234_567.0), "1 234 567"),
            (Unit::Share, Some(0.12345), "12.35 %"),
            (Unit::Share, None, "-"),
            (Unit::Minor, Some(-150.0), "-150"),
            (Unit::Hours, Some(0.25), "0.25"),
            (Unit::PerDevice, Some(1.5), "1.50"),
        ] {
            assert_eq!(value(unit, number), text);
        }
    }

    #[test]
    fn a_series_is_one_line_of_bars_with_gaps_for_what_is_not_known() {
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
