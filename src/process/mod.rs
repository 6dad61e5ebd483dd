//! Launching shims, finding them again after a restart, waiting for them, stopping them.
//!
//! **Invariant:** whether a run is alive is asked of its lock, and of nothing else; a shim is signalled only through
//! a handle on the very process that the mark names.

mod examine;
mod finding;
mod gate;
mod launch;
mod remains;
mod stop;
mod watch;

pub use examine::{ExamineError, examine};
pub use finding::{Finding, inspect};
pub use gate::Gate;
pub use launch::{LaunchError, Launcher, Shim};
pub use stop::{StopError, reap, stop, stuck};
pub use watch::{until_silent, until_stuck, watch};
