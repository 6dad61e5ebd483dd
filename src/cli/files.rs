//! The readers of the configuration, the store and the run folders, as `jobctl` needs them.

use std::path::Path;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::sources::{Ended, Loaded, Rejection, Sources};
use crate::api::ledger::Ledger;
use crate::api::records::{Records, RecordsError};
use crate::clock;
use crate::config::{self, Config, LoadOptions};
use crate::engine::run::RunId;
use crate::run;

/// The files themselves.
#[derive(Debug)]
pub struct Files;

impl Sources for Files {
    fn load(&self, path: &Path, colour: bool) -> Result<Loaded, Rejection> {
        let config = config::load(path, &LoadOptions::validate().at(clock::now().wall))
            .map_err(|rejected| Rejection(rejected.render(colour)))?;
        let warnings = config.warnings.iter().map(|warning| warning.render(colour)).collect();
        let timezone = config.timezone.iana_name().map(str::to_owned);
        let summary = config::summary(path, &config);
        let Config { jobs: specs, admission, hash, .. } = config;
        Ok(Loaded { summary, timezone, specs, admission, hash, warnings })
    }

    fn records<'a>(&'a self, state_dir: &'a Path) -> BoxFuture<'a, Result<Box<dyn Records>, RecordsError>> {
        async move { Ok(Box::new(Ledger::open(state_dir).await?) as Box<dyn Records>) }.boxed()
    }

    fn ended(&self, state_dir: &Path, run: RunId) -> Option<Ended> {
        let folder = run::find(state_dir, run)?;
        // A result that can't be read says nothing of the run, and the row stays as it is.
        let result = folder.result().ok().flatten()?;
        let spec = folder.spec().ok().flatten();
        Some(Ended { report: result.into(), timeout: spec.and_then(|spec| spec.timeout()) })
    }
}
