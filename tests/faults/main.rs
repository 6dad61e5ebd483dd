//! Faults, one after the other: what is done to jobd, its shims, jobs and clocks, and what must hold all the same.
//!
//! `README.md` has a row for each fault. `RUNS=2000` is what `make faults` raises where many runs are the fault.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![expect(unreachable_pub, reason = "the modules of a test are its own")]

mod host;
mod life;
mod output;
mod processes;
mod sweep;
mod table;
mod time;
mod versions;

#[path = "../support/entries.rs"]
mod entries;
#[path = "../support/jobd.rs"]
mod jobd;
#[path = "../sim/ledger.rs"]
mod ledger;
#[path = "../support/webhook.rs"]
mod webhook;

use entries::{by_hand, folder, lines, with_database};

/// How many runs make a crowd, unless `RUNS` says otherwise.
fn crowd() -> usize {
    std::env::var("RUNS").map_or(200, |text| text.parse().expect("RUNS is a number"))
}
