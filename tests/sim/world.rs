//! What a history is drawn from: jobs, faults, and the count of what happened.

use std::collections::BTreeMap;
use std::time::Duration;

use jobctl::engine::job::{Command, JobName, JobSpec};
use jobctl::engine::policy::CatchUp;
use jobctl::engine::schedule::Schedule;
use jobctl::engine::stop::StopLadder;

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
        ];
        all.into_iter().filter(|what| !self.0.contains_key(what)).collect()
    }
}

/// How often what goes wrong, drawn anew for each seed: in some histories a fault is rare, in others constant.
pub struct Faults {
    pub habits: Habits,
    pub launch_fails: u64,
    pub commit_fails: u64,
    pub outage: u64,
    pub crash_every: Duration,
    pub jump_every: Duration,
    pub far_back: u64,
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
            commit_fails: rng.range(0, 12),
            outage: rng.range(0, 2),
            crash_every: rng.millis(60_000, 3_600_000),
            jump_every: rng.millis(300_000, 3_600_000),
            far_back: rng.range(0, 50),
        }
    }
}

/// A job with a random schedule and policy, and its period in seconds.
pub fn job(name: &str, rng: &mut Rng) -> (JobSpec, i64) {
    let (text, period) =
        *rng.pick(&[("*/10 * * * * *", 10), ("* * * * *", 60), ("*/5 * * * *", 300), ("0 * * * *", 3600)]);
    let spec = JobSpec {
        schedules: vec![Schedule::parse(text).unwrap()],
        timeout: rng.percent(85).then(|| Duration::from_secs(rng.range(5, 300))),
        stop: StopLadder::term(Duration::from_secs(rng.range(1, 20))),
        catch_up: *rng.pick(&[CatchUp::Skip, CatchUp::Latest, CatchUp::All]),
        catch_up_window: Duration::from_secs(*rng.pick(&[300, 3600, 86_400])),
        alert: vec!["ops".into()],
        config_hash: "c".into(),
        schedule_hash: text.into(),
        ..JobSpec::new(JobName::new(name).unwrap(), Command::Shell("true".into()))
    };
    (spec, period)
}

/// A job that fires once in each boot, and has no period.
pub fn boot_job(rng: &mut Rng) -> JobSpec {
    let (spec, _) = job("at-boot", rng);
    JobSpec { schedules: vec![Schedule::parse("@reboot").unwrap()], ..spec }
}
