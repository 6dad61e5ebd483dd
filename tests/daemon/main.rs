//! The real jobd, jobctl and jobd-shim on real processes: what a person would see.
//!
//! Each test has a jobd of its own and waits for conditions, with a deadline; nothing is timed by sleeping.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![expect(unreachable_pub, reason = "the modules of a test are its own")]

mod accounts;
mod alerts;
mod announcement;
mod auditor;
mod downtime;
mod environment;
mod following;
mod hung;
mod idle;
mod live;
mod order;
mod panic;
mod readers;
mod refusals;
mod reload;
mod requests;
mod resources;
mod restarts;
mod retries;
mod store;
mod systemd;
mod unkillable;
mod watches;

#[path = "../support/entries.rs"]
mod entries;
#[path = "../support/hang.rs"]
mod hang;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/jobd.rs"]
mod jobd;
#[path = "../support/webhook.rs"]
mod webhook;

use entries::{by_hand, folder, lines, with_database};
