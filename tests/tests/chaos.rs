//! A short run of `cargo chaos` with every fault: the numbers stay exact.

use std::{sync::atomic::AtomicBool, time::Duration};

use devstack::Profile;
use system_tests::{
    chaos::{Audience, Kind, Options, Progress, run},
    own_stack,
};

/// Shown with the test when it fails.
struct Printed;

impl Audience for Printed {
    fn hear(&self, line: &str) {
        eprintln!("{line}");
    }

    fn see(&self, _progress: Progress) {}
}

#[test]
fn no_number_changes_while_everything_breaks() {
    let mut stack = own_stack();
    let logs = std::env::temp_dir().join("millrace-tests").join(format!("chaos_{}", std::process::id()));
    let options = Options {
        seed: 7,
        length: Duration::from_secs(75),
        kinds: Kind::ALL.to_vec(),
        stages: vec![0, 1, 2],
        rate: 3_000.0,
        members: 2,
        profile: Profile::of_this_build(),
        logs,
    };
    let report = run(&options, &mut stack, &Printed, &AtomicBool::new(false)).unwrap();
    eprintln!("{report}logs are in {}", report.logs.display());
    assert_eq!(report.differences, [], "of {}", report.differences.len());
    // The faults did happen.
    assert!(report.sent.sent > 150_000);
    assert!(report.seen.kills >= 20);
    assert!(report.seen.zombies >= 2);
    assert!(report.count(Kind::LostReply) >= 5);
    for kind in [Kind::Kafka, Kind::ClickHouse, Kind::TooManyParts, Kind::Reset, Kind::HttpErrors] {
        assert!(report.count(kind) >= 1, "{}", kind.name());
    }
    std::fs::remove_dir_all(&report.logs).unwrap();
}
