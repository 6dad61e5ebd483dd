//! A run: one execution for a fire or a trigger, and the closed set of ways it can go.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::admission::Holds;
use super::job::JobName;
use super::time::{Timestamp, describe_duration};
use super::words::size;

/// A run's number: small enough to type, unique on its host, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub u64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What asked for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// A fire, on time.
    Schedule,
    /// A fire that was missed and is made up for.
    CatchUp,
    /// A person.
    Manual,
    /// An earlier try of the same fire, which ended badly.
    Retry,
    /// The end of another job.
    After,
}

/// A run's status as the table has it: a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Claimed, and waiting for its turn.
    Queued,
    /// A shim holds it.
    Running,
    /// The job exited with 0.
    Success,
    /// The job exited with another code, died by a signal nobody here sent, or could not be started.
    Failed,
    /// Killed at its time limit, or for its silence.
    Timeout,
    /// Killed by a person.
    Killed,
    /// A fire nobody was there for.
    Missed,
    /// A fire decided against.
    Skipped,
    /// The process vanished with its shim: how it ended is unknown.
    Lost,
}

impl Status {
    /// Every status, in the order of a run's life.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Running,
        Self::Success,
        Self::Failed,
        Self::Timeout,
        Self::Killed,
        Self::Missed,
        Self::Skipped,
        Self::Lost,
    ];

    /// The word in the table, in messages and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
            Self::Timeout => "TIMEOUT",
            Self::Killed => "KILLED",
            Self::Missed => "MISSED",
            Self::Skipped => "SKIPPED",
            Self::Lost => "LOST",
        }
    }

    /// The status a word names, in any case.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(word))
    }

    /// Whether nothing more will happen to a row of this status.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// Whether it opens an incident: something went wrong that nobody asked for.
    #[must_use]
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Timeout | Self::Lost)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Trigger {
    /// Every trigger.
    pub const ALL: [Self; 5] = [Self::Schedule, Self::CatchUp, Self::Manual, Self::Retry, Self::After];

    /// The word in the table and in `JOBD_TRIGGER`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::CatchUp => "catch-up",
            Self::Manual => "manual",
            Self::Retry => "retry",
            Self::After => "after",
        }
    }

    /// The trigger a word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == word)
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A durable promise to start one process: unique by (job, scheduled instant, attempt).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The run's number.
    pub run: RunId,
    /// Whose run it is.
    pub job: JobName,
    /// The instant of the fire; `None` for a manual run that names none.
    pub scheduled_at: Option<Timestamp>,
    /// What asked for it.
    pub trigger: Trigger,
    /// Which try of the fire this is, from 1; of a claim still to be made by hand, the store counts (see
    /// [`crate::engine::ledger::Answer`]).
    pub attempt: u32,
    /// Until when it waits, whatever else is free: the delay of a retry, the settling of the host for a catch-up. A
    /// catch-up that a person asked for has none.
    pub not_before: Option<Timestamp>,
    /// The locks and places that it holds while it is active.
    pub holds: Holds,
    /// When it was decided; names the run folder and stands in for `scheduled_at` where there is none.
    pub claimed_at: Timestamp,
    /// The limit of the run, as its job had it then.
    pub timeout: Option<Duration>,
    /// From the first signal that asks it to end to SIGKILL.
    pub kill_grace: Duration,
    /// Where its alerts go.
    pub alert: Vec<String>,
    /// The fingerprint of the job's entry.
    pub config_hash: String,
}

impl Claim {
    /// The instant at which the run was due: its fire, or the request.
    #[must_use]
    pub fn due_at(&self) -> Timestamp {
        self.scheduled_at.unwrap_or(self.claimed_at)
    }

    /// The instant from which its own lateness counts: what follows from something else, or is made up for, was not
    /// wanted before that was decided, and what has to wait not before its wait is over.
    #[must_use]
    pub fn wanted_since(&self) -> Timestamp {
        self.due_at().max(self.claimed_at).max(self.not_before.unwrap_or(Timestamp::MIN))
    }
}

/// How the main process of a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It exited with this code, 0 to 255.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It never ran: a step between fork and exec failed.
    SpawnFailed {
        /// The step: `chdir`, `setuid`, `exec`, …
        step: String,
        /// What was being done, with the operating system's answer: `/nope: No such file or directory (ENOENT)`.
        error: String,
    },
    /// Nobody saw it end.
    Unknown {
        /// Why nobody did: `host rebooted`, `the shim vanished`, …
        why: String,
    },
}

/// Why a run was made to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Its time limit.
    Timeout,
    /// A person.
    Manual {
        /// Who: `uid 1000 (mina)`.
        by: String,
    },
    /// It said nothing and did nothing.
    Silence {
        /// For how long, milliseconds.
        for_ms: u64,
    },
    /// A signal to its shim that nobody has signed: so a host ends what runs when it shuts down.
    Signal,
}

