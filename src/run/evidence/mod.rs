//! `evidence.json`: what a run's processes were doing before they were made to end.
//!
//! It is gathered by a process of its own, which may be cut off at any moment: it tells what it finds piece by piece
//! ([`Piece`]), and whoever reads it makes the most of the pieces that came.

mod culprit;
mod doing;
mod pieces;

use serde::{Deserialize, Serialize};

pub use pieces::{Gathered, Piece, Sample, Task, Used};

use super::EVIDENCE_VERSION;
use crate::engine::time::Timestamp;

/// What a run's processes were doing at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The version of this file.
    pub version: u32,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// How long that took.
    pub took_ms: u64,
    /// Whether all of it was found before the limit.
    pub is_whole: bool,
    /// What the run waits for, in a line.
    pub summary: Option<String>,
    /// Its processes, parents ahead of their children.
    #[serde(default)]
    pub processes: Vec<Process>,
    /// How many more there were.
    #[serde(default)]
    pub processes_left_out: u64,
    /// The sockets they had open.
    #[serde(default)]
    pub sockets: Vec<Socket>,
    /// The locks on files that they held or waited for.
    #[serde(default)]
    pub locks: Vec<Lock>,
    /// The end of the output.
    #[serde(default)]
    pub output: Option<Output>,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Who started it, or took it over.
    pub parent: u32,
    /// How many processes of the run are above it.
    #[serde(default)]
    pub depth: u32,
    /// The name the kernel has for it, with control characters escaped.
    pub name: String,
    /// Its state as `ps` has it: `R` runs, `S` sleeps, `D` sleeps and cannot be interrupted, `T` is stopped, `Z` has
    /// ended.
    pub state: char,
    /// Since it was started.
    pub age_ms: u64,
    /// How many threads it has.
    pub threads: u32,
    /// CPU time it has used in all.
    pub cpu_ms: u64,
    /// What it has used in the last moments.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// What its threads wait for: the main one, and those of the others that say something.
    #[serde(default)]
    pub waits: Vec<Wait>,
    /// What it has open.
    #[serde(default)]
    pub files: Vec<OpenFile>,
    /// How many more descriptors it has open.
    #[serde(default)]
    pub files_left_out: u64,
}

/// What a process has used over a stretch of time that ended when the evidence was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The stretch.
    pub window_ms: u64,
    /// CPU time in its own code.
    pub user_ms: u64,
    /// CPU time in the kernel.
    pub system_ms: u64,
    /// Bytes read from anything; `null` where we may not look.
    pub read_bytes: Option<u64>,
    /// Bytes written to anything.
    pub written_bytes: Option<u64>,
}

/// What a thread waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// The thread; the main one has the process's number.
    pub tid: u32,
    /// Its state.
    pub state: char,
    /// The function of the kernel in which it sleeps.
    pub wchan: Option<String>,
    /// The system call in which it waits; `null` while it runs, or where we may not look.
    pub call: Option<Call>,
    /// The kernel's stack, the innermost first; empty where we may not look.
    #[serde(default)]
    pub stack: Vec<String>,
}

/// A system call under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Its name: `recvfrom`.
    pub name: String,
    /// The descriptor it is about.
    pub fd: Option<u32>,
    /// All six arguments, in hexadecimal; the call may take fewer.
    pub arguments: Vec<String>,
}

/// An open descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFile {
    /// Its number.
    pub fd: u32,
    /// A path, or what the kernel says instead: `socket:[4711]`, `pipe:[4712]`, `anon_inode:[eventpoll]`.
    pub target: String,
    /// What it is open for: `r`, `w`, `rw`.
    pub mode: String,
    /// How far it has been read or written.
    pub position: u64,
    /// The descriptors it watches, of one made by `epoll_create`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watched: Vec<u32>,
}

/// A socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// What descriptors name it by.
    pub inode: u64,
    /// `tcp`, `udp` or `unix`.
    pub kind: String,
    /// `established`, `syn-sent`, `listen`, …
    pub state: String,
    /// Its own address.
    pub local: Option<String>,
    /// The other end's.
    pub peer: Option<String>,
    /// The other end, of `unix`.
    #[serde(default)]
    pub peer_inode: Option<u64>,
    /// Bytes that have come and not been read; of one that listens, connections not taken.
    pub unread: u32,
    /// Bytes that were written and the peer has not taken.
    pub unsent: u32,
    /// TCP's own books.
    #[serde(default)]
    pub tcp: Option<Tcp>,
}

/// What TCP knows of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tcp {
    /// Bytes that ever came.
    pub received_bytes: u64,
    /// For how long none has come; while none ever did, the age of the connection.
    pub since_received_ms: u64,
    /// For how long none was sent.
    pub since_sent_ms: u64,
    /// How often what waits for its acknowledgment was sent again.
    pub retransmits: u8,
}

/// A lock on a file that a process of the run holds or waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// `FLOCK`, `POSIX`, `OFDLCK`, `LEASE`.
    pub kind: String,
    /// `READ` or `WRITE`.
    pub mode: String,
    /// The file, where a descriptor of the run names it.
    pub path: Option<String>,
    /// The file's system and number, as the kernel writes them: `fe:00:11691`.
    pub file: String,
    /// Who holds it; empty if that cannot be told.
    pub held_by: Vec<Named>,
    /// Who of the run waits for it.
    pub awaited_by: Vec<Named>,
}

/// A process by number and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its number.
    pub pid: u32,
    /// Its name; empty if it has ended.
    pub name: String,
}

/// The end of a run's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// For how long nothing was written; `null` if nothing ever was.
    pub since_last_ms: Option<u64>,
    /// The last lines, the newest last.
    pub lines: Vec<String>,
}

impl Evidence {
    /// Evidence of nothing: it could not be had.
    #[must_use]
    pub const fn none(taken_at: Timestamp) -> Self {
        Self {
            version: EVIDENCE_VERSION,
            taken_at,
            took_ms: 0,
            is_whole: false,
            summary: None,
            processes: Vec::new(),
            processes_left_out: 0,
            sockets: Vec::new(),
            locks: Vec::new(),
            output: None,
        }
    }

    /// What a process does, in words to be read after its name.
    #[must_use]
    pub fn doing(&self, process: &Process) -> String {
        if process.has_ended() { "has ended".to_owned() } else { doing::doing(self, process).words }
    }

    fn process(&self, pid: u32) -> Option<&Process> {
        self.processes.iter().find(|process| process.pid == pid)
    }

    fn process_mut(&mut self, pid: u32) -> Option<&mut Process> {
        self.processes.iter_mut().find(|process| process.pid == pid)
    }

    /// The socket that a descriptor's target names.
    #[must_use]
    pub fn socket(&self, target: &str) -> Option<&Socket> {
        let inode: u64 = target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
        self.sockets.iter().find(|socket| socket.inode == inode)
    }
}

impl Process {
    /// Whether it has ended and only waits for its parent to take note.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    fn file(&self, fd: u32) -> Option<&OpenFile> {
        self.files.iter().find(|file| file.fd == fd)
    }
}

impl Usage {
    /// CPU time in hundredths of one processor.
    #[must_use]
    pub fn cpu_percent(&self) -> u64 {
        let used = (self.user_ms + self.system_ms) * 100;
        (used + self.window_ms / 2).checked_div(self.window_ms).unwrap_or_default()
    }
}
