//! What a job's output costs on its way through `jobd-shim`, beside what a pipe into a file costs.
//!
//! Run it with `cargo bench --bench output`. The same file of 100-byte lines is written by `cat`, in turns through the
//! real `jobd-shim` into a run folder, and through `cat > file`; `BENCH_BYTES` is its size (1 GiB). The time of a run
//! is from the start of the shim to its end, with the result and all of the output on the disk, so the pipe's file is
//! synced too; without that it is the second figure. All is written below `TMPDIR`: on a disk it is mostly the disk
//! that is measured, and a file system in memory shows what the shim itself costs. The limits are twice the time of the
//! pipe and 16 MiB for the shim.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use jobctl::os;
use jobctl::run::{RunFolder, RunSpec};
use serde_json::json;

const BYTES: u64 = 1 << 30;
/// What a line has ahead of its words: a number and a space.
const NUMBER_WIDTH: usize = 12;
/// What a line is filled up to with spaces behind its number: with both and the newline it has 100 bytes.
const WORDS_WIDTH: usize = 86;
const LINE_BYTES: u64 = 100;
/// How often each is timed; the median counts.
const ROUNDS: usize = 5;
/// How often the shim's memory is looked at. The kernel keeps its peak.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

type Outcome<T> = Result<T, Box<dyn Error>>;

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn timed<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(Duration, T)> {
    let start = Instant::now();
    let done = work()?;
    Ok((start.elapsed(), done))
}

/// The file that is written over and over.
fn prepare(path: &Path, bytes: u64) -> Outcome<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for n in 0..bytes / LINE_BYTES {
        writeln!(file, "{n:0NUMBER_WIDTH$} {:WORDS_WIDTH$}", "a line as programs write them")?;
    }
    file.into_inner()?.sync_all()?;
    Ok(())
}

/// `cat input | cat > output`, without and with the sync that makes it as lasting as a run.
fn by_pipe(input: &Path, directory: &Path) -> Outcome<(Duration, Duration)> {
    let output = directory.join("output");
    let (written, ()) = timed(|| {
        let status = Command::new("sh")
            .args(["-c", "cat \"$1\" | cat > \"$2\"", "sh"])
            .args([input, &output])
            .status()?;
        if status.success() { Ok(()) } else { Err(format!("the pipe: {status}").into()) }
    })?;
    let (synced, ()) = timed(|| Ok(File::open(&output)?.sync_data()?))?;
    fs::remove_file(output)?;
    Ok((written, written + synced))
}

/// The same by a run, and the peak of the shim's memory, KiB.
fn by_shim(input: &Path, directory: &Path, limit: Option<u64>) -> Outcome<(Duration, u64)> {
    let folder = RunFolder::at(directory.join("run"));
    fs::create_dir(folder.path())?;
    let spec: RunSpec = serde_json::from_value(json!({
        "version": 2, "run": 1, "job": "bench", "boot_id": os::boot_id()?, "due_at": "2026-03-01T01:00:00Z",
        "trigger": "schedule", "attempt": 1,
        "command": { "command": ["cat", input] }, "stop": [], "cwd": "/", "env": {}, "umask": 18,
        "output_limit": limit, "zone": "UTC", "lang": "C.UTF-8",
    }))?;
    folder.write_spec(&spec)?;
    let lock = folder.create_lock()?;
    if !os::try_lock(&lock)? {
        return Err("the lock is held".into());
    }
    let mut shim = Command::new(env!("CARGO_BIN_EXE_jobd-shim"));
    shim.arg(folder.path()).stdin(Stdio::from(OwnedFd::from(lock)));
    let (took, peak) = timed(|| {
        let mut child = shim.spawn()?;
        let mut peak = 0;
        while child.try_wait()?.is_none() {
            peak = peak.max(memory_peak(child.id()).unwrap_or(0));
            thread::sleep(LOOK_INTERVAL);
        }
        Ok(peak)
    })?;
    let result = folder.result()?.ok_or("the run has no result")?;
    let bytes = fs::metadata(input)?.len();
    if result.output_bytes != bytes || limit.is_none() && fs::metadata(folder.output_path())?.len() < bytes {
        return Err(format!("output is missing: {result:?}").into());
    }
    fs::remove_dir_all(folder.path())?;
    Ok((took, peak))
}

/// The peak of a process's resident memory, KiB.
fn memory_peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() -> Outcome<()> {
    let bytes = std::env::var("BENCH_BYTES").ok().map_or(Ok(BYTES), |bytes| bytes.parse())?;
    let directory = tempfile::tempdir()?;
    let input = directory.path().join("input");
    prepare(&input, bytes)?;
    let (mut pipes, mut synced, mut shims, mut limited) = (vec![], vec![], vec![], vec![]);
    let mut peak = 0;
    println!("{:>10} {:>10} {:>10} {:>10} {:>10}", "pipe ms", "and sync", "shim ms", "limited", "shim KiB");
    for _ in 0..ROUNDS {
        let (pipe, pipe_synced) = by_pipe(&input, directory.path())?;
        let (shim, shim_peak) = by_shim(&input, directory.path(), None)?;
        let (shim_limited, limited_peak) = by_shim(&input, directory.path(), Some(bytes / 10))?;
        peak = peak.max(shim_peak).max(limited_peak);
        let ms = [pipe, pipe_synced, shim, shim_limited].map(|time| time.as_millis());
        println!(
            "{:>10} {:>10} {:>10} {:>10} {:>10}",
            ms[0],
            ms[1],
            ms[2],
            ms[3],
            shim_peak.max(limited_peak)
        );
        pipes.push(pipe);
        synced.push(pipe_synced);
        shims.push(shim);
        limited.push(shim_limited);
    }
    let ratio = |a: &[Duration], b: &[Duration]| median(a.to_vec()).div_duration_f64(median(b.to_vec()));
    println!(
        "{bytes} bytes: {:.2} times the pipe and sync of 2.00, {:.2} times the pipe alone; with a limit of a tenth \
         {:.2} times; peak {peak} KiB of 16384",
        ratio(&shims, &synced),
        ratio(&shims, &pipes),
        ratio(&limited, &pipes),
    );
    Ok(())
}
