//! How soon after its instant a job starts, and what a crowd of jobs costs.
//!
//! Run it with `cargo bench --bench launch`. A real jobd fires a child that does nothing but to read the clock first
//! and to write it down: one job alone each second, `BENCH_CROWD` jobs (500) and `BENCH_FLOOD` jobs (10,000) at one
//! instant, and `BENCH_JOBS` jobs (100,000) that never fire. The child is this program. What counts is the time from
//! the instant to the child's first instruction, a commit included; beside it stands what a bare fork and exec of the
//! same child takes. The limits are 4 ms for one job at the median, 0.5 s for the last of the crowd, 2 s from the start
//! of jobd to ready with all jobs, and 1 % of a processor when nothing is due. Of the flood there is no limit for the
//! last child, which waits for a place; meanwhile `jobctl` must be answered. State is kept below `TMPDIR`.

use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use jobctl::clock;
use jobctl::engine::time::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Tells this program that it is the child, and where to write.
const CHILD: &str = "--child";
/// How many fires of one job are measured.
const FIRES: usize = 40;
/// How far ahead the instant of a crowd lies: time to start jobd and to be ready for it.
const AHEAD: i64 = 25;
const PATIENCE: Duration = Duration::from_mins(4);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long an idle jobd is watched.
const IDLE: Duration = Duration::from_secs(20);
/// How long after it is ready: what is done once, right after a start, is no idleness.
const SETTLED: Duration = Duration::from_secs(5);
/// Jobs of one file: a file is at most 1 MiB.
const JOBS_PER_FILE: usize = 2_000;
/// What may run at once: more than the crowd, fewer than the flood.
const RUNNING_MAX: usize = 1_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A jobd with a directory of its own.
struct Jobd {
    directory: tempfile::TempDir,
    process: Option<Child>,
}

impl Jobd {
    fn new() -> Outcome<Self> {
        Ok(Self { directory: tempfile::tempdir()?, process: None })
    }

