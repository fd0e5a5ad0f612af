//! The `aggregate` process: reads events from Kafka and inserts deltas of cubes into ClickHouse.
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    runtime::process::main("aggregate", aggregate::check, aggregate::run)
}
