//! One loop that waits for everything at once: signals, the end of processes, output, and instants.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::ladder::{Act, DRAIN_LIMIT, Ladder};
use super::report;
use crate::clock;
use crate::engine::run::{Exit, Report, Stop};
use crate::engine::time::{Monotonic, Now};
use crate::os::{self, Cgroup, Ended, Output, Process, Reaped, SignalFd};
use crate::output::{LastLine, StderrTail, Stream, Writer};
use crate::run::{RunFolder, RunSpec};

/// How much is read from a pipe at once, bytes.
const READ_BYTES: usize = 128 * 1024;
/// The longest wait, ms: the loop looks around that often even if nothing happens.
const WAIT_MS_MAX: u128 = 60_000;

/// How often a pipe is read at the very end: as often as a full one takes, were it larger than we ask for, and not
/// for as long as somebody outside the run goes on writing.
const DRAIN_READS_MAX: usize = 16;

/// How many times in a row the processes of a run are listed and killed before the loop goes on with its other work.
const SWEEPS_MAX: usize = 30;

#[derive(PartialEq, Eq)]
enum Read {
    Something,
    Nothing,
}

/// A run that has been started.
pub(super) struct Supervisor<'a> {
    folder: &'a RunFolder,
    job: u32,
    started: Now,
    signals: SignalFd,
    ladder: Ladder,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    buffer: Vec<u8>,
    log: Writer<File>,
    last_line: LastLine,
    stderr_tail: StderrTail,
    cgroup: Option<Cgroup>,
    exit: Option<Exit>,
    /// Since when no process of the run is left, or none that can be killed.
    gone_since: Option<Monotonic>,
    remarks: Vec<String>,
}

impl<'a> Supervisor<'a> {
    pub(super) fn new(
        folder: &'a RunFolder,
        spec: &RunSpec,
        (job, started): (u32, Now),
        signals: SignalFd,
        output: Output,
        log: Writer<File>,
        cgroup: Option<Cgroup>,
    ) -> Self {
        Self {
            folder,
            job,
            started,
            signals,
            ladder: Ladder::new(started.monotonic, spec.timeout(), spec.stop.grace()),
            stdout: Some(output.stdout),
            stderr: Some(output.stderr),
            buffer: vec![0; READ_BYTES],
            log,
            last_line: LastLine::default(),
            stderr_tail: StderrTail::default(),
            cgroup,
            exit: None,
            gone_since: None,
            remarks: Vec::new(),
        }
    }

    /// Sees the run to its end.
    pub(super) fn run(mut self) -> Report {
        loop {
            let ready = self.wait();
            let now = clock::now();
            // Signals before ends: the other way round, the signal of a child that ends in between would be read and
            // its end not be noticed. Ends before instants: a job that has ended within its limit has not overrun.
            let is_asked = self.take_signals();
            self.reap(now.monotonic);
            if is_asked {
                self.stop(now.monotonic);
            }
            for stream in ready {
                self.read(stream, now);
            }
            self.log.flush(now);
            while let Some(act) = self.due(now.monotonic) {
                self.act(act, now.monotonic);
            }
            if self.is_over(now.monotonic) {
                return self.report(now);
            }
        }
    }

    /// Waits until something happens or is due, and says which streams have brought something.
    fn wait(&self) -> Vec<Stream> {
        let streams = [(Stream::Stdout, &self.stdout), (Stream::Stderr, &self.stderr)];
        let open = streams.into_iter().filter_map(|(stream, pipe)| Some((stream, pipe.as_ref()?)));
        let open: Vec<(Stream, &OwnedFd)> = open.collect();
        let fds = open.iter().map(|(_, pipe)| pipe.as_fd()).chain([self.signals.as_fd()]);
        let mut fds: Vec<PollFd<'_>> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        // An interruption is as good as a timeout: everything is looked at again.
        let _ = poll(&mut fds, self.timeout(clock::now().monotonic));
        let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        open.iter().zip(&fds).filter(|(_, fd)| is_ready(fd)).map(|((stream, _), _)| *stream).collect()
    }

    fn timeout(&self, now: Monotonic) -> PollTimeout {
        let drained = self.gone_since.map(|since| since.after(DRAIN_LIMIT));
        let next = if self.gone_since.is_some() { None } else { self.ladder.next_at() };
        let next = [next, self.log.flush_at(), drained].into_iter().flatten().min();
        // Rounded up: woken too early, the loop would turn at full speed for the last part of a millisecond.
        let ms = next.map_or(WAIT_MS_MAX, |next| next.since(now).as_nanos().div_ceil(1_000_000));
        i32::try_from(ms.min(WAIT_MS_MAX)).ok().and_then(|ms| ms.try_into().ok()).unwrap_or(PollTimeout::ZERO)
    }

    fn reap(&mut self, now: Monotonic) {
        if self.gone_since.is_some() {
            return;
        }
        loop {
            match os::reap() {
                Ok(Reaped::Child(pid, ended)) if pid == self.job => {
                    self.exit = Some(match ended {
                        Ended::Code(code) => Exit::Code(code),
                        Ended::Signal(signal) => Exit::Signal(signal),
                    });
                    self.ladder.main_ended(now);
                }
                // Somebody's orphan, that came to us as the subreaper.
                Ok(Reaped::Child(..)) => {}
                Ok(Reaped::Childless) => {
                    self.gone_since = Some(now);
                    return;
                }
                Ok(Reaped::None) | Err(_) => return,
            }
        }
    }

