//! Alerts end to end: the real loop and the real HTTP client against a scripted server, and the words of messages.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod delivery;
mod words;

use std::time::Duration;

use jobctl::engine::job::JobName;
use jobctl::engine::notice::{BadRun, Notice};
use jobctl::engine::run::{RunId, Status};
use jobctl::engine::time::Timestamp;

/// An instant as a person in Seoul writes it.
fn seoul(text: &str) -> Timestamp {
    format!("{}+09:00", text.replace(' ', "T")).parse().unwrap()
}

fn job(name: &str) -> JobName {
    JobName::new(name).unwrap()
}

/// The run this all began with: invoices that hung.
fn hung() -> BadRun {
    BadRun {
        job: job("invoice_generation"),
        run: RunId(42),
        status: Status::Timeout,
        scheduled_at: Some(seoul("2026-11-01 10:00:00")),
        started_at: seoul("2026-11-01 10:00:00"),
        ended_at: seoul("2026-11-01 10:31:12"),
        duration: Duration::from_secs(31 * 60 + 12),
        timeout: Some(Duration::from_mins(30)),
        error: "signal 9".to_owned(),
        end: None,
        error_tail: "connecting to mail server\nwaiting for 220\n".to_owned(),
        remark: None,
        waited_for: None,
    }
}

fn notice() -> Notice {
    Notice::Bad(hung())
}
