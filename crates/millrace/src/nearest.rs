//! The known name that is most similar to a mistyped one, for error messages.

/// The most similar of the known names; '' when there are none.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> &'a str {
    let similarity = |known: &str| strsim::jaro_winkler(known, name);
    known.into_iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b))).unwrap_or_default()
}
