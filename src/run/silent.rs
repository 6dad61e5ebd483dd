//! `silent.json`: a shim's word that its run says nothing and does nothing.

use serde::{Deserialize, Serialize};

use super::SILENT_VERSION;
use crate::engine::time::Timestamp;

/// What is known of the silence when it has lasted for as long as the job may be silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silent {
    /// The version of this file.
    pub version: u32,
    /// Since when.
    pub since: Timestamp,
    /// For how long when it was noticed, milliseconds.
    pub for_ms: u64,
    /// What the run waits for, in a line.
    #[serde(default)]
    pub waits_for: Option<String>,
}

impl Silent {
    /// A run has been silent since then.
    #[must_use]
    pub const fn new(since: Timestamp, for_ms: u64, waits_for: Option<String>) -> Self {
        Self { version: SILENT_VERSION, since, for_ms, waits_for }
    }
}
