//! What must hold in the end, judged from outside: by arithmetic on seconds and by what the processes really did, never
//! by the engine's own words.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use jobctl::engine::job::{JobName, JobSpec};
use jobctl::engine::ledger::ClaimState;
use jobctl::engine::notice::Notice;
use jobctl::engine::policy::CatchUp;
use jobctl::engine::record::RunRecord;
use jobctl::engine::run::{Status, Trigger};

use super::ledger::SimLedger;
use super::machine::Machine;
use super::oracle_order;

pub fn check(machine: &Machine) -> Result<(), String> {
    settled(machine)?;
    for spec in machine.specs.iter().filter(|spec| machine.periods.contains_key(&spec.name)) {
        each_fire_has_one_row(machine, spec).map_err(|problem| format!("{}: {problem}", spec.name))?;
        catch_up_keeps_to_its_policy(machine, spec).map_err(|problem| format!("{}: {problem}", spec.name))?;
    }
    each_boot_has_one_fire(machine)?;
    rows_tell_the_truth(machine)?;
    incidents_are_announced_once(&machine.ledger)?;
    what_cannot_be_killed_is_told_once(machine)?;
    missed_fires_are_told(machine)?;
    oracle_order::check(machine)
}

/// After the calm nothing hangs in the air.
fn settled(machine: &Machine) -> Result<(), String> {
    if !machine.is_settled() {
        return Err("something is not durable after the calm".into());
    }
    for (run, open) in machine.ledger.claims.iter().filter(|(_, open)| open.state != ClaimState::Ahead) {
        // A queue behind a slow job may be longer than the calm, as long as it moves.
        let has_process = machine.processes.get(run).is_some_and(|process| !process.over);
        let just_now = machine.wall().duration_since(open.claim.claimed_at) < SignedDuration::from_secs(1);
        // Whether a run that waits has a reason to is looked at all the time (`oracle_order`).
        let moves = has_process || just_now || open.state == ClaimState::Queued;
        if !moves {
            return Err(format!("run {run} is open at {}, and no process is there", machine.wall()));
        }
    }
    Ok(())
}

/// Rows equal the schedule's occurrences, from when the job was known to its cursor.
fn each_fire_has_one_row(machine: &Machine, spec: &JobSpec) -> Result<(), String> {
    let period = machine.periods[&spec.name];
    let cursor = machine.ledger.jobs[&spec.name].cursor;
    let last_due = machine.wall().as_millisecond().div_euclid(1_000 * period) * period;
    if cursor.as_second() < last_due {
        return Err(format!("the cursor {cursor} lags behind the last fire"));
    }
    let patience = SignedDuration::from_hours(3) + SignedDuration::from_secs(period);
    let next = machine.next_fire(&spec.name).ok_or("no next fire")?;
    if next.duration_since(machine.wall()) > patience {
        return Err(format!("waits for the clock to reach {next}"));
    }
    let first =
        machine.ledger.known_since[&spec.name].as_millisecond().div_euclid(1_000 * period) * period + period;
    let mut rows: BTreeMap<i64, u32> = BTreeMap::new();
    let mut folded = BTreeSet::new();
    let of_job = machine.ledger.rows.values().filter(|row| row.task_name == spec.name);
    for row in of_job.filter(|row| row.attempt <= 1) {
        let Some(at) = row.scheduled_at else { continue };
        match row.scheduled_until {
            None => *rows.entry(at.as_second()).or_default() += 1,
            Some(until) => {
                let fires = expand(at.as_second(), until.as_second(), period);
                if fires.len() as u64 != row.fires {
                    return Err(format!("a row for {} fires spans {}", row.fires, fires.len()));
                }
                folded.extend(fires);
            }
        }
    }
    for fire in expand(first, cursor.as_second(), period) {
        // Where many fires are one row, a run for one of them has its own row.
        match rows.get(&fire).copied().unwrap_or_else(|| u32::from(folded.contains(&fire))) {
            1 => {}
            count => return Err(format!("{count} rows for the fire at second {fire}")),
        }
    }
    let stray = rows.keys().find(|at| **at % period != 0 && !by_hand(machine, spec, **at));
    stray.map_or(Ok(()), |at| Err(format!("a row for second {at}, which no schedule names")))
}

