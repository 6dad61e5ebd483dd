//! A simulated run: what its shim would do, worked out at the moment it starts.

use std::time::Duration;

use jobctl::engine::run::{Claim, Exit, Report, Status, Stop};
use jobctl::engine::time::Timestamp;

use super::rng::Rng;

/// What a job may do to its supervisor, in percent.
pub struct Habits {
    pub fail: u64,
    pub overrun: u64,
    pub ignore_term: u64,
    pub vanish: u64,
    pub stuck_shim: u64,
}

pub struct Process {
    pub claim: Claim,
    /// On the simulation's own clock.
    pub started: Duration,
    pub ends: Duration,
    pub report: Report,
    /// The shim is stuck: the run ends only when it is reaped.
    pub stuck: bool,
    pub over: bool,
}

impl Process {
    pub fn start(claim: Claim, habits: &Habits, rng: &mut Rng, real: Duration, wall: Timestamp) -> Self {
        let limit = claim.timeout.unwrap_or(Duration::MAX);
        let wants =
            if rng.percent(habits.overrun) { limit.saturating_mul(2) } else { rng.millis(50, 20_000) };
        let mut report = Report::lost("unset", Some(wall), wall);
        report.exit = Exit::Code(i32::from(rng.percent(habits.fail)));
        let mut lasts = wants;
        if limit < wants {
            report.stop = Some(Stop::Timeout);
            lasts = if rng.percent(habits.ignore_term) { limit + claim.kill_grace } else { limit };
        }
        if rng.percent(habits.vanish) {
            lasts = lasts.min(rng.millis(10, 20_000));
            report = Report::lost("the shim vanished", Some(wall), wall);
        }
        let stuck = rng.percent(habits.stuck_shim);
        let mut process = Self { claim, started: real, ends: real + lasts, report, stuck, over: false };
        process.set_end(lasts, wall);
        process
    }

    fn set_end(&mut self, lasts: Duration, wall: Timestamp) {
        self.report.duration = lasts;
        self.report.ended_at = wall.saturating_add(lasts).unwrap();
    }

    /// A person stops it: it ends now, unless it has.
    pub fn stop(&mut self, by: &str, real: Duration) {
        if !self.over && !self.stuck && self.report.stop.is_none() && real < self.ends {
            self.report.stop = Some(Stop::Manual { by: by.to_owned() });
            self.ends = real;
        }
    }

    /// It is ended from outside, its stuck shim with it.
    pub fn reap(&mut self, real: Duration, wall: Timestamp) {
        if !self.over {
            self.vanish("ended from outside", real, wall);
        }
    }

    pub fn vanish(&mut self, why: &str, real: Duration, wall: Timestamp) {
        self.report = Report::lost(why, self.report.started_at, wall);
        self.ends = real;
        self.stuck = false;
    }

    /// How the row has to read in the end.
    pub fn truth(&self) -> Status {
        self.report.status()
    }
}
