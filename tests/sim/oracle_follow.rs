//! What must hold of what follows an end and of what a run is watched for: judged from the rows, the messages and what
//! the processes really did.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jobctl::engine::after::{After, Same};
use jobctl::engine::job::{JobName, JobSpec};
use jobctl::engine::notice::Notice;
use jobctl::engine::policy::Overlap;
use jobctl::engine::record::RunRecord;
use jobctl::engine::run::{RunId, Status, Trigger};
use jobctl::engine::time::Timestamp;
use jobctl::engine::watch::{Concern, ConcernKind, RunConcern};

use super::machine::Machine;
use super::process::Process;

/// What jobd may take to act, and the host to let it.
const SLACK: Duration = Duration::from_secs(1);
/// How long the host may take to start a process.
const LAUNCH: Duration = Duration::from_secs(11);
/// Fewer ends than are remembered of a job.
const REMEMBERED: usize = 40;

pub fn check(machine: &mut Machine) -> Result<(), String> {
    tries_are_what_the_policy_says(machine)?;
    bad_ends_are_tried_again(machine)?;
    followers_fire_once_for_what_holds(machine)?;
    what_holds_is_followed(machine)?;
    conditions_hold_at_the_start(machine)?;
    concerns_are_true_and_told_once(machine)?;
    what_is_a_concern_is_told(machine)?;
    silence_about_success_is_told(machine)?;
    count(machine);
    Ok(())
}

fn spec<'a>(machine: &'a Machine, job: &JobName) -> Option<&'a JobSpec> {
    machine.specs.iter().find(|spec| spec.name == *job).map(AsRef::as_ref)
}

fn spec_of<'a>(machine: &'a Machine, row: &RunRecord) -> Result<&'a JobSpec, String> {
    spec(machine, &row.task_name).ok_or(format!("run {} is of no job", row.run_id))
}

/// Whether nobody set the clock between these instants.
fn is_steady(machine: &Machine, from: Duration, until: Duration) -> bool {
    !machine.jumps.iter().any(|jump| (from..=until).contains(jump))
}

/// The tries of a fire are 1, 2, … and each but the first one follows an outcome that is tried again, not too soon.
fn tries_are_what_the_policy_says(machine: &Machine) -> Result<(), String> {
    let mut tries: BTreeMap<(&JobName, Timestamp), Vec<(u32, bool)>> = BTreeMap::new();
    for row in machine.ledger.rows.values().filter(|row| row.attempt > 0) {
        let Some(at) = row.scheduled_at else { continue };
        let is_retry = row.triggered_by == Trigger::Retry;
        tries.entry((&row.task_name, at)).or_default().push((row.attempt, is_retry));
    }
    for ((job, at), mut tries) in tries {
        tries.sort_unstable();
        if tries.iter().map(|(attempt, _)| *attempt).ne((1..).take(tries.len())) {
            return Err(format!("{job} at {at} has the tries {tries:?}"));
        }
        let most = spec(machine, job).and_then(|spec| spec.retry.as_ref()).map_or(1, |retry| retry.attempts);
        if tries.iter().filter(|(_, is_retry)| *is_retry).count() + 1 > most as usize {
            return Err(format!("{job} at {at} is tried more than {most} times: {tries:?}"));
        }
    }
    let follows: BTreeSet<&RunId> = machine.ledger.next_try.values().collect();
    let is_retry = |row: &&RunRecord| row.triggered_by == Trigger::Retry;
    if let Some(row) =
        machine.ledger.rows.values().filter(is_retry).find(|row| !follows.contains(&row.run_id))
    {
        return Err(format!("run {} is a further try of nothing that ended with its claim", row.run_id));
    }
    machine.ledger.next_try.iter().try_for_each(|(ended, next)| follows_rightly(machine, *ended, *next))
}

fn follows_rightly(machine: &Machine, ended: RunId, next: RunId) -> Result<(), String> {
    let row = machine.ledger.rows.get(&ended).ok_or(format!("run {ended} has no row"))?;
    let Some(next_row) = machine.ledger.rows.get(&next) else {
        // A try that was taken back gives way to whatever a person asks for.
        let has_run = machine.processes.contains_key(&next);
        return if has_run { Err(format!("the next try {next} has no row")) } else { Ok(()) };
    };
    let retry = spec_of(machine, row)?.retry.as_ref();
    let retry = retry.ok_or(format!("run {next} is a further try of a job that has none"))?;
    if !retry.on.contains(&row.status) || row.attempt >= retry.attempts {
        return Err(format!("run {ended}, {} at try {}, is tried again", row.status, row.attempt));
    }
    if (next_row.scheduled_at, &next_row.task_name) != (row.scheduled_at, &row.task_name) {
        return Err(format!("run {next} is no try of the fire of run {ended}"));
    }
    let processes = &machine.processes;
    let (Some(ended), Some(next)) = (processes.get(&ended), processes.get(&next)) else { return Ok(()) };
    let grown = retry.delay.mul_f64(retry.backoff.powi(row.attempt.cast_signed() - 1)).min(retry.max_delay);
    if is_steady(machine, ended.started, next.started) && next.started + SLACK < ended.ends + grown {
        return Err(format!("run {} is started less than {grown:?} after the try before", next.claim.run));
    }
    Ok(())
}

