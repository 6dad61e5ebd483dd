//! What QUEUED runs wait for, told from what is promised to them and to others.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::records::{Records, RecordsError};
use crate::engine::job::{JobName, JobSpec};
use crate::engine::ledger::{ClaimState, OpenClaim};
use crate::engine::pause::Pause;
use crate::engine::policy::Overlap;
use crate::engine::run::{Claim, RunId, Trigger};
use crate::engine::time::Timestamp;

/// `GET /v1/waiting`: the runs that wait for their turn.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Waiting {
    /// The runs, oldest number first.
    pub waiting: Vec<WaitingRun>,
}

/// A run that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingRun {
    /// The run.
    pub run_id: RunId,
    /// Which try of its fire it is.
    pub attempt: u32,
    /// How many tries its job has, by the present configuration; `null` if it is not tried again.
    pub attempts_max: Option<u32>,
    /// When it may start at the earliest; `null` if that is over, or was never put off.
    pub not_before: Option<Timestamp>,
    /// What is in its way, in words; empty when it is its turn as soon as there is room.
    pub waits_for: Vec<String>,
}

/// The runs that wait, and what for.
///
/// # Errors
/// When the records can't be read.
pub async fn waiting(
    records: &dyn Records,
    specs: &BTreeMap<JobName, Arc<JobSpec>>,
    now: Timestamp,
) -> Result<Waiting, RecordsError> {
    let claims = records.open_claims().await?;
    if claims.iter().all(|open| open.state != ClaimState::Queued) {
        return Ok(Waiting::default());
    }
    let pauses = records.pauses().await?;
    let queued = claims.iter().filter(|open| open.state == ClaimState::Queued);
    let run = |open: &OpenClaim| {
        let claim = &open.claim;
        let spec = specs.get(&claim.job).map(AsRef::as_ref);
        WaitingRun {
            run_id: claim.run,
            attempt: claim.attempt,
            attempts_max: spec.and_then(|spec| spec.retry.as_ref()).map(|retry| retry.attempts),
            not_before: claim.not_before.filter(|at| now < *at),
            waits_for: in_the_way(claim, spec, &claims, &pauses, now),
        }
    };
    Ok(Waiting { waiting: queued.map(run).collect() })
}

fn in_the_way(
    claim: &Claim,
    spec: Option<&JobSpec>,
    claims: &[OpenClaim],
    pauses: &[Pause],
    now: Timestamp,
) -> Vec<String> {
    let mut words = Vec::new();
    if claim.trigger != Trigger::Manual
        && let Some(pause) = pauses.iter().find(|pause| pause.covers(&claim.job, now))
    {
        words.push(format!("the pause by {}", pause.by));
    }
    let active = || claims.iter().filter(|open| open.state == ClaimState::Due).map(|open| &open.claim);
    if spec.is_none_or(|spec| spec.overlap != Overlap::Allow) {
        let same = active().filter(|other| other.job == claim.job);
        words.extend(same.map(|other| format!("run {}", other.run)));
    }
    for lock in &claim.holds.locks {
        let holder = active().find(|other| other.holds.locks.contains(lock));
        words.extend(holder.map(|other| format!("lock {lock}, held by run {}", other.run)));
    }
    for pool in claim.holds.pools.keys() {
        let holders = active().filter(|other| other.holds.pools.contains_key(pool));
        let runs: Vec<String> = holders.map(|other| other.run.to_string()).collect();
        if !runs.is_empty() {
            words.push(format!("pool {pool}, used by run {}", runs.join(", ")));
        }
    }
    if let (true, Trigger::Schedule, Some(after)) =
        (words.is_empty(), claim.trigger, spec.and_then(|s| s.after.as_ref()))
    {
        words.extend(after.jobs.iter().map(|job| format!("the end of {job}")));
    }
    words
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::engine::admission::Holds;

    fn claim(run: u64, job: &str, state: ClaimState, locks: &[&str]) -> OpenClaim {
        let claim = Claim {
            run: RunId(run),
            job: JobName::new(job).unwrap(),
            scheduled_at: None,
            trigger: Trigger::Schedule,
            attempt: 1,
            not_before: None,
            holds: Holds {
                locks: locks.iter().map(|&lock| lock.to_owned()).collect(),
                pools: BTreeMap::from([("etl".to_owned(), 1)]),
            },
            claimed_at: Timestamp::UNIX_EPOCH,
            timeout: None,
            kill_grace: Duration::ZERO,
            alert: Vec::new(),
            config_hash: String::new(),
        };
        OpenClaim { claim, state, skips: 0, told: BTreeSet::new(), running_since: None, noted: false }
    }

    fn words(claims: &[OpenClaim], pauses: &[Pause]) -> Vec<String> {
        in_the_way(&claims[0].claim, None, claims, pauses, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_others_hold_is_named_with_its_holder() {
        let claims = [
            claim(5, "backup", ClaimState::Queued, &["db"]),
            claim(1, "backup", ClaimState::Due, &[]),
            claim(2, "report", ClaimState::Due, &["db", "mail"]),
            claim(3, "report", ClaimState::Queued, &["db"]),
        ];
        let expected = ["run 1", "lock db, held by run 2", "pool etl, used by run 1, 2"];
        assert_eq!(words(&claims, &[]), expected);
        assert_eq!(words(&claims[..1], &[]), [""; 0]);
    }

    #[test]
    fn a_pause_keeps_all_but_a_run_by_hand_waiting() {
        let by = "uid 0 (root)".to_owned();
        let pauses = [Pause { job: None, by, since: Timestamp::UNIX_EPOCH, until: None, why: None }];
        let mut claims = [claim(5, "backup", ClaimState::Queued, &[])];
        assert_eq!(words(&claims, &pauses), ["the pause by uid 0 (root)"]);
        claims[0].claim.trigger = Trigger::Manual;
        assert_eq!(words(&claims, &pauses), [""; 0]);
    }
}
