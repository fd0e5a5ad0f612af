//! A short run of `cargo chaos` with every kind of fault: the numbers stay exact.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bytesize::ByteSize;
use devstack::{Profile, Stack, StackOptions};
use system_tests::{
    chaos::{ChaosOptions, ChaosProgress, FaultKind, Observer, run},
    hostile::Attacker,
    own_stack,
    secure::Secure,
};

/// Prints messages; cargo shows them when the test fails.
struct Printed;

impl Observer for Printed {
    fn message(&self, line: &str) {
        eprintln!("{line}");
    }

    fn progress(&self, _progress: ChaosProgress) {}
}

fn options(seed: u64, length: Duration, kinds: &[FaultKind]) -> ChaosOptions {
    let logs =
        std::env::temp_dir().join("millrace-tests").join(format!("chaos_{seed}_{}", std::process::id()));
    ChaosOptions {
        seed,
        length,
        kinds: kinds.to_vec(),
        stages: vec![0, 1, 2],
        rate: 3_000.0,
        members: 2,
        hostile: false,
        secure: None,
        memory_limit: ByteSize::mib(512),
        profile: Profile::of_this_build(),
        logs,
    }
}

#[test]
fn no_hostile_record_changes_a_number_or_ends_a_process() {
    let mut stack = own_stack();
    let options = ChaosOptions { hostile: true, ..options(8, Duration::from_secs(40), &[FaultKind::Kill]) };
    let report = run(&options, &mut stack, &Printed, &AtomicBool::new(false)).unwrap();
    eprintln!("{report}logs are in {}", report.logs.display());
    assert_eq!(report.differences, [], "of {}", report.differences.len());
    assert!(!report.has_findings());
    // Every kind of attack has happened, and processes were killed meanwhile.
    assert_eq!(report.attacks.len(), Attacker::KINDS.len(), "{:?}", report.attacks);
    assert!(report.processes.kills >= 2, "{}", report.processes.kills);
    std::fs::remove_dir_all(&report.logs).unwrap();
}

#[test]
fn no_fault_changes_a_number() {
    let mut stack = own_stack();
    let options = options(7, Duration::from_secs(75), &FaultKind::ALL);
    let report = run(&options, &mut stack, &Printed, &AtomicBool::new(false)).unwrap();
    eprintln!("{report}logs are in {}", report.logs.display());
    assert_eq!(report.differences, [], "of {}", report.differences.len());
    // The faults have happened.
    assert!(report.sent.sent > 10_000, "{}", report.sent.sent);
    assert!(report.processes.kills >= 5, "{}", report.processes.kills);
    assert!(report.processes.zombies >= 1);
    assert!(report.count(FaultKind::LostReply) >= 1);
    for kind in [
        FaultKind::Kafka,
        FaultKind::ClickHouse,
        FaultKind::TooManyParts,
        FaultKind::Reset,
        FaultKind::HttpErrors,
    ] {
        assert!(report.count(kind) >= 1, "{}", kind.name());
    }
    std::fs::remove_dir_all(&report.logs).unwrap();
}

#[test]
fn no_fault_changes_a_number_over_tls_with_passwords_and_acls() {
    // One run at a time.
    let _other = own_stack();
    let secure = Arc::new(Secure::new().unwrap());
    let kafka_security = Some(secure.kafka.clone());
    let mut stack = Stack::start(StackOptions { kafka_security, ..StackOptions::own_servers() }).unwrap();
    let kinds = [FaultKind::Kill, FaultKind::Kafka, FaultKind::ClickHouse, FaultKind::Reset];
    let options = ChaosOptions { secure: Some(secure), ..options(9, Duration::from_secs(40), &kinds) };
    let report = run(&options, &mut stack, &Printed, &AtomicBool::new(false)).unwrap();
    eprintln!("{report}logs are in {}", report.logs.display());
    assert_eq!(report.differences, [], "of {}", report.differences.len());
    assert!(report.sent.sent > 10_000, "{}", report.sent.sent);
    for kind in kinds {
        assert!(report.count(kind) >= 1, "{}", kind.name());
    }
    std::fs::remove_dir_all(&report.logs).unwrap();
}
