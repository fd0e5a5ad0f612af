//! Finds an activity by its ID.
use event::Activity;

use crate::{error::Error, nearest::nearest, registry::Activities};

/// An activity by its ID.
pub(super) fn find<'a>(activities: &'a Activities, id: &str) -> Result<&'a Activity, Error> {
    activities.get(id).ok_or_else(|| Error::Failed(unknown(activities, id)))
}

/// The error for an unknown ID. It suggests the nearest activity by ID or by name, because people also type the name.
pub(super) fn unknown(activities: &Activities, id: &str) -> String {
    let names = activities.values().flat_map(|activity| [activity.activity_id.as_str(), &activity.name]);
    let nearest_name = nearest(id, names);
    let nearest = activities
        .values()
        .find(|activity| activity.activity_id == nearest_name || activity.name == nearest_name);
    match nearest {
        Some(nearest) => format!(
            "there is no activity `{id}`; the nearest is `{}` {:?} (`millrace activity list` shows all)",
            nearest.activity_id, nearest.name
        ),
        None => {
            format!(
                "there is no activity `{id}`: the registry is empty, see `millrace activity create --help`"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::activity;
    use super::*;

    #[test]
    fn the_error_for_an_unknown_id_suggests_the_nearest_id_or_name() {
        let activities: Activities = [
            r#"{"activity_id":"summer-draw","name":"Prizes"}"#,
            r#"{"activity_id":"20261123-x","name":"VIP festival"}"#,
        ]
        .map(|json| (activity(json).activity_id.clone(), activity(json)))
        .into();
        for (typed, nearest) in [("sumer-draw", "`summer-draw`"), ("VIP Festival", "`20261123-x`")] {
            let message = unknown(&activities, typed);
            assert!(message.contains(typed) && message.contains(nearest), "{message}");
        }
        assert!(unknown(&Activities::new(), "x").contains("the registry is empty"));
        assert!(find(&activities, "summer-draw").is_ok());
    }
}