fn each_boot_has_one_fire(machine: &Machine) -> Result<(), String> {
    let is_fire =
        |row: &&RunRecord| row.task_name.as_str() == "at-boot" && row.triggered_by == Trigger::Schedule;
    let fires = machine.ledger.rows.values().filter(is_fire).count() as u64;
    let boots = machine.ledger.boots;
    if machine.ledger.boot_id.as_deref() != Some(machine.boot_id().as_str()) {
        return Err("the last boot is not accounted for".into());
    }
    if fires == boots { Ok(()) } else { Err(format!("{fires} fires in {boots} boots")) }
}

fn expand(first: i64, last: i64, period: i64) -> Vec<i64> {
    let steps = (last - first).div_euclid(period);
    (0..=steps).map(|n| first + n * period).collect()
}

fn by_hand(machine: &Machine, spec: &JobSpec, at: i64) -> bool {
    let mut rows = machine.ledger.rows.values().filter(|row| row.task_name == spec.name);
    rows.any(|row| {
        matches!(row.triggered_by, Trigger::Manual | Trigger::CatchUp)
            && row.scheduled_at.is_some_and(|fire| fire.as_second() == at)
    })
}

fn catch_up_keeps_to_its_policy(machine: &Machine, spec: &JobSpec) -> Result<(), String> {
    let ledger = &machine.ledger;
    let of_job = ledger.rows.values().filter(|row| row.task_name == spec.name);
    for row in of_job.filter(|row| row.triggered_by == Trigger::CatchUp) {
        let fire = row.scheduled_at.ok_or("a catch-up run without a fire")?;
        if machine.by_hand.contains(&row.run_id) {
            continue;
        }
        if spec.catch_up == CatchUp::Skip {
            return Err(format!("{fire} is made up for under catch_up = skip"));
        }
        let age = ledger.claimed_at[&row.run_id].duration_since(fire);
        if age > SignedDuration::try_from(spec.catch_up_window).unwrap() {
            return Err(format!("{fire} is made up for {age:#} later, past its window"));
        }
    }
    for notice in ledger.outbox.iter().map(|(_, notice)| notice) {
        let Notice::Missed { jobs, .. } = notice else { continue };
        let caught_up: u64 = jobs.iter().filter(|job| job.job == spec.name).map(|job| job.caught_up).sum();
        let most = match spec.catch_up {
            CatchUp::Skip => 0,
            CatchUp::Latest => 1,
            CatchUp::All => u64::MAX,
        };
        if caught_up > most {
            return Err(format!("one downtime makes up for {caught_up} fires"));
        }
    }
    Ok(())
}

/// Each row says what the run's process really did.
fn rows_tell_the_truth(machine: &Machine) -> Result<(), String> {
    for (run, row) in &machine.ledger.rows {
        let truth = match machine.processes.get(run) {
            Some(process) if process.over => process.truth(),
            Some(_) => Status::Running,
            None => match row.status {
                Status::Queued | Status::Running if machine.ledger.claims.contains_key(run) => continue,
                Status::Missed | Status::Skipped | Status::Killed => continue,
                _ => {
                    *machine.unstarted.get(run).ok_or(format!("run {run} is {} and never ran", row.status))?
                }
            },
        };
        if row.status != truth {
            return Err(format!("run {run} is {} in its row and {truth} in truth", row.status));
        }
    }
    let unrecorded = machine.processes.keys().find(|run| !machine.ledger.rows.contains_key(run));
    unrecorded.map_or(Ok(()), |run| Err(format!("run {run} ran and has no row")))
}