/// All that is known of a run that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How the main process ended.
    pub exit: Exit,
    /// Who ended it, when it did not end by itself.
    pub stop: Option<Stop>,
    /// When the job's process was started; `None` when it never was.
    pub started_at: Option<Timestamp>,
    /// When the run was over, the whole process tree included.
    pub ended_at: Timestamp,
    /// From start to end, on the monotonic clock.
    pub duration: Duration,
    /// The main process.
    pub pid: Option<u32>,
    /// User and system CPU time of the whole tree.
    pub cpu: Duration,
    /// Peak memory of the largest process, KiB.
    pub max_rss_kib: u64,
    /// Bytes the job wrote to stdout and stderr.
    pub output_bytes: u64,
    /// The job's own word: the last non-empty line of stdout, or what it put into `$JOBD_MESSAGE_FILE`.
    pub message: Option<String>,
    /// The end of its stderr.
    pub error_tail: String,
    /// What else one must know: processes that outlived the main one, a kill that could not be verified.
    pub remark: Option<String>,
    /// Bytes of output that are not in the file, for its limit.
    pub output_left_out: u64,
    /// What was left of the process tree; `None` if nobody looked.
    pub tree: Option<Tree>,
    /// What the run was waiting for when it was made to end, in a line.
    pub waited_for: Option<String>,
    /// The kernel killed processes of it for want of memory.
    pub oom: Option<OutOfMemory>,
}

/// What was left of a run's processes when it was over, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// How it is known.
    pub known_by: KnownBy,
    /// The processes that live on; empty if the tree is.
    pub left: Vec<LeftProcess>,
}

/// What told whether processes were left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownBy {
    /// The control group: `cgroup.events` counts whoever is in it.
    Cgroup,
    /// The shim is the reaper of every orphan below it, and the kernel said that it has no child left.
    Children,
    /// With the shim gone and without a control group: the processes with the run's message file in their environment.
    Environment,
}

/// A process that lives on after its run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftProcess {
    /// Its number.
    pub pid: u32,
    /// The name the kernel has for it.
    pub name: String,
    /// Its state as `ps` has it: `D` is a sleep that nothing interrupts.
    pub state: char,
    /// Where in the kernel it sleeps, if that can be told.
    pub sleeps_in: Option<String>,
}

/// What the kernel's out-of-memory killer did to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfMemory {
    /// How many processes of the run it killed; 0 where only the host's own count rose meanwhile.
    pub kills: u64,
    /// The limit of the run, bytes, if it has one.
    pub limit: Option<u64>,
}

impl Report {
    /// The report of a run about whose end nothing is known.
    #[must_use]
    pub fn lost(why: impl Into<String>, started_at: Option<Timestamp>, ended_at: Timestamp) -> Self {
        Self {
            exit: Exit::Unknown { why: why.into() },
            stop: None,
            started_at,
            ended_at,
            duration: Duration::ZERO,
            pid: None,
            cpu: Duration::ZERO,
            max_rss_kib: 0,
            output_bytes: 0,
            message: None,
            error_tail: String::new(),
            remark: None,
            output_left_out: 0,
            tree: None,
            waited_for: None,
            oom: None,
        }
    }

    /// The status this report amounts to. Who stopped a run counts before how it then ended: a job that exits with
    /// 0 on SIGTERM has still overrun.
    #[must_use]
    pub const fn status(&self) -> Status {
        match (&self.exit, &self.stop) {
            (Exit::Unknown { .. }, _) => Status::Lost,
            (Exit::Code(0), None) => Status::Success,
            // A signal that nobody has signed among them: nobody who knows of it wanted this end.
            (Exit::SpawnFailed { .. }, _) | (_, None | Some(Stop::Signal)) => Status::Failed,
            (_, Some(Stop::Timeout | Stop::Silence { .. })) => Status::Timeout,
            (_, Some(Stop::Manual { .. })) => Status::Killed,
        }
    }

