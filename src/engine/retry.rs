//! The next try of a fire whose run ended badly.

use std::collections::BTreeSet;
use std::time::Duration;

use super::run::{Claim, Report, Status, Trigger};
use super::runs::Run;
use super::scheduler::Scheduler;
use super::spread::spread;
use super::time::Now;

/// How often a fire is tried, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// All tries, the first one included.
    pub attempts: u32,
    /// From the end of the first try to the start of the second.
    pub delay: Duration,
    /// What each further delay is longer than the one before, as a factor, at least 1.
    pub backoff: f64,
    /// The longest delay.
    pub max_delay: Duration,
    /// How much a delay may be longer than that, so that many jobs do not come back at once.
    pub jitter: Duration,
    /// Which outcomes are tried again: of FAILED, TIMEOUT, LOST.
    pub on: BTreeSet<Status>,
}

/// How often a fire is tried where only that it is tried again is said.
const ATTEMPTS: u32 = 3;
/// The delay before the second try where nothing else is said.
const DELAY: Duration = Duration::from_mins(1);
/// What delays grow by where nothing else is said.
const BACKOFF: f64 = 2.0;
/// The longest delay where nothing else is said.
const MAX_DELAY: Duration = Duration::from_hours(1);
/// How much longer a delay may be where nothing else is said.
const JITTER: Duration = Duration::from_secs(10);

impl Default for Retry {
    /// FAILED alone: a job that hung may hang again, of one that is LOST nobody knows what it has done.
    fn default() -> Self {
        Self {
            attempts: ATTEMPTS,
            delay: DELAY,
            backoff: BACKOFF,
            max_delay: MAX_DELAY,
            jitter: JITTER,
            on: BTreeSet::from([Status::Failed]),
        }
    }
}

impl Retry {
    /// How long the try after this one waits. `salt` tells apart what is not to come back at once.
    pub(super) fn delay_after(&self, attempt: u32, salt: &str) -> Duration {
        let steps = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        // Bounded, as nothing times infinity is no number.
        let factor = self.backoff.powi(steps).min(f64::MAX);
        let grown = Duration::try_from_secs_f64(self.delay.as_secs_f64() * factor);
        let delay = grown.map_or(self.max_delay, |delay| delay.min(self.max_delay));
        delay.saturating_add(self.jitter_of(attempt, salt))
    }

    fn jitter_of(&self, attempt: u32, salt: &str) -> Duration {
        let whole = u64::try_from(self.jitter.as_millis()).unwrap_or(u64::MAX);
        let words = [salt.as_bytes(), &attempt.to_le_bytes()];
        Duration::from_millis(spread(&words, whole.saturating_add(1)))
    }
}

impl Scheduler {
    /// Claims the next try of a fire whose run has ended, in the same batch as the end. Whether there is one.
    ///
    /// Whoever wanted the run to end does not want it again, and neither does a later fire that waits for its place.
    pub(super) fn try_again(&mut self, run: &Run, report: &Report, now: Now) -> bool {
        let claim = &run.claim;
        let Some(spec) = self.agenda.spec(&claim.job).cloned() else { return false };
        let is_wanted = |retry: &&Retry| {
            run.stop.is_none()
                && claim.attempt < retry.attempts
                && retry.on.contains(&report.status())
                && !self.is_place_taken(&spec, claim)
        };
        let Some(retry) = spec.retry.as_ref().filter(is_wanted) else { return false };
        let delay = retry.delay_after(claim.attempt, &format!("{}@{}", claim.job, claim.due_at()));
        // A clock that was set back since the run ended would draw the wait out.
        let not_before = report.ended_at.min(now.wall).saturating_add(delay).unwrap_or(now.wall);
        let next = Claim {
            attempt: claim.attempt + 1,
            not_before: Some(not_before),
            ..self.draft(&spec, claim.scheduled_at, Trigger::Retry, now)
        };
        self.submit(next, true, None);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(jitter: u64) -> Retry {
        Retry {
            attempts: 5,
            delay: Duration::from_mins(1),
            backoff: 2.0,
            max_delay: Duration::from_secs(200),
            jitter: Duration::from_secs(jitter),
            on: BTreeSet::from([Status::Failed]),
        }
    }

    #[test]
    fn each_delay_is_longer_up_to_the_longest() {
        let delays: Vec<u64> = (1..=4).map(|attempt| retry(0).delay_after(attempt, "a").as_secs()).collect();
        assert_eq!(delays, [60, 120, 200, 200]);
        assert_eq!(retry(0).delay_after(u32::MAX, "a"), Duration::from_secs(200));
    }

    #[test]
    fn jitter_is_bounded_and_the_same_each_time() {
        let jitter = |salt: &str| retry(10).delay_after(1, salt).saturating_sub(Duration::from_mins(1));
        let all: BTreeSet<Duration> = (0..100).map(|n| jitter(&n.to_string())).collect();
        assert!(all.len() > 50, "{all:?}");
        assert!(all.last().is_some_and(|longest| *longest <= Duration::from_secs(10)));
        assert_eq!(jitter("a"), jitter("a"));
    }
}
