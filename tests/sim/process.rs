//! A simulated run: what its shim would do, worked out at the moment it starts.

use std::time::Duration;

use jobctl::engine::run::{Claim, Exit, LeftProcess, Report, Status, Stop};
use jobctl::engine::time::Timestamp;

use super::rng::Rng;

/// What a job may do to its supervisor, in percent.
pub struct Habits {
    pub fail: u64,
    pub overrun: u64,
    pub ignore_term: u64,
    pub vanish: u64,
    pub stuck_shim: u64,
    pub unkillable: u64,
}

pub struct Process {
    pub claim: Claim,
    /// On the simulation's own clock.
    pub started: Duration,
    pub ends: Duration,
    pub report: Report,
    /// The shim is stuck: the run ends only when it is reaped.
    pub stuck: bool,
    /// How long it lives on after SIGKILL.
    unkillable: Option<Duration>,
    /// When its shim has said that it does.
    pub hangs_since: Option<Duration>,
    /// When a person first asked for its end.
    pub asked: Option<Duration>,
    pub over: bool,
    /// When it says nothing any more, and does nothing.
    pub silent_at: Option<Duration>,
}

/// How long after SIGKILL a shim says that a process does not die.
const KILL_LIMIT: Duration = Duration::from_secs(2);

impl Process {
    pub fn start(claim: Claim, habits: &Habits, rng: &mut Rng, real: Duration, wall: Timestamp) -> Self {
        let limit = claim.timeout.unwrap_or(Duration::MAX);
        let overruns = rng.percent(habits.overrun);
        let wants = match claim.timeout {
            Some(limit) if overruns => limit * 2,
            None if overruns => rng.millis(20_000, 900_000),
            _ => rng.millis(50, 20_000),
        };
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
        let unkillable = rng.percent(habits.unkillable).then(|| rng.millis(5_000, 3_600_000));
        let mut process = Self {
            claim,
            started: real,
            ends: real + lasts,
            report,
            stuck,
            unkillable,
            hangs_since: None,
            asked: None,
            over: false,
            silent_at: None,
        };
        if process.report.stop.is_some() {
            lasts = process.hang(lasts);
        }
        process.set_end(lasts, wall);
        process
    }

    /// What does not die of SIGKILL lives on after what would have been its end.
    fn hang(&mut self, lasts: Duration) -> Duration {
        let Some(more) = self.unkillable.filter(|_| !self.stuck && self.truth() != Status::Lost) else {
            return lasts;
        };
        let killed = lasts + self.claim.kill_grace;
        self.hangs_since = Some(self.started + killed + KILL_LIMIT);
        self.ends = self.started + killed + KILL_LIMIT + more;
        killed + KILL_LIMIT + more
    }

    /// What its shim says, once it has come to say it.
    pub fn word(&self, real: Duration) -> Option<Vec<LeftProcess>> {
        let process = LeftProcess { pid: 7, name: "cp".into(), state: 'D', sleeps_in: None };
        self.hangs_since.filter(|since| !self.over && *since <= real).map(|_| vec![process])
    }

    fn set_end(&mut self, lasts: Duration, wall: Timestamp) {
        self.report.duration = lasts;
        self.report.ended_at = wall.saturating_add(lasts).unwrap();
    }

    /// A person stops it: it ends now, unless it has, or does not die.
    pub fn stop(&mut self, by: &str, real: Duration) {
        if !self.over && (self.stuck || real < self.ends) {
            self.asked.get_or_insert(real);
        }
        if !self.over && !self.stuck && self.report.stop.is_none() && real < self.ends {
            self.report.stop = Some(Stop::Manual { by: by.to_owned() });
            self.ends = real;
            self.hang(real.saturating_sub(self.started));
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
        self.hangs_since = None;
    }

    /// How the row has to read in the end.
    pub fn truth(&self) -> Status {
        self.report.status()
    }
}
