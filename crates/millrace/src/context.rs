//! What most commands need: the settings, the output, and a Tokio runtime.
use std::path::Path;

use runtime::config::{self, Settings};
use tokio::runtime::Runtime;

use crate::{
    error::Error,
    output::{Output, note},
};

pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) output: Output,
    pub(crate) tokio: Runtime,
}

impl Context {
    pub(crate) fn new(config: Option<&Path>, output: Output) -> Result<Self, Error> {
        let settings = config::load_checked(config, ::kafka::check_clients)?;
        for warning in &settings.warnings {
            note(format!("warning: {warning}"));
        }
        // One worker thread, so that signals are handled while the main thread works.
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Ok(Self {
            settings,
            output,
            tokio: tokio.map_err(|source| Error::System { action: "starting", source })?,
        })
    }
}
