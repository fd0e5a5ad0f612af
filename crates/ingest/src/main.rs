//! The `ingest` process: raw events in, clean events out.
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    runtime::process::main("ingest", ingest::check, ingest::run)
}
