//! The `enrich` process: clean events in, enriched events out.
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    runtime::process::main("enrich", enrich::check, enrich::run)
}
