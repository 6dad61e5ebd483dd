//! Entries of `jobs.toml` for tests with a real jobd, and what its jobs and its store leave behind.

use std::fs;

use jiff::tz::TimeZone;
use jobctl::clock;
use jobctl::engine::run::RunId;
use jobctl::run::{RunFolder, find};
use sqlx::{ConnectOptions as _, SqliteConnection};

use crate::jobd::{Jobd, wait_for};

/// A schedule that does not fire while a test runs: half a year away.
fn far() -> String {
    let month = clock::now().wall.to_zoned(TimeZone::UTC).month();
    format!("\"0 0 1 {} *\"", (month + 5) % 12 + 1)
}

/// A job that is started by hand, with more lines of its entry.
pub fn by_hand(name: &str, entry: &str) -> String {
    format!("[jobs.{name}]\nschedule = {}\n{entry}\n", far())
}

/// The lines of a file beside `jobs.toml`; none while it is not there.
pub fn lines(jobd: &Jobd, file: &str) -> Vec<String> {
    let text = fs::read_to_string(jobd.path(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The folder of a run; its row may be there a moment earlier.
#[track_caller]
pub fn folder(jobd: &Jobd, run: u64) -> RunFolder {
    wait_for("the run has a folder", || find(&jobd.state_dir(), RunId(run)))
}

/// Works on jobd's database from outside, as another program would.
pub fn with_database<T>(jobd: &Jobd, work: impl AsyncFnOnce(&mut SqliteConnection) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(jobd.state_dir().join("state.db"));
    runtime.block_on(async {
        let mut connection = options.connect().await.unwrap();
        let result = work(&mut connection).await;
        sqlx::Connection::close(connection).await.unwrap();
        result
    })
}
