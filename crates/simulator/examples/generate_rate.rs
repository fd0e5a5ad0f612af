//! Measures how fast one core generates records: `cargo run --release -p simulator --example generate_rate`.

use std::io::Write;
use std::time::Instant;

use simulator::{Config, Detail, RawRecord, Simulator, default_activities};

fn main() -> std::io::Result<()> {
    let now_ms = 1_772_366_400_000;
    let mut out = std::io::stdout().lock();
    for (name, detail) in [
        ("counts only", Detail { devices: false, minutes: false, dead_letters: false }),
        ("full truth", Detail { devices: true, minutes: true, dead_letters: true }),
    ] {
        let config = Config { activities: default_activities(now_ms), detail, ..Config::default() };
        let mut simulator = Simulator::new(config);
        let mut record = RawRecord::default();
        let start = Instant::now();
        while simulator.counts().sent < 2_000_000 {
            // 100 000 records per second of simulated time.
            simulator.next(now_ms + simulator.counts().records as i64 / 100, &mut record);
        }
        let seconds = start.elapsed().as_secs_f64();
        let counts = simulator.counts();
        writeln!(
            out,
            "{name}: {:.0} events/s, {:.0} MB/s, {:.0} bytes per event",
            counts.sent as f64 / seconds,
            counts.bytes as f64 / seconds / 1e6,
            counts.bytes as f64 / counts.sent as f64
        )?;
    }
    Ok(())
}
