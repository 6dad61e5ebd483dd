//! The real jobd, jobctl and jobd-shim on real processes: what a person would see.
//!
//! Each test has a jobd of its own and waits for conditions, with a deadline; nothing is timed by sleeping.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![expect(unreachable_pub, reason = "the modules of a test are its own")]

mod alerts;
mod downtime;
mod environment;
mod idle;
mod readers;
mod refusals;
mod requests;
mod restarts;
mod store;
mod systemd;
mod trees;

#[path = "../support/jobd.rs"]
mod jobd;
#[path = "../support/webhook.rs"]
mod webhook;

use std::fs;

use jiff::tz::TimeZone;
use jobctl::clock;
use jobctl::engine::run::RunId;
use jobctl::run::{RunFolder, find};
use sqlx::{ConnectOptions as _, SqliteConnection};

use jobd::Jobd;

/// A schedule that does not fire while a test runs: half a year away.
fn far() -> String {
    let month = clock::now().wall.to_zoned(TimeZone::UTC).month();
    format!("\"0 0 1 {} *\"", (month + 5) % 12 + 1)
}

/// A job that is started by hand, with more lines of its entry.
fn by_hand(name: &str, entry: &str) -> String {
    format!("[jobs.{name}]\nschedule = {}\n{entry}\n", far())
}

/// The lines of a file beside `jobs.toml`; none while it is not there.
fn lines(jobd: &Jobd, file: &str) -> Vec<String> {
    let text = fs::read_to_string(jobd.path(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn folder(jobd: &Jobd, run: u64) -> RunFolder {
    find(&jobd.state_dir(), RunId(run)).unwrap()
}

/// Works on jobd's database from outside, as another program would.
fn with_database<T>(jobd: &Jobd, work: impl AsyncFnOnce(&mut SqliteConnection) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(jobd.state_dir().join("state.db"));
    runtime.block_on(async {
        let mut connection = options.connect().await.unwrap();
        let result = work(&mut connection).await;
        sqlx::Connection::close(connection).await.unwrap();
        result
    })
}
