//! Jobs that must succeed every so often: what is known of each outlives its pauses, its entry and jobd.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::deadlines::{At, Matter};
use super::event::{Effect, Refusal, RequestId};
use super::incident::notify;
use super::job::{JobName, JobSpec};
use super::ledger::Change;
use super::notice::Notice;
use super::scheduler::Scheduler;
use super::time::{Now, Timestamp};
use super::watch::SuccessWatch;

impl Scheduler {
    /// Takes up what the store knows, as the configuration wants it now.
    pub(super) fn take_up_watches(&mut self, known: Vec<SuccessWatch>, now: Now) {
        let mut known: BTreeMap<JobName, SuccessWatch> =
            known.into_iter().map(|watch| (watch.job.clone(), watch)).collect();
        let specs: Vec<Arc<JobSpec>> = self.agenda.specs().cloned().collect();
        for spec in specs {
            match (spec.watch.max_since_success, known.remove(&spec.name)) {
                (Some(limit), Some(watch)) => {
                    let wanted = SuccessWatch { limit, alert: spec.alert.clone(), ..watch.clone() };
                    if wanted == watch {
                        self.wait_for_success(watch);
                    } else {
                        // Another limit may be exceeded anew.
                        self.keep_watch(SuccessWatch { told: watch.told && limit == watch.limit, ..wanted });
                    }
                }
                (Some(limit), None) => self.keep_watch(SuccessWatch {
                    job: spec.name.clone(),
                    limit,
                    last_success: self.memory.last_success(&spec.name).unwrap_or(now.wall),
                    told: false,
                    alert: spec.alert.clone(),
                }),
                (None, Some(watch)) => self.journal.push(Change::DropWatch { job: watch.job }),
                (None, None) => {}
            }
        }
        for watch in known.into_values() {
            self.wait_for_success(watch);
        }
    }

    /// A success of any job.
    pub(super) fn succeeded(&mut self, job: &JobName, at: Timestamp) {
        if let Some(watch) = self.watches.get(job) {
            // By a clock that was set back it may seem older than the one before.
            self.keep_watch(SuccessWatch { last_success: at, told: false, ..watch.clone() });
        }
    }

    /// A job may not have succeeded for too long.
    pub(super) fn judge_successes(&mut self, job: &JobName, now: Now) {
        let Some(watch) = self.watches.get(job).filter(|watch| !watch.told).cloned() else { return };
        if ends(&watch).is_none_or(|at| now.wall < at) {
            return;
        }
        let notice = Notice::NoSuccess {
            job: job.clone(),
            since: watch.last_success,
            limit: watch.limit,
            removed: self.agenda.spec(job).is_none(),
        };
        for change in notify(&watch.alert, &notice) {
            self.journal.push(change);
        }
        self.keep_watch(SuccessWatch { told: true, ..watch });
    }

    /// A person knows of it: of a job that is gone nobody waits for a success any more.
    pub(super) fn acknowledge_requested(
        &mut self,
        request: RequestId,
        job: JobName,
        effects: &mut Vec<Effect>,
    ) {
        let Some(watch) = self.watches.get(&job).cloned() else {
            let answer = Err(Refusal::NothingToAcknowledge { job });
            effects.push(Effect::Reply { request, answer });
            return;
        };
        if self.agenda.spec(&job).is_some() {
            self.keep_watch(SuccessWatch { told: true, ..watch });
        } else {
            self.watches.remove(&job);
            self.deadlines.drop(&Matter::Success(job.clone()));
            self.journal.push(Change::DropWatch { job });
        }
        self.answer_when_durable(request);
    }

    fn keep_watch(&mut self, watch: SuccessWatch) {
        self.journal.push(Change::KeepWatch(watch.clone()));
        self.wait_for_success(watch);
    }

    fn wait_for_success(&mut self, watch: SuccessWatch) {
        let matter = Matter::Success(watch.job.clone());
        match ends(&watch).filter(|_| !watch.told) {
            Some(at) => self.deadlines.set(matter, At::Wall(at)),
            None => self.deadlines.drop(&matter),
        }
        self.watches.insert(watch.job.clone(), watch);
    }
}

/// The first instant at which it is too long; `None` if that is beyond the end of time.
fn ends(watch: &SuccessWatch) -> Option<Timestamp> {
    watch.last_success.checked_add(watch.limit).ok()
}
