//! What a person asks for: a run now, a fire made up for, or the end of a run.

use std::sync::Arc;

use super::event::{Effect, Refusal, RequestId};
use super::job::JobName;
use super::policy::Overlap;
use super::run::{Claim, RunId, Trigger};
use super::runs::Phase;
use super::scheduler::Scheduler;
use super::time::{Now, Timestamp};

impl Scheduler {
    pub(super) fn run_requested(
        &mut self,
        request: RequestId,
        job: JobName,
        at: Option<Timestamp>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(refusal) = self.request_claim(request, job, at, Trigger::Manual, now) {
            effects.push(Effect::Reply { request, answer: Err(refusal) });
        }
    }

    /// A fire that was missed or skipped is to have its run after all. It waits for its turn, and for as long as it
    /// takes.
    pub(super) fn catch_up_requested(
        &mut self,
        request: RequestId,
        job: JobName,
        at: Timestamp,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(refusal) = self.request_claim(request, job, Some(at), Trigger::CatchUp, now) {
            effects.push(Effect::Reply { request, answer: Err(refusal) });
        }
    }

    fn request_claim(
        &mut self,
        request: RequestId,
        job: JobName,
        at: Option<Timestamp>,
        trigger: Trigger,
        now: Now,
    ) -> Result<(), Refusal> {
        let Some(spec) = self.agenda.spec(&job) else { return Err(Refusal::NoSuchJob { job }) };
        if let Some(at) = at.filter(|at| *at > now.wall) {
            return Err(Refusal::InFuture { at });
        }
        if let Some(run) = self.blocking_run(&job).filter(|_| trigger == Trigger::Manual) {
            match spec.overlap {
                Overlap::Skip => return Err(Refusal::Overlap { job, run }),
                Overlap::Queue if self.is_queue_full(spec) => {
                    return Err(Refusal::QueueFull { job, run, limit: spec.queue_limit });
                }
                Overlap::Queue | Overlap::Replace | Overlap::Allow => {}
            }
        }
        let spec = Arc::clone(spec);
        let claim = Claim { not_before: None, ..self.draft(&spec, at, trigger, now) };
        let queued = self.waits(&spec, &claim);
        self.submit(claim, queued, Some(request));
        Ok(())
    }

    pub(super) fn stop_requested(
        &mut self,
        request: RequestId,
        id: RunId,
        by: String,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let is_active = self.runs.contains_key(&id);
        if is_active {
            self.stop(id, by, now, effects);
        }
        let answer = if is_active { Ok(Some(id)) } else { Err(Refusal::NotActive { run: id }) };
        effects.push(Effect::Reply { request, answer });
    }

    /// Ends a run, wherever it is in its life.
    pub(super) fn stop(&mut self, id: RunId, by: String, now: Now, effects: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        match run.phase {
            Phase::Running { .. } => {
                // Of a run that waits to be launched there is nothing to end from outside.
                if run.launched {
                    run.limit_stop(now);
                }
                run.stop = Some(by.clone());
                effects.push(Effect::Stop { run: id, by });
            }
            Phase::Queued => self.cancel(id, &by, now),
            Phase::Claiming { .. } | Phase::Starting => run.stop = Some(by),
        }
    }

    /// Whoever has asked hears of it when the last change so far is durable.
    pub(super) fn answer_when_durable(&mut self, request: RequestId) {
        self.answers.push_back((self.journal.gathering_number(), request));
    }

    /// All batches up to this number are durable: whoever has waited for that is answered.
    pub(super) fn answer_durable(&mut self, number: u64, effects: &mut Vec<Effect>) {
        while let Some((_, request)) = self.answers.pop_front_if(|(batch, _)| *batch <= number) {
            effects.push(Effect::Reply { request, answer: Ok(None) });
        }
    }
}
