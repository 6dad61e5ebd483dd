//! `stuck.json`: a shim's word that processes of its run do not die of SIGKILL.

use serde::{Deserialize, Serialize};

use super::STUCK_VERSION;
use crate::engine::run::LeftProcess;
use crate::engine::time::Timestamp;

/// What is known of them when they are first called so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// The version of this file.
    pub version: u32,
    /// When SIGKILL was first sent.
    pub since: Timestamp,
    /// The processes.
    pub left: Vec<LeftProcess>,
}

impl Stuck {
    /// These processes live since then.
    #[must_use]
    pub const fn new(since: Timestamp, left: Vec<LeftProcess>) -> Self {
        Self { version: STUCK_VERSION, since, left }
    }
}
