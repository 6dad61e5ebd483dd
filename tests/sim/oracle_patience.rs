//! Nobody waits in vain: judged by what is durable and by the processes that are there.

use std::collections::BTreeSet;
use std::time::Duration;

use jobctl::engine::ledger::ClaimState;
use jobctl::engine::pause::Pause;
use jobctl::engine::policy::Overlap;
use jobctl::engine::run::{Claim, RunId, Trigger};

use super::machine::Machine;
use super::oracle_order::{is_by_hand, is_paced, places, rank, shares_lock};

impl Machine {
    /// In the calm nobody waits whom nothing keeps from starting.
    pub fn check_patience(&mut self) -> Result<(), String> {
        if self.real < self.order.looked_at + Duration::from_secs(1) {
            return Ok(());
        }
        self.order.looked_at = self.real;
        // What is to start waits for a batch that is under way, and the store may be away for minutes.
        let is_up = self.is_calm() && self.engine.is_some() && self.under_way.is_none();
        let free: BTreeSet<RunId> = if is_up { self.free_to_start() } else { BTreeSet::new() };
        let real = self.real;
        self.order.free_since.retain(|run, _| free.contains(run));
        for run in free {
            let since = *self.order.free_since.entry(run).or_insert(real);
            let claim = &self.ledger.claims[&run].claim;
            let patience = match claim.trigger {
                // The delay between two tries, by a clock that may have been set meanwhile.
                Trigger::Retry => 150,
                _ if is_paced(claim) => 300,
                _ => 10,
            };
            let patience = Duration::from_secs(patience);
            if real > since + patience {
                return Err(format!("run {run} waits since {since:?}, and nothing keeps it from starting"));
            }
        }
        Ok(())
    }

    /// Whether a run keeps another one of its job out. Under `replace` it does so only once it was asked to end.
    fn keeps_out(&self, other: &Claim, claim: &Claim) -> bool {
        match self.spec(&claim.job).overlap {
            Overlap::Allow => false,
            Overlap::Replace if takes_place(claim) => {
                self.processes.get(&other.run).is_none_or(|process| process.over || process.asked.is_some())
            }
            _ => true,
        }
    }

    fn free_to_start(&self) -> BTreeSet<RunId> {
        let claims = &self.ledger.claims;
        let active: Vec<&Claim> =
            claims.values().filter(|open| open.state == ClaimState::Due).map(|open| &open.claim).collect();
        let waiting: Vec<&Claim> =
            claims.values().filter(|open| open.state == ClaimState::Queued).map(|open| &open.claim).collect();
        if active.len() >= self.admission.max_running {
            return BTreeSet::new();
        }
        let is_paused = |claim: &Claim| {
            let covers = |pause: &Pause| pause.job.as_ref().is_none_or(|job| *job == claim.job);
            !is_by_hand(claim) && self.ledger.pauses.iter().any(covers)
        };
        let is_free = |claim: &&&Claim| {
            let ahead = waiting.iter().filter(|other| {
                let ranks = [**other, claim].map(|claim| rank(self.spec(&claim.job), claim));
                ranks[0] < ranks[1] && !is_paused(other)
            });
            let mut others = active.iter().copied().chain(ahead.copied());
            let is_in_the_way = |other: &Claim| {
                (other.job == claim.job && self.keeps_out(other, claim))
                    || shares_lock(other, claim)
                    || (places(other) > 0 && places(claim) > 0)
                    || (other.job == claim.job && other.trigger == Trigger::CatchUp && is_paced(claim))
            };
            let waits_for_others = matches!(claim.trigger, Trigger::Schedule | Trigger::CatchUp)
                && !is_by_hand(claim)
                && self.spec(&claim.job).after.is_some();
            let fits = places(claim) <= self.admission.pools["etl"];
            let settled = self.real.saturating_sub(self.booted) >= self.admission.settle;
            !is_paused(claim)
                && !waits_for_others
                && fits
                && (settled || !is_paced(claim))
                && !others.any(is_in_the_way)
        };
        waiting.iter().filter(is_free).map(|claim| claim.run).collect()
    }
}

fn takes_place(claim: &Claim) -> bool {
    matches!(claim.trigger, Trigger::Schedule | Trigger::Manual | Trigger::After)
}
