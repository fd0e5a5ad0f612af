//! Server versions with known ways around row policies.

/// The first version of each series in which the table function `loop` and others of its kind keep row policies.
const FIXED: &[[u32; 4]] = &[[26, 7, 6, 5], [26, 6, 4, 10], [26, 5, 8, 18], [26, 3, 22, 6], [25, 8, 29, 12]];

/// What to do about this version; None when it has no known way around row policies.
pub(crate) fn advice(version: &str) -> Option<String> {
    let fixed_list = || {
        let texts = FIXED.iter().map(|fixed| fixed.map(|number| number.to_string()).join("."));
        texts.collect::<Vec<_>>().join(", ")
    };
    let mut numbers = version.split(['.', '-']).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok);
    let (Some(year), Some(month)) = (next(), next()) else {
        return Some(format!(
            "the version of the server is `{version}`: check that it is one of {}",
            fixed_list()
        ));
    };
    let found = [year, month, next().unwrap_or(0), next().unwrap_or(0)];
    let newest = FIXED[0];
    let fixed = match FIXED.iter().find(|fixed| fixed[..2] == found[..2]) {
        Some(fixed) => found >= *fixed,
        None => found > newest,
    };
    let text = || {
        format!(
            "clickhouse {version} has known ways around row policies, such as the table function loop: update to one of {} \
             or newer. Roles of access.toml have no right to use them, other users may",
            fixed_list()
        )
    };
    (!fixed).then(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_the_fix_of_their_series_are_named() {
        for (version, has_advice) in [
            ("26.7.6.5", false),
            ("26.7.2.1", true),
            ("26.8.1.3", false),
            ("27.1.1.1", false),
            ("26.6.4.10", false),
            ("26.6.4.9", true),
            ("26.4.9.9", true),
            ("25.8.29.12", false),
            ("25.8.28.1", true),
            ("24.3.1.1", true),
            ("26.7.6.5-stable", false),
            ("unknown", true),
        ] {
            assert_eq!(advice(version).is_some(), has_advice, "{version}");
        }
    }
}