    /// Reads one piece, and no more, so that a flood on one stream holds up neither the other nor the limits.
    fn read(&mut self, stream: Stream, now: Now) -> Read {
        let pipe = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(open) = pipe else {
            return Read::Nothing;
        };
        match nix::unistd::read(open, &mut self.buffer).map_err(io::Error::from) {
            Ok(count @ 1..) => {
                let bytes = &self.buffer[..count];
                self.log.write(stream, bytes, now);
                match stream {
                    Stream::Stdout => self.last_line.feed(bytes),
                    Stream::Stderr => self.stderr_tail.feed(bytes),
                }
                Read::Something
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Read::Nothing
            }
            Ok(0) | Err(_) => {
                *pipe = None;
                Read::Nothing
            }
        }
    }

    /// Reads the signals that have arrived, and says whether one of them asks for the end of the run.
    fn take_signals(&self) -> bool {
        let mut is_asked = false;
        while let Ok(Some(signal)) = self.signals.next() {
            is_asked |= signal == Signal::SIGTERM;
        }
        is_asked
    }

    fn stop(&mut self, now: Monotonic) {
        let stop = self.folder.stopped_by().map_or(Stop::Signal, |by| Stop::Manual { by });
        if let Some(act) = self.ladder.stop(now, stop) {
            self.act(act, now);
        }
    }

    fn due(&mut self, now: Monotonic) -> Option<Act> {
        if self.gone_since.is_some() { None } else { self.ladder.due(now) }
    }

    fn act(&mut self, act: Act, now: Monotonic) {
        let processes = os::descendants(std::process::id());
        match act {
            Act::Terminate => terminate(&processes),
            Act::TerminateLeftovers => {
                self.remarks.extend(report::leftovers(processes.len()));
                terminate(&processes);
            }
            Act::Kill => {
                // Should the group be gone, so are its processes.
                if let Some(cgroup) = &self.cgroup {
                    let _ = cgroup.kill();
                }
                kill(processes);
            }
            Act::GiveUp => {
                self.remarks.extend(report::unkillable(&processes));
                self.gone_since = Some(now);
            }
        }
    }

    fn is_over(&self, now: Monotonic) -> bool {
        let closed = self.stdout.is_none() && self.stderr.is_none();
        self.gone_since.is_some_and(|since| closed || since.after(DRAIN_LIMIT) <= now)
    }

    /// Takes what is still in the pipes: the disk may have been too slow for the time there was.
    fn drain(&mut self, now: Now) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            for _ in 0..DRAIN_READS_MAX {
                if self.read(stream, now) == Read::Nothing {
                    break;
                }
            }
        }
    }

    fn report(mut self, now: Now) -> Report {
        self.drain(now);
        self.log.finish(now);
        // So that a run with a result has all of its output, also after a power cut. If the disk fails here, it has
        // failed before, and that is counted.
        if self.log.received() > 0 {
            let _ = self.log.sink().sync_data();
        }
        if self.stdout.is_some() || self.stderr.is_some() {
            self.remarks.push("its output is still held open by a process outside the run".to_owned());
        }
        if self.log.lost().bytes > 0 {
            self.remarks.push(format!("{} could not be written", self.log.lost()));
        }
        let usage = os::children_usage().ok();
        let cpu = usage.map(|usage| usage.cpu).max(self.cgroup.as_ref().and_then(Cgroup::cpu));
        if !self.ladder.has_given_up() {
            self.cgroup.iter().for_each(Cgroup::remove);
        }
        let unknown = || Exit::Unknown { why: "its main process could not be killed".to_owned() };
        Report {
            exit: self.exit.take().unwrap_or_else(unknown),
            stop: self.ladder.into_stop(),
            started_at: Some(self.started.wall),
            ended_at: now.wall,
            duration: now.monotonic.since(self.started.monotonic),
            pid: Some(self.job),
            cpu: cpu.unwrap_or_default(),
            max_rss_kib: usage.map_or(0, |usage| usage.max_rss_kib),
            output_bytes: self.log.received(),
            message: report::message(self.folder).or_else(|| self.last_line.message()),
            error_tail: self.stderr_tail.text(),
            remark: (!self.remarks.is_empty()).then(|| self.remarks.join("; ")),
            output_left_out: 0,
            tree: None,
            waited_for: None,
            oom: None,
        }
    }
}

/// SIGKILL, over and over for a while as long as new ones are found: without a control group, what forks fast enough
/// can be gone from a list before it is hit.
fn kill(mut processes: Vec<Process>) {
    for _ in 0..SWEEPS_MAX {
        if processes.is_empty() {
            break;
        }
        for process in &processes {
            process.signal(Signal::SIGKILL as i32);
        }
        processes = os::descendants(std::process::id());
    }
}

/// SIGTERM, and then SIGCONT: a process that is stopped would not take note of its end.
fn terminate(processes: &[Process]) {
    for signal in [Signal::SIGTERM, Signal::SIGCONT] {
        for process in processes {
            process.signal(signal as i32);
        }
    }
}
