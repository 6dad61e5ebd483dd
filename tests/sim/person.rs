//! What a person asks of jobd now and then.

use std::time::Duration;

use jobctl::engine::event::{Event, RequestId};
use jobctl::engine::job::JobName;
use jobctl::engine::pause::Pause;
use jobctl::engine::run::RunId;
use jobctl::engine::time::Timestamp;

use super::machine::{Happening, Machine};

/// A request that is not answered yet, as far as a person remembers what it was about.
#[derive(Debug)]
pub enum Asked {
    Pause { job: Option<JobName>, until: Option<Timestamp> },
    Other,
}

impl Machine {
    /// Now and then a person runs, stops, pauses or makes up for something.
    pub fn ask(&mut self) -> Result<(), String> {
        if self.is_calm() {
            return Ok(());
        }
        let next = self.rng.millis(1_000, 600_000);
        self.after(next, Happening::Ask);
        self.requests += 1;
        let request = RequestId(self.requests);
        self.asked.insert(request.0, Asked::Other);
        match self.rng.range(0, 100) {
            0..35 => self.ask_to_run(request),
            35..40 => self.acknowledge(request),
            40..60 => self.ask_to_stop(request),
            60..75 => self.ask_to_catch_up(request),
            75..88 => self.ask_to_pause(request),
            _ => self.ask_to_resume(request),
        }
    }

    fn ask_to_run(&mut self, request: RequestId) -> Result<(), String> {
        self.totals.count("run by hand");
        let job = self.rng.pick(&self.specs).name.clone();
        let at = self.minute(40);
        let at = (self.rng.percent(50) && at > self.began).then_some(at);
        self.tell(Event::RunRequested { request, job, at })
    }

    fn acknowledge(&mut self, request: RequestId) -> Result<(), String> {
        let job = self.rng.pick(&self.specs).name.clone();
        self.acknowledged.insert(job.clone());
        self.tell(Event::AcknowledgeRequested { request, job, by: "uid 0".into() })
    }

    fn ask_to_stop(&mut self, request: RequestId) -> Result<(), String> {
        let open: Vec<RunId> = self.ledger.claims.keys().copied().collect();
        if open.is_empty() {
            return Ok(());
        }
        let run = *self.rng.pick(&open);
        self.tell(Event::StopRequested { request, run, by: "uid 0".into() })
    }

    /// Of a job with a period, several fires at once, as `--all` does.
    fn ask_to_catch_up(&mut self, request: RequestId) -> Result<(), String> {
        let job = self.rng.pick(&self.specs).name.clone();
        let Some(period) = self.periods.get(&job).copied() else { return Ok(()) };
        let newest = self.wall().as_second().div_euclid(period) * period;
        let back = i64::try_from(self.rng.range(0, 30)).unwrap();
        self.totals.count("caught up by hand");
        let mut request = request;
        for n in 0..i64::try_from(self.rng.range(1, 4)).unwrap() {
            let at = Timestamp::from_second(newest - (back + n) * period).unwrap();
            if at > self.began {
                self.tell(Event::CatchUpRequested { request, job: job.clone(), at })?;
                self.requests += 1;
                request = RequestId(self.requests);
            }
        }
        Ok(())
    }

    fn ask_to_pause(&mut self, request: RequestId) -> Result<(), String> {
        let job = self.any_job();
        let until = self.rng.percent(70).then(|| self.rng.millis(1_000, 2_400_000));
        let until = until.map(|duration| self.wall().saturating_add(duration).unwrap());
        self.totals.count("pause");
        self.change_mind(job.as_ref());
        self.asked.insert(request.0, Asked::Pause { job: job.clone(), until });
        let since = Timestamp::UNIX_EPOCH;
        let pause = Pause { job, by: "uid 0".into(), since, until, why: None };
        self.tell(Event::PauseRequested { request, pause })
    }

    fn ask_to_resume(&mut self, request: RequestId) -> Result<(), String> {
        let pauses: Vec<_> = self.ledger.pauses.iter().map(|pause| pause.job.clone()).collect();
        let job = if pauses.is_empty() { self.any_job() } else { self.rng.pick(&pauses).clone() };
        self.totals.count("resume");
        self.change_mind(job.as_ref());
        self.tell(Event::ResumeRequested { request, job, by: "uid 0".into() })
    }

    /// What was said of the same before counts no more, whether or not it was answered.
    fn change_mind(&mut self, about: Option<&JobName>) {
        self.order.unpause(about);
        self.asked.retain(|_, asked| !matches!(asked, Asked::Pause { job, .. } if job.as_ref() == about));
    }

    /// Of what was asked, that which is to be relied on once it is answered.
    pub fn answered(&mut self, request: RequestId, is_ok: bool) {
        let Some(Asked::Pause { job, until }) = self.asked.remove(&request.0).filter(|_| is_ok) else {
            return;
        };
        let wall = self.wall();
        self.order.pause(job, until, wall);
    }

    fn any_job(&mut self) -> Option<JobName> {
        let job = self.rng.pick(&self.specs).name.clone();
        self.rng.percent(75).then_some(job)
    }

    fn minute(&mut self, back_max: u64) -> Timestamp {
        let back = Duration::from_mins(self.rng.range(0, back_max));
        let minute = Timestamp::from_second(self.wall().as_second() / 60 * 60).unwrap();
        minute.saturating_sub(back).unwrap()
    }
}