/// A second judge of incidents, from the order in which runs ended: an opening is announced, a new kind of trouble is
/// announced, and one recovery follows.
fn incidents_are_announced_once(ledger: &SimLedger) -> Result<(), String> {
    let mut open: BTreeMap<&JobName, BTreeSet<Status>> = BTreeMap::new();
    let (mut bad, mut recovered) = (BTreeSet::new(), BTreeSet::new());
    for run in &ledger.finished {
        // A run given up as missed may have given way to another run of its fire.
        let Some(row) = ledger.rows.get(run) else { continue };
        if ledger.next_try.contains_key(run) {
            continue;
        }
        if row.status.is_bad() && open.entry(&row.task_name).or_default().insert(row.status) {
            bad.insert(*run);
        }
        if row.status == Status::Success && open.remove(&row.task_name).is_some() {
            recovered.insert(*run);
        }
    }
    let (mut told_bad, mut told_recovered) = (BTreeSet::new(), BTreeSet::new());
    for (_, notice) in &ledger.outbox {
        let is_new = match notice {
            Notice::Bad(bad) => told_bad.insert(bad.run),
            Notice::Recovered { run, .. } => told_recovered.insert(*run),
            Notice::Unkillable { .. }
            | Notice::Missed { .. }
            | Notice::Concern(_)
            | Notice::NoSuccess { .. }
            | Notice::Unaccounted { .. } => true,
        };
        if !is_new {
            return Err(format!("told twice: {notice:?}"));
        }
    }
    if told_bad != bad {
        return Err(format!("bad ends {bad:?} against alerts {told_bad:?}"));
    }
    if told_recovered != recovered {
        return Err(format!("recoveries {recovered:?} against messages {told_recovered:?}"));
    }
    let still: BTreeSet<&JobName> = open.keys().copied().collect();
    let stored: BTreeSet<&JobName> = ledger.incidents.keys().collect();
    if still == stored { Ok(()) } else { Err(format!("{still:?} in trouble, {stored:?} stored as such")) }
}

/// A run that does not die is told of when it is found, once in all the lives of jobd, and its row says so.
fn what_cannot_be_killed_is_told_once(machine: &Machine) -> Result<(), String> {
    let mut told = BTreeSet::new();
    for (_, notice) in &machine.ledger.outbox {
        let Notice::Unkillable { run, .. } = notice else { continue };
        if !told.insert(*run) {
            return Err(format!("told twice that run {run} cannot be killed"));
        }
    }
    if let Some(run) = told.difference(&machine.found).next() {
        return Err(format!("told that run {run} cannot be killed, and nobody has seen that"));
    }
    for (run, process) in machine.processes.iter().filter(|(_, process)| !process.over) {
        let is_noted = machine.ledger.rows.get(run).is_some_and(|row| row.reason.is_some());
        // Found before the last moment: what was said of it is durable after the calm.
        if machine.found.contains(run) && process.hangs_since.is_some() && !(told.contains(run) && is_noted) {
            return Err(format!("run {run} cannot be killed, and that is not told"));
        }
    }
    Ok(())
}

/// Every missed fire is in a message, with what was done about it.
fn missed_fires_are_told(machine: &Machine) -> Result<(), String> {
    let ledger = &machine.ledger;
    let missed = ledger.rows.values().filter(|row| row.status == Status::Missed);
    let missed: u64 = missed.map(|row| row.fires).sum();
    let told: u64 = ledger
        .outbox
        .iter()
        .filter_map(|(_, notice)| match notice {
            Notice::Missed { jobs, .. } => {
                Some(jobs.iter().map(|job| job.fires - job.caught_up - job.folded - job.skipped).sum::<u64>())
            }
            _ => None,
        })
        .sum();
    // A MISSED row that gave way to a run by hand was told; a fire folded away was told once for both passes.
    if told == missed + ledger.replaced || machine.second_pass {
        return Ok(());
    }
    Err(format!("{missed} fires missed, {} made up for by hand, {told} told", ledger.replaced))
}
