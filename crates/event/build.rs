//! Compiles `schemas/event_batch.proto`, the published contract, into Rust types.
use std::{env, error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let schemas = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../schemas");
    println!("cargo::rerun-if-changed={}", schemas.join("event_batch.proto").display());
    let descriptors = protox::compile(["event_batch.proto"], [&schemas])?;
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    Ok(())
}
