//! The order of durable changes: one batch under way at a time, the next one gathering behind it.
//!
//! **Invariant:** batches leave in the order of their numbers, and a batch that failed is sent again, unchanged, before
//! anything newer. What a batch allows (starting a run, forgetting one) happens when it is durable and not before.

use std::sync::Arc;
use std::time::Duration;

use super::event::Effect;
use super::ledger::{Batch, Change};
use super::time::{Monotonic, Now};

/// The first pause after a failed commit; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(100);
/// The longest pause: a store that is back is used within this time.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Changes on their way to the store.
#[derive(Debug)]
pub(super) struct Journal {
    last_number: u64,
    gathering: Vec<Change>,
    under_way: Option<Arc<Batch>>,
    retry_at: Option<Monotonic>,
    pause: Duration,
}

impl Journal {
    /// A journal that goes on after the store's last batch.
    pub(super) const fn new(last_number: u64) -> Self {
        Self { last_number, gathering: Vec::new(), under_way: None, retry_at: None, pause: RETRY_MIN }
    }

    /// Adds a change to the next batch.
    pub(super) fn push(&mut self, change: Change) {
        self.gathering.push(change);
    }

    /// The number of the batch that gathers.
    pub(super) const fn gathering_number(&self) -> u64 {
        self.last_number + 1
    }

    /// Sends what is ready to be sent: a batch whose pause is over, or what has gathered if none is under way.
    pub(super) fn flush(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if let Some(batch) = &self.under_way {
            if self.retry_at.is_some_and(|at| at <= now.monotonic) {
                self.retry_at = None;
                effects.push(Effect::Commit(Arc::clone(batch)));
            }
        } else if !self.gathering.is_empty() {
            self.last_number += 1;
            let changes = std::mem::take(&mut self.gathering);
            let batch = Arc::new(Batch { number: self.last_number, at: now.wall, changes });
            self.under_way = Some(Arc::clone(&batch));
            effects.push(Effect::Commit(batch));
        }
    }

    /// The batch of this number is durable. `None` for an answer nobody waits for.
    pub(super) fn committed(&mut self, number: u64) -> Option<Arc<Batch>> {
        let batch = self.under_way.take_if(|batch| batch.number == number)?;
        self.retry_at = None;
        self.pause = RETRY_MIN;
        Some(batch)
    }

    /// The batch of this number may or may not be durable; it is to be sent again after a pause.
    pub(super) fn failed(&mut self, number: u64, now: Now) {
        if self.under_way.as_ref().is_some_and(|batch| batch.number == number) {
            self.retry_at = Some(now.monotonic.after(self.pause));
            self.pause = (self.pause * 2).min(RETRY_MAX);
        }
    }

    /// When `flush` has something to do again by itself.
    pub(super) const fn next_wakeup(&self) -> Option<Monotonic> {
        self.retry_at
    }

    /// Whether everything decided so far is durable.
    pub(super) const fn is_settled(&self) -> bool {
        self.under_way.is_none() && self.gathering.is_empty()
    }
}
