//! What systemd is told: ready, alive, stopping. Without systemd, nobody.

use std::time::Duration;

use sd_notify::NotifyState;

/// Feeds the watchdog at half its interval.
#[derive(Debug)]
pub(super) struct Watchdog(Option<tokio::time::Interval>);

impl Watchdog {
    /// The watchdog that systemd has set for us, if it has.
    pub(super) fn new() -> Self {
        Self(sd_notify::watchdog_enabled().map(|limit: Duration| tokio::time::interval(limit / 2)))
    }

    /// Resolves when the watchdog wants to be fed; never without one.
    pub(super) async fn is_due(&mut self) {
        match &mut self.0 {
            Some(interval) => drop(interval.tick().await),
            None => std::future::pending().await,
        }
    }
}

/// The dispatcher's loop goes round.
pub(super) fn feed_watchdog() {
    tell(NotifyState::Watchdog);
}

/// jobd is reconciled and takes requests.
pub(super) fn ready(status: &str) {
    tell(NotifyState::Ready);
    tell(NotifyState::Status(status));
}

/// jobd is on its way down; its runs go on.
pub(super) fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    // Whoever has started us without a socket to write to does not want to know.
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "systemd could not be told");
    }
}
