//! What must hold of runs that are started ahead of their instants, judged by what waits at the gates and what the
//! store has, never by the engine's own words.

use jobctl::engine::ledger::ClaimState;
use jobctl::engine::run::{Claim, RunId};

use super::machine::Machine;

/// A shim is started for a claim that is durable, and that has no row yet.
pub fn may_arm(machine: &Machine, claim: &Claim) -> Result<(), String> {
    let run = claim.run;
    let is_ahead = |run| machine.ledger.claims.get(run).is_some_and(|open| open.state == ClaimState::Ahead);
    if !is_ahead(&run) || machine.ledger.rows.contains_key(&run) {
        return Err(format!("run {run} is armed, and no claim ahead of its instant is durable"));
    }
    match machine.gates.values().find(|gate| gate.claim.job == claim.job) {
        Some(other) => Err(format!("run {run} is armed beside run {}", other.claim.run)),
        None => Ok(()),
    }
}

/// A gate is opened where a shim was told to wait, by a claim that is durable, and not before its instant.
pub fn may_go(machine: &Machine, run: RunId) -> Result<(), String> {
    let gate = machine.gates.get(&run).ok_or(format!("run {run} goes, and was not armed"))?;
    if !machine.ledger.claims.contains_key(&run) {
        return Err(format!("run {run} goes by a claim that is not there"));
    }
    let due = gate.claim.due_at();
    if machine.wall() < due {
        Err(format!("run {run} goes at {}, ahead of {due}", machine.wall()))
    } else {
        Ok(())
    }
}

/// What waits at a gate at the end waits for an instant to come, by a claim that holds; and every claim ahead is for
/// one.
pub fn check(machine: &Machine) -> Result<(), String> {
    for run in machine.gates.keys() {
        let open = machine.ledger.claims.get(run);
        if open.is_none_or(|open| open.state != ClaimState::Ahead) {
            return Err(format!("run {run} waits at its gate for nothing"));
        }
    }
    for (run, open) in machine.ledger.claims.iter().filter(|(_, open)| open.state == ClaimState::Ahead) {
        let wait = open.claim.due_at().duration_since(machine.wall());
        if wait.is_negative() || wait.as_secs() > 15 {
            return Err(format!("run {run} is claimed ahead by {wait:#}"));
        }
        if machine.ledger.rows.contains_key(run) {
            return Err(format!("run {run} has a row ahead of its instant"));
        }
    }
    Ok(())
}
