//! The `aggregate` process: events in, deltas of cubes in ClickHouse out.
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    runtime::process::main("aggregate", aggregate::run)
}