    /// The word ahead of the details: why the run is LOST or KILLED, else what one must know of it besides its end.
    #[must_use]
    pub fn reason(&self, timeout: Option<Duration>) -> Option<String> {
        let end = match self.status() {
            Status::Lost => return Some(self.describe_end(timeout)),
            Status::Killed => Some(self.describe_end(timeout)),
            _ => None,
        };
        let parts: Vec<String> = end.into_iter().chain(self.besides()).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// What one must know besides how the run ended: that memory ran out, where the end does not say so itself, and the
    /// remark.
    #[must_use]
    pub fn besides(&self) -> Option<String> {
        let is_told = self.stop.is_none() && matches!(self.exit, Exit::Signal(_));
        let oom = self.oom.filter(|_| !is_told).and_then(OutOfMemory::describe_kills);
        let parts: Vec<String> = oom.into_iter().chain(self.remark.clone()).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// How the run ended, in a line: `exit code 3`, `signal 9 (SIGKILL)`, `timed out after 30m`, `chdir: /nope: …`.
    /// For alerts, and ahead of the stderr in `error_message`.
    #[must_use]
    pub fn describe_end(&self, timeout: Option<Duration>) -> String {
        match (&self.exit, &self.stop) {
            (Exit::SpawnFailed { step, error }, _) => format!("{step}: {error}"),
            (Exit::Unknown { why }, _) => why.clone(),
            (_, Some(Stop::Timeout)) => {
                format!("timed out after {}", describe_duration(timeout.unwrap_or(self.duration)))
            }
            (_, Some(Stop::Silence { for_ms })) => {
                // Nobody counts milliseconds here.
                let lasted = Duration::from_secs((for_ms / 1000).max(1));
                format!("silent for {}, and idle", describe_duration(lasted))
            }
            (_, Some(Stop::Manual { by })) => format!("killed by {by}"),
            (_, Some(Stop::Signal)) => {
                "ended by a signal to its shim, as when the host shuts down".to_owned()
            }
            (Exit::Code(code), None) => format!("exit code {code}"),
            (Exit::Signal(signal), None) => {
                let signal = describe_signal(*signal);
                self.oom.map_or(signal.clone(), |oom| oom.describe_end(&signal))
            }
        }
    }
}

impl OutOfMemory {
    /// A main process's end by a signal: `out of memory: signal 9 (SIGKILL), limit 512.0 MiB`. Where the kernel has
    /// counted no kill of this run, it is a guess.
    fn describe_end(self, signal: &str) -> String {
        let word = if self.kills == 0 { "probably out of memory" } else { "out of memory" };
        format!("{word}: {signal}{}", self.describe_limit())
    }

    /// That processes besides the main one were killed; nothing where none is known to be.
    fn describe_kills(self) -> Option<String> {
        let count = match self.kills {
            0 => return None,
            1 => "a process".to_owned(),
            kills => format!("{kills} processes"),
        };
        Some(format!("out of memory: the kernel killed {count} of the run{}", self.describe_limit()))
    }

    fn describe_limit(self) -> String {
        self.limit.map(|limit| format!(", limit {}", size(limit))).unwrap_or_default()
    }
}

/// A signal by its number and, where it has one, its name: `signal 9 (SIGKILL)`.
#[must_use]
pub fn describe_signal(signal: i32) -> String {
    match signal_name(signal) {
        Some(name) => format!("signal {signal} ({name})"),
        None => format!("signal {signal}"),
    }
}

/// The name of a signal, by Linux's numbers on x86 and ARM (`signal(7)`).
fn signal_name(signal: i32) -> Option<&'static str> {
    const NAMES: [&str; 31] = [
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    NAMES.get(usize::try_from(signal).ok()?.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_a_line() {
        let report = |exit| Report { exit, ..Report::lost("", None, Timestamp::UNIX_EPOCH) };
        let told = |report: Report| report.describe_end(Some(Duration::from_mins(90)));
        assert_eq!(told(report(Exit::Code(3))), "exit code 3");
        assert_eq!(told(report(Exit::Signal(9))), "signal 9 (SIGKILL)");
        assert_eq!(told(report(Exit::Signal(40))), "signal 40");
        let overrun = Report { stop: Some(Stop::Timeout), ..report(Exit::Code(0)) };
        assert_eq!(overrun.status(), Status::Timeout, "whatever it says when it is told to end");
        assert_eq!(told(overrun), "timed out after 1h30m");
    }

    #[test]
    fn a_want_of_memory_is_told_with_its_limit() {
        let report = |exit, kills, limit| Report {
            exit,
            oom: Some(OutOfMemory { kills, limit }),
            ..Report::lost("", None, Timestamp::UNIX_EPOCH)
        };
        let killed = report(Exit::Signal(9), 1, Some(512 << 20));
        assert_eq!(killed.describe_end(None), "out of memory: signal 9 (SIGKILL), limit 512.0 MiB");
        assert_eq!((killed.status(), killed.reason(None)), (Status::Failed, None));
        let killed = report(Exit::Signal(9), 1, None);
        assert_eq!(killed.describe_end(None), "out of memory: signal 9 (SIGKILL)");
        let guessed = report(Exit::Signal(9), 0, None);
        assert_eq!(guessed.describe_end(None), "probably out of memory: signal 9 (SIGKILL)");
        // A shell whose command was killed tells it by its exit code, and one that does not care succeeds.
        let told = Some("out of memory: the kernel killed 2 processes of the run".to_owned());
        for code in [137, 0] {
            let child = report(Exit::Code(code), 2, None);
            assert_eq!(
                (child.describe_end(None), child.reason(None)),
                (format!("exit code {code}"), told.clone())
            );
        }
        assert_eq!(report(Exit::Code(0), 0, None).reason(None), None);
    }

    #[test]
    fn a_kill_that_took_long_says_so() {
        let remark = "process 7 (cp) could not be killed for 3m: D in nfs_wait";
        let stop = Some(Stop::Manual { by: "uid 0".into() });
        let report = Report {
            exit: Exit::Signal(9),
            stop,
            remark: Some(remark.to_owned()),
            ..Report::lost("", None, Timestamp::UNIX_EPOCH)
        };
        assert_eq!(report.reason(None), Some(format!("killed by uid 0; {remark}")));
    }
}