/// A bad end that is to be tried again is, unless somebody wanted it to end.
fn bad_ends_are_tried_again(machine: &Machine) -> Result<(), String> {
    for (run, process) in machine.processes.iter().filter(|(_, process)| process.asked.is_none()) {
        let row = &machine.ledger.rows[run];
        let Some(retry) = &spec_of(machine, row)?.retry else { continue };
        let is_wanted = retry.on.contains(&row.status) && row.attempt < retry.attempts;
        let is_replaced = || spec_of(machine, row).is_ok_and(|spec| gives_place(machine, spec, row));
        if is_wanted && process.over && !is_replaced() && !machine.ledger.next_try.contains_key(run) {
            return Err(format!("run {run} is {} at try {} and not tried again", row.status, row.attempt));
        }
    }
    Ok(())
}

/// Whether a later fire of a job under `replace` was there when this run ended.
fn gives_place(machine: &Machine, spec: &JobSpec, ended: &RunRecord) -> bool {
    let mut of_job = machine.ledger.rows.values().filter(|row| row.task_name == ended.task_name);
    spec.overlap == Overlap::Replace
        && of_job.any(|row| {
            let claimed_at = machine.ledger.claimed_at.get(&row.run_id);
            let was_there = claimed_at.is_some_and(|at| Some(*at) <= ended.completed_at);
            let has_not_begun = machine.processes.get(&row.run_id).is_none_or(|process| {
                machine.processes.get(&ended.run_id).is_some_and(|ended| ended.ends <= process.started)
            });
            was_there && has_not_begun && row.scheduled_at > ended.scheduled_at
        })
}

/// The instants of a job whose run ended as it has to, and when, by the order in which rows became final.
fn counting_ends(machine: &Machine, job: &JobName, after: &After) -> Vec<(usize, Timestamp, RunId)> {
    let finished = machine.ledger.finished.iter().enumerate();
    let rows = finished.filter_map(|(n, run)| Some((n, machine.ledger.rows.get(run)?)));
    rows.filter(|(_, row)| {
        row.task_name == *job
            && row.duration_ms.is_some()
            && after.on.counts(row.status)
            && is_last_try(machine, row.run_id)
    })
    .filter_map(|(n, row)| Some((n, row.scheduled_at?, row.run_id)))
    .collect()
}

/// Whether a fire was not tried again after this run: a further try that was taken back is none.
fn is_last_try(machine: &Machine, run: RunId) -> bool {
    let next = machine.ledger.next_try.get(&run).and_then(|next| machine.ledger.rows.get(next));
    next.is_none_or(|next| next.status.is_final() && next.duration_ms.is_none())
}

/// What stands for one: the instant, or its day.
fn slot(same: Same, at: Timestamp) -> i64 {
    match same {
        Same::Fire => at.as_millisecond(),
        Same::Day => at.as_second().div_euclid(86_400),
    }
}

fn follower(machine: &Machine) -> (&JobSpec, &After) {
    let spec = machine.specs.iter().find(|spec| spec.name.as_str() == "follower").unwrap();
    (spec, spec.after.as_ref().unwrap())
}

fn followers_fire_once_for_what_holds(machine: &Machine) -> Result<(), String> {
    let (spec, after) = follower(machine);
    let mut slots = BTreeSet::new();
    let of_job = machine.ledger.rows.values().filter(|row| row.task_name == spec.name);
    for row in of_job.filter(|row| row.triggered_by == Trigger::After && row.attempt > 0) {
        let at = row.scheduled_at.ok_or("a follower without an instant")?;
        let slot_of = |at| slot(after.same, at);
        let holds = |job: &JobName| {
            counting_ends(machine, job, after).iter().any(|(_, fire, _)| slot_of(*fire) == slot_of(at))
        };
        if let Some(job) = after.jobs.iter().find(|job| !holds(job)) {
            return Err(format!("{} fires for {at}, for which {job} has not ended so", spec.name));
        }
        if machine.processes.contains_key(&row.run_id) && !slots.insert(slot_of(at)) {
            return Err(format!("{} fires twice for {:?} {at}", spec.name, after.same));
        }
    }
    Ok(())
}

