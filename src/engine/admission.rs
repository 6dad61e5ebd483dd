//! What a run needs besides its turn: locks, places in pools, a place among all runs, and time after a boot.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::job::JobName;
use super::run::{Claim, RunId};
use super::time::{Monotonic, Timestamp};

/// The name of a lock: whoever holds it keeps all others out, across jobs.
pub type LockName = String;

/// The name of a pool: a number of places that jobs share.
pub type PoolName = String;

/// What a run holds while it is active.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Holds {
    /// Locks.
    #[serde(default)]
    pub locks: Vec<LockName>,
    /// Places in pools.
    #[serde(default)]
    pub pools: BTreeMap<PoolName, u32>,
}

/// What holds for all runs together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// How many runs may be active at once.
    pub max_running: usize,
    /// The sizes of the pools.
    pub pools: BTreeMap<PoolName, u32>,
    /// How many catch-up runs are started a second.
    pub rate: u32,
    /// How long after the host's boot no catch-up run is started.
    pub settle: Duration,
}

/// How many runs may be active at once where nothing else is said.
const MAX_RUNNING: usize = 256;
/// How many catch-up runs are started a second where nothing else is said.
const RATE: u32 = 20;
/// How long a host has to settle where nothing else is said.
const SETTLE: Duration = Duration::from_secs(30);

impl Default for Admission {
    fn default() -> Self {
        Self { max_running: MAX_RUNNING, pools: BTreeMap::new(), rate: RATE, settle: SETTLE }
    }
}

impl Admission {
    /// When the first catch-up run may be started after a boot: the monotonic clock's zero is the boot.
    pub(super) const fn settled_at(&self) -> Monotonic {
        Monotonic::new(self.settle)
    }

    /// From the start of one catch-up run to that of the next.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.rate.max(1)
    }
}

/// Why a run that waits is not started yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// Its time has not come: the delay of a retry, the settling of the host, its place among the catch-ups.
    NotBefore(Timestamp),
    /// Its job, or every job, is paused.
    Paused,
    /// A job that comes first has not ended as it has to.
    After(JobName),
    /// A run of its job is active, or stands before it.
    Overlap(RunId),
    /// A lock is held.
    Lock {
        /// The lock.
        name: LockName,
        /// Who holds it.
        run: RunId,
    },
    /// A pool has too few places left.
    Pool {
        /// The pool.
        name: PoolName,
        /// Who holds places of it; `None` if it has fewer places than the run needs.
        run: Option<RunId>,
    },
    /// As many runs are active as may be (`max_running`).
    Full,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBefore(at) => write!(f, "its time, {at:.0}"),
            Self::Paused => f.write_str("the end of the pause"),
            Self::After(job) => write!(f, "the job {job}"),
            Self::Overlap(run) => write!(f, "run {run} of the same job"),
            Self::Lock { name, run } => write!(f, "the lock {name}, held by run {run}"),
            Self::Pool { name, run: Some(run) } => {
                write!(f, "places in the pool {name}, held by run {run} among others")
            }
            Self::Pool { name, run: None } => write!(f, "more places than the pool {name} has"),
            Self::Full => f.write_str("a place among all runs (max_running)"),
        }
    }
}

/// What the active runs hold.
#[derive(Debug, Default)]
pub(super) struct Held {
    runs: BTreeSet<RunId>,
    locks: BTreeMap<LockName, BTreeSet<RunId>>,
    pools: BTreeMap<PoolName, BTreeMap<RunId, u32>>,
}

impl Held {
    /// The runs that hold a place among all runs.
    pub(super) const fn runs(&self) -> &BTreeSet<RunId> {
        &self.runs
    }

    /// From here on the run holds what its claim names.
    pub(super) fn take(&mut self, claim: &Claim) {
        self.runs.insert(claim.run);
        for lock in &claim.holds.locks {
            self.locks.entry(lock.clone()).or_default().insert(claim.run);
        }
        for (pool, places) in &claim.holds.pools {
            self.pools.entry(pool.clone()).or_default().insert(claim.run, *places);
        }
    }

    /// The run is over. Whether it held anything.
    pub(super) fn release(&mut self, claim: &Claim) -> bool {
        for lock in &claim.holds.locks {
            if let Some(runs) = self.locks.get_mut(lock) {
                runs.remove(&claim.run);
            }
        }
        for pool in claim.holds.pools.keys() {
            if let Some(runs) = self.pools.get_mut(pool) {
                runs.remove(&claim.run);
            }
        }
        self.runs.remove(&claim.run)
    }

    /// Who holds a lock.
    pub(super) fn holder(&self, lock: &str) -> Option<RunId> {
        self.locks.get(lock)?.first().copied()
    }

    /// Who holds places of a pool.
    pub(super) fn holder_of_place(&self, pool: &str) -> Option<RunId> {
        self.pools.get(pool)?.keys().next().copied()
    }

    /// How many places of a pool are taken.
    pub(super) fn taken(&self, pool: &str) -> u64 {
        self.pools.get(pool).into_iter().flat_map(BTreeMap::values).copied().map(u64::from).sum()
    }
}
