//! What a run may use of its host: priorities, process limits, limits of its control group.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Everything an entry says about the use of the host. By default a job is as free as jobd itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// The CPU priority, -20 (first) to 19 (last); `None` is jobd's own.
    pub nice: Option<i32>,
    /// The priority of reading and writing disks; `None` is jobd's own.
    pub io: Option<IoPriority>,
    /// Limits of each process, by name (`getrlimit(2)`).
    pub rlimits: BTreeMap<Rlimit, RlimitPair>,
    /// Limits of the whole run, of its control group.
    pub group: GroupLimits,
}

/// The priority of input and output (`ioprio_set(2)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IoPriority {
    /// Before all others; level 0 (first) to 7.
    Realtime(u8),
    /// As usual; level 0 (first) to 7.
    BestEffort(u8),
    /// Only when nobody else uses the disk.
    Idle,
}

impl fmt::Display for IoPriority {
    /// As `jobs.toml` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Realtime(level) => write!(f, "realtime:{level}"),
            Self::BestEffort(level) => write!(f, "best-effort:{level}"),
            Self::Idle => f.write_str("idle"),
        }
    }
}

/// A limit of a process (`getrlimit(2)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rlimit {
    /// Address space, bytes.
    As,
    /// Size of a core file, bytes.
    Core,
    /// CPU time, seconds.
    Cpu,
    /// Data segment, bytes.
    Data,
    /// Size of a file that it writes, bytes.
    Fsize,
    /// Locked memory, bytes.
    Memlock,
    /// Open descriptors.
    Nofile,
    /// Processes of its user.
    Nproc,
    /// Stack, bytes.
    Stack,
}

impl Rlimit {
    /// All of them with the word in `jobs.toml`, and whether they count bytes.
    pub const ALL: [(Self, &'static str, bool); 9] = [
        (Self::As, "as", true),
        (Self::Core, "core", true),
        (Self::Cpu, "cpu", false),
        (Self::Data, "data", true),
        (Self::Fsize, "fsize", true),
        (Self::Memlock, "memlock", true),
        (Self::Nofile, "nofile", false),
        (Self::Nproc, "nproc", false),
        (Self::Stack, "stack", true),
    ];

    /// The word in `jobs.toml` and in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(limit, ..)| *limit == self).map_or("", |(_, word, _)| word)
    }

    /// Whether it counts bytes.
    #[must_use]
    pub fn counts_bytes(self) -> bool {
        Self::ALL.into_iter().any(|(limit, _, bytes)| limit == self && bytes)
    }
}

/// A limit that warns and one that holds; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RlimitPair {
    /// What holds now; a process may raise it up to `hard`.
    pub soft: Option<u64>,
    /// What it may not be raised over.
    pub hard: Option<u64>,
}

/// Limits of a run's control group; each needs its controller to be delegated to jobd.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupLimits {
    /// Memory of all processes together, bytes (`memory.max`).
    pub memory: Option<u64>,
    /// CPU time, in percent of one CPU (`cpu.max`).
    pub cpu_percent: Option<u64>,
    /// Processes and threads (`pids.max`).
    pub pids: Option<u64>,
    /// Whether the job is not to be started where one of them cannot be set. Otherwise it runs without, and its row
    /// says so.
    pub required: bool,
}

impl GroupLimits {
    /// The controllers that these limits need.
    pub fn controllers(&self) -> impl Iterator<Item = &'static str> {
        let needed = [
            ("memory", self.memory.is_some()),
            ("cpu", self.cpu_percent.is_some()),
            ("pids", self.pids.is_some()),
        ];
        needed.into_iter().filter_map(|(name, is_needed)| is_needed.then_some(name))
    }
}