fn what_holds_is_followed(machine: &Machine) -> Result<(), String> {
    let (spec, after) = follower(machine);
    let ends: Vec<_> = after.jobs.iter().map(|job| counting_ends(machine, job, after)).collect();
    let own = machine.ledger.rows.values().filter(|row| row.task_name == spec.name);
    let slots: BTreeSet<i64> =
        own.filter_map(|row| row.scheduled_at).map(|at| slot(after.same, at)).collect();
    let (first, others) = ends.split_first().ok_or("a follower of nobody")?;
    for (n, at, run) in first {
        let mut latest = *n;
        let mut earliest = *n;
        let is_same = |fire: &Timestamp| slot(after.same, *fire) == slot(after.same, *at);
        let holds = others.iter().all(|ends| {
            let end = ends.iter().find(|(_, fire, _)| is_same(fire));
            let order = end.map_or(*n, |(order, ..)| *order);
            (latest, earliest) = (latest.max(order), earliest.min(order));
            end.is_some()
        });
        // What was tried by hand besides was not over, maybe, when the other one ended.
        let same_fire = |row: &&RunRecord| {
            after.jobs.contains(&row.task_name) && row.scheduled_at.is_some_and(|fire| is_same(&fire))
        };
        let all_count =
            machine.ledger.rows.values().filter(same_fire).all(|row| {
                after.same == Same::Fire && row.triggered_by != Trigger::Manual && row.attempt == 1
            });
        let is_fresh = latest - earliest < REMEMBERED;
        if holds && all_count && is_fresh && !slots.contains(&slot(after.same, *at)) {
            return Err(format!("run {run} has ended for {at}, and {} has not fired for it", spec.name));
        }
    }
    Ok(())
}

/// A fire that comes after another job's is started when that has ended, and skipped only when it has not.
fn conditions_hold_at_the_start(machine: &Machine) -> Result<(), String> {
    for (run, process) in &machine.processes {
        let row = &machine.ledger.rows[run];
        let spec = spec_of(machine, row)?;
        let is_own = matches!(row.triggered_by, Trigger::Schedule | Trigger::CatchUp)
            && !machine.by_hand.contains(run);
        let Some(after) = spec.after.as_ref().filter(|_| is_own) else { continue };
        let at = row.scheduled_at.ok_or("a fire without an instant")?;
        for job in &after.jobs {
            let holds = counting_ends(machine, job, after).into_iter().any(|(_, fire, of)| {
                let ended = machine.processes.get(&of).map_or(Duration::ZERO, |process| process.ends);
                slot(after.same, fire) == slot(after.same, at) && ended <= process.started
            });
            if !holds {
                return Err(format!("run {run} is started before {job} has ended for {at}"));
            }
        }
    }
    Ok(())
}

fn concerns(machine: &Machine) -> impl Iterator<Item = &RunConcern> {
    machine.ledger.outbox.iter().filter_map(|(_, notice)| match notice {
        Notice::Concern(concern) => Some(concern),
        _ => None,
    })
}

fn told(machine: &Machine) -> BTreeSet<(RunId, ConcernKind)> {
    concerns(machine).map(|told| (told.run, told.concern.kind())).collect()
}

fn concerns_are_true_and_told_once(machine: &Machine) -> Result<(), String> {
    let mut told = BTreeSet::new();
    for concern in concerns(machine) {
        if !told.insert((concern.run, concern.concern.kind())) {
            return Err(format!("told twice: {concern:?}"));
        }
        let Some(process) = machine.processes.get(&concern.run) else { continue };
        let ended = lived_until(machine, process);
        if !is_steady(machine, process.started, ended) {
            continue;
        }
        // A later jobd knows when the start was decided upon, and not when the host came to it.
        let is_exact = concern.started_at == process.report.started_at;
        let lasted = ended.saturating_sub(process.started) + if is_exact { SLACK } else { LAUNCH };
        let is_true = match &concern.concern {
            Concern::Long { limit } | Concern::Unusual { limit, .. } => *limit <= lasted,
            Concern::Short { took, least } => took < least && *took == process.report.duration,
            Concern::Silent { .. } => machine.silent.contains_key(&concern.run),
            Concern::NotStarted { .. } => concern.started_at.is_none(),
            Concern::NotFinished { by } => *by <= concern.at,
            Concern::InTheWay { .. } => true,
        };
        if !is_true {
            return Err(format!("not true: {concern:?} of a run of {lasted:?}"));
        }
    }
    Ok(())
}

