//! Gathers what a run's processes are doing, in a process of its own: `jobd-shim --evidence`.
//!
//! It only looks, and may be killed at any moment: whatever it reads might keep it waiting after all. So it tells each
//! thing as soon as it knows it, the surest first, and nobody waits for the rest.

mod files;
mod output;
mod waits;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::clock;
use crate::engine::time::Monotonic;
use crate::failpoint;
use crate::os::inspect::{self, Stat};
use crate::run::RunFolder;
use crate::run::evidence::{Piece, Process, Sample, Task, Used};

/// The argument that tells this from a run.
pub const FLAG: &str = "--evidence";
/// How many processes are looked at.
const PROCESSES_MAX: usize = 500;
/// The time between two samples, when there was none before.
const WINDOW: Duration = Duration::from_millis(200);

/// Why nothing was gathered.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// It was not started as jobd and its shims do.
    #[error("usage: jobd-shim {FLAG} RUN_FOLDER PID START_TIME sample|look|compare")]
    Usage,
    /// The process is gone.
    #[error("process {0} has ended")]
    Gone(u32),
    /// Nobody listens any more.
    #[error("failed to tell what was found")]
    Tell(#[from] io::Error),
}

/// Looks at all that was started below a shim, and writes what it finds to standard output, one piece a line. The
/// arguments are the run folder, the shim's pid and start time, and what is wanted (a [`Task`]).
///
/// # Errors
/// When the arguments are none, the shim is gone, or nobody listens.
pub fn gather(arguments: impl Iterator<Item = OsString>) -> Result<(), GatherError> {
    let arguments: Vec<OsString> = arguments.collect();
    let [folder, pid, start_time, task] = &arguments[..] else { return Err(GatherError::Usage) };
    let number = |text: &OsString| text.to_str()?.parse::<u64>().ok();
    let root = number(pid).and_then(|pid| u32::try_from(pid).ok()).ok_or(GatherError::Usage)?;
    let start_time = number(start_time).ok_or(GatherError::Usage)?;
    let task = task.to_str().and_then(Task::parse).ok_or(GatherError::Usage)?;
    if inspect::stat(root).is_none_or(|shim| shim.start_time != start_time) {
        return Err(GatherError::Gone(root));
    }
    let (stats, left_out) = inspect::below(root, std::process::id(), PROCESSES_MAX);
    if task == Task::Sample {
        return Ok(tell(&Piece::Sample(sample(&stats)))?);
    }
    tell(&Piece::Processes {
        processes: stats.iter().map(process).collect(),
        left_out: u64::try_from(left_out).unwrap_or(u64::MAX),
    })?;
    look(&RunFolder::at(PathBuf::from(folder)), &stats, task)
}

/// All but the list of the processes themselves.
fn look(folder: &RunFolder, stats: &[Stat], task: Task) -> Result<(), GatherError> {
    // Its disk may be the very reason why the run hangs, so the others do not wait for it.
    let path = folder.output_path();
    let output = thread::spawn(move || output::end(&path).map_or(Ok(()), |end| tell(&Piece::Output(end))));
    let began = clock::now().monotonic;
    tell(&Piece::Sample(sample(stats)))?;
    failpoint::hang(failpoint::EVIDENCE_HANGS);
    let waits = waits::tell_all(stats)?;
    let found = files::tell_all(stats, &waits)?;
    if !found.sockets.is_empty() {
        // Where the kernel does not let us ask, the descriptors still say that there is a socket.
        tell(&Piece::Sockets(files::sockets(&found.sockets).unwrap_or_default()))?;
    }
    let locks = files::locks(stats, &found);
    tell(&Piece::Locks(locks.iter().map(|lock| lock.told.clone()).collect()))?;
    // A look at all that the whole host has open, so it comes last.
    if let Some(locks) = files::search(locks) {
        tell(&Piece::Locks(locks))?;
    }
    if task == Task::Compare {
        compare(stats, began)?;
    }
    // All else has been told by now.
    if let Ok(told) = output.join() {
        told?;
    }
    Ok(tell(&Piece::Done)?)
}

fn compare(stats: &[Stat], began: Monotonic) -> io::Result<()> {
    thread::sleep(WINDOW.saturating_sub(clock::now().monotonic.since(began)));
    let again: Vec<Stat> = stats.iter().filter_map(same).collect();
    tell(&Piece::Sample(sample(&again)))
}

/// The same process as it is now; `None` if it has ended.
fn same(before: &Stat) -> Option<Stat> {
    inspect::stat(before.pid).filter(|stat| stat.start_time == before.start_time)
}

fn process(stat: &Stat) -> Process {
    let born_ms = u128::from(stat.start_time) * 1000 / u128::from(inspect::ticks_per_second());
    let age_ms = clock::since_boot().as_millis().saturating_sub(born_ms);
    Process {
        pid: stat.pid,
        parent: stat.parent,
        depth: 0,
        name: stat.name.clone(),
        state: stat.state,
        age_ms: u64::try_from(age_ms).unwrap_or(u64::MAX),
        threads: stat.threads,
        cpu_ms: milliseconds(stat.user + stat.system),
        usage: None,
        waits: Vec::new(),
        files: Vec::new(),
        files_left_out: 0,
    }
}

fn sample(stats: &[Stat]) -> Sample {
    let used = |stat: &Stat| {
        let io = inspect::io(stat.pid);
        Used {
            pid: stat.pid,
            start_time: stat.start_time,
            user_ms: milliseconds(stat.user),
            system_ms: milliseconds(stat.system),
            read_bytes: io.map(|io| io.read),
            written_bytes: io.map(|io| io.written),
        }
    };
    let at_ms = milliseconds(clock::now().monotonic.since_boot());
    Sample { at_ms, used: stats.iter().map(used).collect() }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Writes one line, whole and at once.
fn tell(piece: &Piece) -> io::Result<()> {
    let mut line = serde_json::to_vec(piece)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// What the descriptors of the run lead to.
#[derive(Debug, Default)]
struct Found {
    /// The inodes of its sockets.
    sockets: BTreeSet<u64>,
    /// The descriptors it waits on, by process: what a lock that is awaited is a lock of.
    awaited: Vec<(u32, String)>,
    /// The locks it holds, with the paths of their files.
    held: Vec<(inspect::FileLock, u32, String)>,
}
