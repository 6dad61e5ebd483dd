//! What a history is drawn from: jobs, faults, and the count of what happened.

use std::collections::BTreeMap;
use std::time::Duration;

use jobctl::engine::admission::{Admission, Holds};
use jobctl::engine::after::{After, AfterEnd, Same};
use jobctl::engine::job::{Command, JobName, JobSpec};
use jobctl::engine::policy::{Busy, CatchUp, Overlap};
use jobctl::engine::retry::Retry;
use jobctl::engine::run::Status;
use jobctl::engine::schedule::Schedule;
use jobctl::engine::stop::StopLadder;
use jobctl::engine::watch::{FinishBy, Usual, Watch};

use super::process::Habits;
use super::rng::Rng;

/// What happened, added up: a fault that never happens tests nothing.
#[derive(Debug, Default, Clone)]
pub struct Totals(BTreeMap<&'static str, u64>);

impl Totals {
    pub fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            *self.0.entry(what).or_default() += times;
        }
    }

    /// The kinds of happening that are missing.
    pub fn quiet(&self) -> Vec<&'static str> {
        let all = [
            "launch",
            "launch failed",
            "stopped by hand",
            "run by hand",
            "reaped",
            "unkillable",
            "unkillable, found again",
            "unkillable, found by a later jobd",
            "stuck shim stopped by hand",
            "lost",
            "crash",
            "reboot",
            "clock forward",
            "clock back",
            "clock far back",
            "clock far forward",
            "taken",
            "commit failed before",
            "commit failed after",
            "crash with a commit under way",
            "never started",
            "queued",
            "tried again",
            "fired after others",
            "waited for others in vain",
            "late",
            "not over in time",
            "long",
            "unusual",
            "short",
            "silent",
            "without a success",
            "armed",
            "gone through a gate",
            "gone without a gate",
            "disarmed",
            "crash at a gate",
            "crash after a gate was opened",
            "sleep",
            "pause",
            "resume",
            "caught up by hand",
            "skipped for another run",
            "skipped for a full queue",
            "skipped for a lock or a pool",
            "skipped for a pause",
            "folded",
            "replaced",
            "past its window",
            "many skipped in one row",
            "in the way",
        ];
        all.into_iter().filter(|what| !self.0.contains_key(what)).collect()
    }
}

/// How often what goes wrong, drawn anew for each seed: in some histories a fault is rare, in others constant.
pub struct Faults {
    pub habits: Habits,
    pub launch_fails: u64,
    pub gate_fails: u64,
    pub commit_fails: u64,
    pub outage: u64,
    pub crash_every: Duration,
    pub jump_every: Duration,
    pub far_back: u64,
    /// How many runs fall silent, in percent.
    pub silent: u64,
}

impl Faults {
    pub fn draw(rng: &mut Rng) -> Self {
        Self {
            habits: Habits {
                fail: rng.range(0, 40),
                overrun: rng.range(0, 15),
                ignore_term: rng.range(0, 60),
                vanish: rng.range(0, 6),
                stuck_shim: rng.range(0, 4),
                unkillable: rng.range(0, 20),
            },
            launch_fails: rng.range(0, 6),
            gate_fails: rng.range(0, 20),
            commit_fails: rng.range(0, 12),
            outage: rng.range(0, 2),
            crash_every: rng.millis(60_000, 3_600_000),
            jump_every: rng.millis(300_000, 3_600_000),
            far_back: rng.range(0, 50),
            silent: rng.range(0, 20),
        }
    }
}