    /// Writes a configuration of so many jobs, all with this schedule.
    fn configure(&self, count: usize, schedule: &str) -> Outcome<()> {
        let parts = self.path("conf.d");
        fs::create_dir(&parts)?;
        let main =
            format!("timezone = \"UTC\"\nmax_running = {RUNNING_MAX}\ninclude = [\"conf.d/*.toml\"]\n");
        fs::write(self.path("jobs.toml"), main)?;
        let program = std::env::current_exe()?;
        let starts = self.path("starts");
        let command = [program.to_string_lossy(), CHILD.into(), starts.to_string_lossy()];
        for first in (0..count).step_by(JOBS_PER_FILE) {
            let mut text = String::new();
            for n in first..count.min(first + JOBS_PER_FILE) {
                writeln!(text, "[jobs.job-{n}]\nschedule = \"{schedule}\"\ncatch_up = \"skip\"")?;
                writeln!(text, "command = {command:?}")?;
            }
            fs::write(parts.join(format!("{first:06}.toml")), text)?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts jobd, and says how long it takes to be ready.
    fn start(&mut self) -> Outcome<Duration> {
        let began = clock::now().monotonic;
        let mut command = Command::new(env!("CARGO_BIN_EXE_jobd"));
        command.env("JOBD_CONFIG", self.path("jobs.toml")).env("JOBD_STATE_DIR", self.path("state"));
        command.env("JOBD_SOCKET", self.path("socket")).env("JOBD_SHIM", env!("CARGO_BIN_EXE_jobd-shim"));
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let log = process.stderr.take().ok_or("no log")?;
        self.process = Some(process);
        let mut lines = BufReader::new(log).lines();
        for line in lines.by_ref() {
            if line?.contains(" ready") {
                let took = clock::now().monotonic.since(began);
                // Whoever logs must not wait for a reader.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(took);
            }
        }
        Err("jobd does not become ready".into())
    }

    fn stop(&mut self) -> Outcome<()> {
        if let Some(mut process) = self.process.take() {
            kill(Pid::from_raw(process.id().try_into()?), Signal::SIGTERM)?;
            process.wait()?;
        }
        Ok(())
    }

    /// How late each child was, once there are so many; in order.
    fn lateness(&self, count: usize, mut meanwhile: impl FnMut() -> Outcome<()>) -> Outcome<Vec<Duration>> {
        let deadline = clock::now().monotonic.after(PATIENCE);
        loop {
            meanwhile()?;
            let text = fs::read_to_string(self.path("starts")).unwrap_or_default();
            if text.lines().count() >= count {
                let mut late: Vec<Duration> = text.lines().map(lateness_of).collect::<Outcome<_>>()?;
                late.sort();
                return Ok(late);
            }
            if clock::now().monotonic > deadline {
                return Err(format!("{} of {count} have started", text.lines().count()).into());
            }
            sleep(LOOK_INTERVAL);
        }
    }

    /// How long `jobctl status` takes.
    fn ask(&self) -> Outcome<Duration> {
        let began = clock::now().monotonic;
        let mut jobctl = Command::new(env!("CARGO_BIN_EXE_jobctl"));
        jobctl
            .arg("status")
            .env("JOBD_SOCKET", self.path("socket"))
            .env("JOBD_STATE_DIR", self.path("state"));
        let status = jobctl.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if status.code().is_none_or(|code| code > 1) {
            return Err(format!("jobctl status: {status}").into());
        }
        Ok(clock::now().monotonic.since(began))
    }

    /// The processor time that jobd has used, of a processor, while it was watched.
    fn idle_share(&self) -> Outcome<f64> {
        let pid = self.process.as_ref().ok_or("jobd is not there")?.id();
        sleep(SETTLED);
        let before = processor_time(pid)?;
        sleep(IDLE);
        Ok((processor_time(pid)? - before) / IDLE.as_secs_f64())
    }

    /// KiB.
    fn memory(&self) -> Outcome<u64> {
        let pid = self.process.as_ref().ok_or("jobd is not there")?.id();
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim_end_matches("kB").trim().parse()?)
    }
}

impl Drop for Jobd {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn lateness_of(line: &str) -> Outcome<Duration> {
    let (due, started) = line.split_once(' ').ok_or("a torn line")?;
    let (due, started): (Timestamp, Timestamp) = (due.parse()?, started.parse()?);
    Ok(Duration::try_from(started.duration_since(due))?)
}

/// Seconds.
fn processor_time(pid: u32) -> Outcome<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        fields.get(11).ok_or("stat")?.parse::<u32>()? + fields.get(12).ok_or("stat")?.parse::<u32>()?;
    Ok(f64::from(ticks) / 100.0)
}

/// Reads the clock first of all.
fn child(path: &Path) -> Outcome<()> {
    let started = clock::now().wall;
    let due = std::env::var("JOBD_SCHEDULED_AT").unwrap_or_else(|_| started.to_string());
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    // One write is one line, however many children there are.
    file.write_all(format!("{due} {started}\n").as_bytes())?;
    Ok(())
}

/// What a fork and exec of the child takes, without anybody in between.
fn bare(directory: &Path) -> Outcome<Duration> {
    let path = directory.join("bare");
    for _ in 0..FIRES {
        let due = clock::now().wall.to_string();
        let mut child = Command::new(std::env::current_exe()?);
        child.env("JOBD_SCHEDULED_AT", due).arg(CHILD).arg(&path).status()?;
    }
    let text = fs::read_to_string(path)?;
    let mut took: Vec<Duration> = text.lines().map(lateness_of).collect::<Outcome<_>>()?;
    took.sort();
    Ok(took[took.len() / 2])
}

fn row(what: &str, figure: &str, limit: &str) {
    println!("{what:58} {figure:>12} {limit:>12}");
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn alone() -> Outcome<()> {
    let mut jobd = Jobd::new()?;
    jobd.configure(1, "* * * * * *")?;
    let bare = bare(jobd.directory.path())?;
    jobd.start()?;
    let late = jobd.lateness(FIRES, || Ok(()))?;
    row("a bare fork and exec, median", &milliseconds(bare), "");
    row("one job alone, median", &milliseconds(late[late.len() / 2]), "4 ms");
    row("one job alone, worst", &milliseconds(late[late.len() - 1]), "");
    jobd.stop()
}

/// So many jobs at one instant. A crowd that is to be on time has the host for itself; the rest is asked about.
fn crowd(count: usize, limit: Option<&str>) -> Outcome<()> {
    let instant =
        Timestamp::from_second(clock::now().wall.as_second() + AHEAD + i64::try_from(count / 500)?)?;
    let mut jobd = Jobd::new()?;
    jobd.configure(count, &instant.strftime("%-S %-M %-H * * *").to_string())?;
    jobd.start()?;
    if clock::now().wall > instant {
        return Err("jobd was not ready in time for the crowd".into());
    }
    let mut slowest = Duration::ZERO;
    let late = jobd.lateness(count, || {
        if limit.is_none() {
            slowest = slowest.max(jobd.ask()?);
        }
        Ok(())
    })?;
    if late.len() != count {
        return Err(format!("{} starts for {count} fires", late.len()).into());
    }
    row(&format!("{count} jobs at one instant, median"), &milliseconds(late[count / 2]), "");
    row(
        &format!("{count} jobs at one instant, last"),
        &milliseconds(late[count - 1]),
        limit.unwrap_or_default(),
    );
    if limit.is_none() {
        row(&format!("{count} jobs at one instant, slowest jobctl status"), &milliseconds(slowest), "");
    }
    jobd.stop()
}

fn registered(count: usize) -> Outcome<()> {
    let mut jobd = Jobd::new()?;
    jobd.configure(count, "0 0 29 2 *")?;
    let first = jobd.start()?;
    jobd.stop()?;
    let again = jobd.start()?;
    let share = jobd.idle_share()?;
    row(&format!("{count} jobs, ready after the first start"), &milliseconds(first), "2000 ms");
    row(&format!("{count} jobs, ready after the next start"), &milliseconds(again), "2000 ms");
    row(&format!("{count} jobs, resident memory"), &format!("{} MiB", jobd.memory()? / 1024), "");
    row(&format!("{count} jobs, processor while idle"), &format!("{:.2} %", share * 100.0), "1 %");
    jobd.stop()
}

fn number(name: &str, default: usize) -> Outcome<usize> {
    Ok(std::env::var(name).map_or(Ok(default), |text| text.parse())?)
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == CHILD) {
        return child(Path::new(&arguments.next().ok_or("where to?")?));
    }
    row("what", "measured", "at most");
    alone()?;
    crowd(number("BENCH_CROWD", 500)?, Some("500 ms"))?;
    crowd(number("BENCH_FLOOD", 10_000)?, None)?;
    registered(number("BENCH_JOBS", 100_000)?)
}
