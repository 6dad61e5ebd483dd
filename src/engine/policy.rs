//! What follows a missed fire, and what a fire does while a run is active.

use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::occurrence::Fire;
use super::time::Timestamp;

/// The most missed fires of one job that one downtime makes up for under `catch_up = "all"`: the newest ones. A queue
/// behind a slow job has to end some day.
pub const CATCH_UP_RUNS_MAX: usize = 1_000;

/// What a fire does while a run of its job is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// It is skipped, with a row that names the run in the way.
    #[default]
    Skip,
    /// It waits for its turn, up to the job's `queue_limit`.
    Queue,
    /// It takes the place of the active run, which is ended; of those that wait for it only the newest remains.
    Replace,
    /// It is started beside the others.
    Allow,
}

/// What a fire does while a lock or a pool that its job needs is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Busy {
    /// It waits, for as long as it would be caught up.
    #[default]
    Wait,
    /// It is skipped, with a row that names what is taken and by whom.
    Skip,
}

/// What follows missed fires, within the job's catch-up window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CatchUp {
    /// Nothing: each is a MISSED row.
    Skip,
    /// The newest one is run; the others are SKIPPED rows that name its run.
    #[default]
    Latest,
    /// Each is run, one after the other, oldest first.
    All,
}

/// What becomes of processes that outlive a main process that succeeded. After any other end they are killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Leftover {
    /// They are ended, and the row says so.
    #[default]
    Kill,
    /// They live on, and the row says so.
    Warn,
    /// They live on: starting them is what the job is for.
    Allow,
}

/// What becomes of the fires of one job that are due: four stretches, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DuePlan {
    /// Too late to run, or not to be made up for.
    pub(super) missed: Range<usize>,
    /// Made up for by the next one.
    pub(super) folded: Range<usize>,
    /// Missed, and made up for.
    pub(super) caught_up: Range<usize>,
    /// Due now.
    pub(super) on_time: Range<usize>,
    /// The first that is still within the window.
    pub(super) in_window: usize,
}

/// Decides about due fires, sorted and not after `now`. A fire is on time when it is not older than `tolerance`.
///
/// Under `latest` a fire that is on time is itself the newest one, and stands for those before it.
pub(super) fn plan_due(
    fires: &[Fire],
    now: Timestamp,
    tolerance: Duration,
    catch_up: CatchUp,
    window: Duration,
) -> DuePlan {
    let young = |limit: Duration| fires.partition_point(|fire| age(fire.starts, now) > limit);
    let on_time = young(tolerance);
    let in_window = young(window).min(on_time);
    let (missed, first) = match catch_up {
        CatchUp::Skip => (on_time, on_time),
        CatchUp::Latest if on_time < fires.len() => (in_window, on_time),
        CatchUp::Latest => (in_window, in_window.max(on_time.saturating_sub(1))),
        CatchUp::All => {
            let first = in_window.max(on_time.saturating_sub(CATCH_UP_RUNS_MAX));
            (first, first)
        }
    };
    DuePlan {
        missed: 0..missed,
        folded: missed..first,
        caught_up: first..on_time,
        on_time: on_time..fires.len(),
        in_window,
    }
}

/// Whether a claim that was never acted upon is still to be: it goes the way of a missed fire.
pub(super) fn still_wanted(
    due: Timestamp,
    now: Timestamp,
    tolerance: Duration,
    catch_up: CatchUp,
    window: Duration,
) -> bool {
    age(due, now) <= if catch_up == CatchUp::Skip { tolerance } else { window }
}

/// How long ago an instant was; zero if it is still to come.
fn age(instant: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(instant).try_into().unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(fires: &[i64], now: i64, catch_up: CatchUp) -> (usize, usize, usize, usize) {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let fires: Vec<_> = fires.iter().map(|&second| Fire { at: at(second), starts: at(second) }).collect();
        let seconds = Duration::from_secs;
        let plan = plan_due(&fires, at(now), seconds(2), catch_up, seconds(100));
        assert_eq!(plan.missed.end, plan.folded.start);
        assert_eq!(plan.folded.end, plan.caught_up.start);
        assert_eq!(plan.caught_up.end, plan.on_time.start);
        (plan.missed.len(), plan.folded.len(), plan.caught_up.len(), plan.on_time.len())
    }

    #[test]
    fn each_policy_makes_up_for_what_it_says() {
        let fires = [10, 950, 960, 970];
        assert_eq!(plan(&fires, 1_000, CatchUp::Skip), (4, 0, 0, 0));
        assert_eq!(plan(&fires, 1_000, CatchUp::Latest), (1, 2, 1, 0));
        assert_eq!(plan(&fires, 1_000, CatchUp::All), (1, 0, 3, 0), "one is past the window");
    }

    #[test]
    fn a_fire_on_time_is_the_latest_itself() {
        let fires = [950, 960, 999];
        assert_eq!(plan(&fires, 1_000, CatchUp::Latest), (0, 2, 0, 1));
        assert_eq!(plan(&fires, 1_000, CatchUp::Skip), (2, 0, 0, 1));
        assert_eq!(plan(&fires, 1_000, CatchUp::All), (0, 0, 2, 1));
    }

    #[test]
    fn past_the_window_nothing_is_made_up_for() {
        assert_eq!(plan(&[10, 20], 1_000, CatchUp::Latest), (2, 0, 0, 0));
        assert_eq!(plan(&[10, 20], 1_000, CatchUp::All), (2, 0, 0, 0));
        assert_eq!(plan(&[], 1_000, CatchUp::All), (0, 0, 0, 0));
    }
}
