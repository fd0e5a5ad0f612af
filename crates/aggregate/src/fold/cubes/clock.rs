//! Into which cell of time an event falls, and to which bucket of a pane a cell belongs. All in seconds since 1970.
use event::Field;
use event::calendar::BusinessDays;

use crate::cube::Pane;

/// How the events of a cube are put into cells. Cells are the intersections of all its panes, so that every pane is made
/// of whole cells, also where a day begins within an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clock {
    /// The time field of the cube.
    pub(super) time: Field,
    width: Option<u32>,
    by_day: bool,
}

impl Clock {
    /// A clock for panes whose smallest fixed width is `width` seconds, and for days.
    pub(super) fn new(time: Field, width: Option<u32>, by_day: bool) -> Self {
        Self { time, width, by_day }
    }

    /// The first second of the cell of a time in epoch milliseconds.
    #[inline]
    pub(super) fn cell(&self, millis: i64, days: &mut BusinessDays) -> u32 {
        let seconds = millis.div_euclid(1000).clamp(0, i64::from(u32::MAX)) as u32;
        let fixed = self.width.map_or(0, |width| seconds - seconds % width);
        if self.by_day { fixed.max(start_of_day(seconds, days)) } else { fixed }
    }
}

/// The first second of the bucket of a pane to which a cell belongs.
pub(super) fn bucket_of(pane: Pane, cell: u32, days: &mut BusinessDays) -> u32 {
    match pane.seconds() {
        Some(width) => cell - cell % width,
        None => start_of_day(cell, days),
    }
}

/// The first second of the business day of a moment; 0 for the day that began before 1970.
#[inline]
fn start_of_day(seconds: u32, days: &mut BusinessDays) -> u32 {
    days.of_second(i64::from(seconds)).start.max(0) as u32
}