/// A job with a random schedule and policy, and its period in seconds.
pub fn job(name: &str, rng: &mut Rng) -> (JobSpec, i64) {
    let (text, period) = *rng.pick(&[
        ("*/10 * * * * *", 10),
        ("*/10 * * * * *", 10),
        ("* * * * *", 60),
        ("* * * * *", 60),
        ("*/5 * * * *", 300),
        ("0 * * * *", 3600),
    ]);
    let overlap =
        *rng.pick(&[Overlap::Skip, Overlap::Skip, Overlap::Queue, Overlap::Replace, Overlap::Allow]);
    // What fires each second may not pile up, or a history takes minutes.
    let is_each_second = overlap == Overlap::Skip && rng.percent(8);
    let (text, period) = if is_each_second { ("* * * * * *", 1) } else { (text, period) };
    let windows: &[u64] = if overlap == Overlap::Allow { &[60, 300] } else { &[60, 300, 3600, 86_400] };
    let policies: &[CatchUp] =
        if is_each_second { &[CatchUp::Skip] } else { &[CatchUp::Skip, CatchUp::Latest, CatchUp::All] };
    let spec = JobSpec {
        schedules: vec![Schedule::parse(text).unwrap()],
        overlap,
        queue_limit: usize::try_from(rng.range(0, 4)).unwrap(),
        holds: holds(rng),
        busy: *rng.pick(&[Busy::Wait, Busy::Wait, Busy::Skip]),
        priority: *rng.pick(&[0, 0, 1, -1]),
        timeout: rng.percent(85).then(|| Duration::from_secs(rng.range(5, 300))),
        stop: StopLadder::term(Duration::from_secs(rng.range(1, 20))),
        catch_up: *rng.pick(policies),
        catch_up_window: Duration::from_secs(*rng.pick(windows)),
        alert: vec!["ops".into()],
        config_hash: "c".into(),
        retry: rng.percent(50).then(|| retry(rng)),
        watch: watch(rng),
        auto_timeout: rng.percent(20).then(|| usual(rng)),
        schedule_hash: text.into(),
        ..JobSpec::new(JobName::new(name).unwrap(), Command::Shell("true".into()))
    };
    (spec, period)
}

fn retry(rng: &mut Rng) -> Retry {
    let all = [Status::Failed, Status::Timeout, Status::Lost];
    Retry {
        attempts: u32::try_from(rng.range(1, 5)).unwrap(),
        delay: rng.millis(0, 60_000),
        backoff: *rng.pick(&[1.0, 1.5, 3.0]),
        max_delay: rng.millis(60_000, 120_000),
        jitter: rng.millis(0, 10_000),
        on: all.into_iter().filter(|_| rng.percent(75)).collect(),
    }
}

fn usual(rng: &mut Rng) -> Usual {
    let min_runs = usize::try_from(rng.range(1, 8)).unwrap();
    Usual { factor: *rng.pick(&[1.0, 1.5, 3.0]), floor: rng.millis(1_000, 10_000), min_runs }
}

fn watch(rng: &mut Rng) -> Watch {
    let mut sometimes = |low, high| rng.percent(40).then(|| rng.millis(low, high));
    Watch {
        late_after: sometimes(100, 60_000),
        must_finish_by: sometimes(5_000, 60_000).map(FinishBy::After),
        max_since_success: sometimes(60_000, 1_200_000),
        warn_after: sometimes(2_000, 60_000),
        min_duration: sometimes(100, 5_000),
        silence: None,
        usual: rng.percent(40).then(|| usual(rng)),
    }
}

fn after(jobs: Vec<JobName>, rng: &mut Rng) -> After {
    After {
        jobs,
        on: *rng.pick(&[AfterEnd::Success, AfterEnd::Failure, AfterEnd::Always]),
        same: *rng.pick(&[Same::Day, Same::Fire]),
        within: Duration::from_hours(24),
    }
}

/// A job that comes after another at its own instants, for half an hour at most.
pub fn waits_for(spec: JobSpec, job: &JobName, rng: &mut Rng) -> JobSpec {
    let after = After { within: rng.millis(10_000, 1_800_000), ..after(vec![job.clone()], rng) };
    JobSpec { after: Some(after), ..spec }
}

/// A job that fires when others have ended, and has no period.
pub fn follower(jobs: &[JobName], rng: &mut Rng) -> JobSpec {
    let count = usize::try_from(rng.range(1, 3)).unwrap();
    let (spec, _) = job("follower", rng);
    let jobs = jobs.iter().take(count).cloned().collect();
    JobSpec { schedules: Vec::new(), after: Some(after(jobs, rng)), ..spec }
}

fn holds(rng: &mut Rng) -> Holds {
    let mut holds = Holds::default();
    if rng.percent(25) {
        holds.locks.push("db".into());
    }
    if rng.percent(25) {
        // Now and then more than there are.
        holds.pools.insert("etl".into(), u32::try_from(*rng.pick(&[1, 1, 1, 2, 2, 3])).unwrap());
    }
    holds
}

/// What holds for all runs together.
pub fn admission(rng: &mut Rng) -> Admission {
    Admission {
        max_running: *rng.pick(&[1, 2, 3, 256, 256]),
        pools: [("etl".to_owned(), 2)].into(),
        rate: *rng.pick(&[1, 20]),
        settle: Duration::from_secs(*rng.pick(&[0, 30, 120])),
    }
}

/// A job that fires once in each boot, and has no period.
pub fn boot_job(rng: &mut Rng) -> JobSpec {
    let (spec, _) = job("at-boot", rng);
    JobSpec { schedules: vec![Schedule::parse("@reboot").unwrap()], ..spec }
}