/// What is a concern while the last jobd is there is told, and what it found so.
fn what_is_a_concern_is_told(machine: &Machine) -> Result<(), String> {
    let told = told(machine);
    let missing = |run: RunId, kind: ConcernKind| !told.contains(&(run, kind));
    for (&run, process) in &machine.processes {
        let row = &machine.ledger.rows[&run];
        let watch = &spec_of(machine, row)?.watch;
        if row.status == Status::Success
            && watch.min_duration.is_some_and(|least| process.report.duration < least)
            && missing(run, ConcernKind::Short)
        {
            return Err(format!("run {run} took too little, and that is not told"));
        }
        let is_long = watch.warn_after.is_some_and(|limit| is_there_to_see(machine, process, limit));
        if is_long && missing(run, ConcernKind::Long) {
            return Err(format!("run {run} is long, and that is not told"));
        }
        // By half a period it is one more run that is known, or one less.
        let silent = machine.silent.get(&run).is_some_and(|since| *since >= machine.life_began);
        if silent && missing(run, ConcernKind::Silent) {
            return Err(format!("run {run} is silent, and that is not told"));
        }
    }
    Ok(())
}

/// Until when a run was seen to go on: one with a stuck shim has no end of its own.
fn lived_until(machine: &Machine, process: &Process) -> Duration {
    if process.over { process.ends } else { machine.real() }
}

/// Whether the last jobd must have seen that a run lasted so long.
fn is_there_to_see(machine: &Machine, process: &Process, limit: Duration) -> bool {
    let since = (process.started + limit).max(machine.life_began) + SLACK;
    since < lived_until(machine, process) && is_steady(machine, process.started, since)
}

/// A job without a success for too long is told of, once since the last one.
fn silence_about_success_is_told(machine: &Machine) -> Result<(), String> {
    let mut told = BTreeSet::new();
    for (_, notice) in &machine.ledger.outbox {
        let Notice::NoSuccess { job, since, limit, .. } = notice else { continue };
        if spec(machine, job).and_then(|spec| spec.watch.max_since_success) != Some(*limit) {
            return Err(format!("{job} is told of for a limit that it does not have"));
        }
        if !told.insert((job, *since)) {
            return Err(format!("told twice that {job} has not succeeded since {since}"));
        }
    }
    for spec in &machine.specs {
        let Some(limit) = spec.watch.max_since_success else { continue };
        let watch = machine.ledger.watches.get(&spec.name).ok_or(format!("nobody watches {}", spec.name))?;
        let ended = machine.ledger.finished.iter().rev().filter_map(|run| machine.ledger.rows.get(run));
        let of_job = |row: &&RunRecord| row.task_name == spec.name && row.status == Status::Success;
        if ended.filter(of_job).find_map(|row| row.completed_at).is_some_and(|at| at != watch.last_success) {
            return Err(format!("a success of {} is forgotten", spec.name));
        }
        let due = watch.last_success.saturating_add(limit + SLACK).unwrap();
        if due < machine.wall() && !watch.told {
            return Err(format!(
                "{} has not succeeded since {}, and that is not told",
                spec.name, watch.last_success
            ));
        }
        let is_known =
            told.contains(&(&spec.name, watch.last_success)) || machine.acknowledged.contains(&spec.name);
        if watch.told && !is_known {
            return Err(format!("{} counts as told of, and nobody was", spec.name));
        }
    }
    Ok(())
}

fn count(machine: &mut Machine) {
    let kinds: Vec<ConcernKind> = concerns(machine).map(|told| told.concern.kind()).collect();
    for kind in kinds {
        machine.totals.count(match kind {
            ConcernKind::NotStarted => "late",
            ConcernKind::NotFinished => "not over in time",
            ConcernKind::Long => "long",
            ConcernKind::Unusual => "unusual",
            ConcernKind::Short => "short",
            ConcernKind::Silent => "silent",
            ConcernKind::InTheWay => "in the way",
        });
    }
    let rows: Vec<(Trigger, bool)> = machine
        .ledger
        .rows
        .values()
        .map(|row| {
            let is_unmet =
                row.reason.as_ref().is_some_and(|reason| reason.contains("had not ended as it has to"));
            (row.triggered_by, is_unmet)
        })
        .collect();
    for (trigger, is_unmet) in rows {
        match trigger {
            _ if is_unmet => machine.totals.count("waited for others in vain"),
            Trigger::Retry => machine.totals.count("tried again"),
            Trigger::After => machine.totals.count("fired after others"),
            _ => {}
        }
    }
    let is_told = |(_, notice): &(String, Notice)| matches!(notice, Notice::NoSuccess { .. });
    if machine.ledger.outbox.iter().any(is_told) {
        machine.totals.count("without a success");
    }
}
