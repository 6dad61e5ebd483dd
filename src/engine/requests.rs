//! What a person asks for: a run now, or the end of one.

use std::sync::Arc;

use super::event::{Effect, Refusal, RequestId};
use super::job::JobName;
use super::run::{RunId, Trigger};
use super::scheduler::{Phase, Scheduler};
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
        let refusal = match (self.agenda.spec(&job), self.blocking_run(&job), at) {
            (None, _, _) => Refusal::NoSuchJob { job },
            (_, _, Some(at)) if at > now.wall => Refusal::InFuture { at },
            (_, Some(run), _) => Refusal::Overlap { job, run },
            (Some(spec), None, _) => {
                let spec = Arc::clone(spec);
                self.claim(&spec, at, Trigger::Manual, now.wall, false, Some(request));
                return;
            }
        };
        effects.push(Effect::Reply { request, answer: Err(refusal) });
    }

    pub(super) fn stop_requested(
        &mut self,
        request: RequestId,
        id: RunId,
        by: String,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let answer = match self.runs.get_mut(&id) {
            None => Err(Refusal::NotActive { run: id }),
            Some(run) => {
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
                Ok(id)
            }
        };
        effects.push(Effect::Reply { request, answer });
    }
}
