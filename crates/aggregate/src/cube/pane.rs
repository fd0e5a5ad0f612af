//! Lanes that write cubes, and the widths of their time buckets.

/// A lane that writes cubes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CubeLane {
    /// `live`: fresh within a second, narrow panes, kept for days.
    Live,
    /// `report`: some seconds behind, wide panes, kept for years.
    Report,
}

impl CubeLane {
    /// Every lane of cubes.
    pub const ALL: &[Self] = &[Self::Live, Self::Report];

    /// Its name; its table is `{name}_local`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Report => "report",
        }
    }

    /// How long its buckets are kept where the cube does not say so, in days.
    pub fn retention_days(self) -> u16 {
        match self {
            Self::Live => 7,
            Self::Report => 3 * 365 + 1,
        }
    }
}

/// A width of time buckets. Each pane belongs to one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pane {
    /// `10s`
    TenSeconds,
    /// `60s`
    Minute,
    /// `1h`
    Hour,
    /// `1d`: from one midnight of the business time zone to the next.
    Day,
}

impl Pane {
    /// Every pane, the smallest first.
    pub const ALL: &[Self] = &[Self::TenSeconds, Self::Minute, Self::Hour, Self::Day];

    /// Its value in the column `pane`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TenSeconds => "10s",
            Self::Minute => "60s",
            Self::Hour => "1h",
            Self::Day => "1d",
        }
    }

    /// The lane whose table holds it.
    pub fn lane(self) -> CubeLane {
        match self {
            Self::TenSeconds | Self::Minute => CubeLane::Live,
            Self::Hour | Self::Day => CubeLane::Report,
        }
    }

    /// Its width in seconds; none for a day, which may have 23 or 25 hours.
    pub fn seconds(self) -> Option<u32> {
        match self {
            Self::TenSeconds => Some(10),
            Self::Minute => Some(60),
            Self::Hour => Some(3600),
            Self::Day => None,
        }
    }
}
