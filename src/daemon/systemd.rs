//! What systemd is told: ready, alive, reloading, stopping. Without systemd, nobody.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;

use crate::clock;

/// Feeds the watchdog at half its interval.
#[derive(Debug)]
pub(super) struct Watchdog(Option<tokio::time::Interval>);

impl Watchdog {
    /// The watchdog that systemd has set for us, if it has.
    pub(super) fn new() -> Self {
        Self(sd_notify::watchdog_enabled().map(|limit: Duration| {
            let mut interval = tokio::time::interval(limit / 2);
            // Whoever was late is not to make up for it: systemd has counted already.
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        }))
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
    tell(&[NotifyState::Watchdog]);
}

/// jobd is reconciled and takes requests.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready]);
    tell(&[NotifyState::Status(status)]);
}

/// jobd is on its way down; its runs go on.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// jobd makes way for itself, and will say when it is ready again. Until then its watchdog is not fed, so it is now.
pub(super) fn reloading() {
    let microseconds = clock::now().monotonic.since_boot().as_micros();
    let since = NotifyState::MonotonicUsec(i128::try_from(microseconds).unwrap_or(i128::MAX));
    // The time goes with it: since version 253 systemd wants to know which reload is meant.
    tell(&[NotifyState::Reloading, since, NotifyState::Status("reloading")]);
    if sd_notify::watchdog_enabled().is_some() {
        feed_watchdog();
    }
}

fn tell(states: &[NotifyState<'_>]) {
    // Whoever has started us without a socket to write to does not want to know.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be told");
    }
}
