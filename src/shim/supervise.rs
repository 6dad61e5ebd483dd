//! One loop that waits for everything at once: signals, the end of processes, output, and instants.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::examine::Examiner;
use super::ladder::{Act, DRAIN_LIMIT, EXAMINE_MAX, Ladder};
use super::report::{self, LEFT_MAX};
use super::silence::{Activity, Watch};
use super::streams::Streams;
use crate::clock;
use crate::engine::left::{could_not_be_killed, live_on};
use crate::engine::policy::Leftover;
use crate::engine::run::{Exit, LeftProcess, Report, Stop};
use crate::engine::time::{Monotonic, Now};
use crate::engine::watch::SilenceAction;
use crate::engine::words::causes;
use crate::os::{self, Cgroup, Ended, Process, Reaped, SignalFd, Usage};
use crate::output::Stream;
use crate::run::{RunFolder, RunSpec, Silent, Stuck};

/// The longest wait, ms: the loop looks around that often even if nothing happens.
const WAIT_MS_MAX: u128 = 60_000;
/// How many times in a row the processes of a run are listed and killed before the loop goes on with its other work.
const SWEEPS_MAX: usize = 30;

/// A run that has been started.
pub(super) struct Supervisor<'a> {
    folder: &'a RunFolder,
    job: u32,
    started: Now,
    signals: SignalFd,
    ladder: Ladder,
    examiner: Examiner<'a>,
    streams: Streams,
    cgroup: Option<Cgroup>,
    exit: Option<Exit>,
    /// What the processes have used that have been waited for.
    usage: Usage,
    /// Since when no process of the run is left, or none that may not live on.
    gone_since: Option<Monotonic>,
    /// What lives on, and may.
    left: Vec<LeftProcess>,
    /// What does not die of SIGKILL, and whether word of it has been left.
    stuck: Vec<LeftProcess>,
    stuck_told: bool,
    silence: Watch,
    /// Since when the run is silent, while it is being looked at why.
    silent_since: Option<Monotonic>,
    remarks: Vec<String>,
}

impl<'a> Supervisor<'a> {
    pub(super) fn new(
        folder: &'a RunFolder,
        spec: &RunSpec,
        (job, started): (u32, Now),
        signals: SignalFd,
        streams: Streams,
        cgroup: Option<Cgroup>,
    ) -> Self {
        Self {
            folder,
            job,
            started,
            signals,
            ladder: Ladder::new(started.monotonic, spec.timeout(), spec.stop.clone(), spec.leftover),
            examiner: Examiner::new(folder, started.monotonic, spec.timeout()),
            streams,
            cgroup,
            exit: None,
            usage: Usage::default(),
            gone_since: None,
            left: Vec::new(),
            stuck: Vec::new(),
            stuck_told: false,
            silence: Watch::new(spec.silence, started.monotonic),
            silent_since: None,
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
                self.stop(now);
            }
            for stream in ready {
                self.streams.read(stream, now);
            }
            self.streams.flush(now);
            self.listen(now);
            self.watch_silence(now);
            while let Some(act) = self.due(now.monotonic) {
                self.act(act, now);
            }
            if self.is_over(now.monotonic) {
                return self.report(now);
            }
        }
    }

    /// Waits until something happens or is due, and says which streams have brought something.
    fn wait(&self) -> Vec<Stream> {
        let open: Vec<(Stream, &OwnedFd)> = self.streams.open().collect();
        let fds = open.iter().map(|(_, pipe)| pipe.as_fd()).chain([self.signals.as_fd()]);
        let fds = fds.chain(self.examiner.as_fd());
        let mut fds: Vec<PollFd<'_>> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        // An interruption is as good as a timeout: everything is looked at again.
        let _ = poll(&mut fds, self.timeout(clock::now().monotonic));
        let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        open.iter().zip(&fds).filter(|(_, fd)| is_ready(fd)).map(|((stream, _), _)| *stream).collect()
    }

    fn timeout(&self, now: Monotonic) -> PollTimeout {
        let drained = self.gone_since.map(|since| since.after(DRAIN_LIMIT));
        let steps = [self.ladder.next_at(), self.examiner.next_at(), self.silence.next_at()];
        let steps = steps.into_iter().flatten().min();
        let next = steps.filter(|_| self.gone_since.is_none());
        let next = [next, self.streams.flush_at(), drained].into_iter().flatten().min();
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
                Ok(Reaped::Child(pid, ..)) if self.examiner.reaped(pid) => {}
                Ok(Reaped::Child(pid, ended, used)) if pid == self.job => {
                    self.usage.add(used);
                    // What it was doing is of no interest any more.
                    self.examiner.conclude(now);
                    self.ladder.examined(now);
                    self.exit = Some(match ended {
                        Ended::Code(code) => Exit::Code(code),
                        Ended::Signal(signal) => Exit::Signal(signal),
                    });
                    self.ladder.main_ended(now, self.exit == Some(Exit::Code(0)));
                }
                // Somebody's orphan, that came to us as the subreaper.
                Ok(Reaped::Child(_, _, used)) => self.usage.add(used),
                Ok(Reaped::Childless) => {
                    self.gone(now);
                    return;
                }
                Ok(Reaped::None) | Err(_) => {
                    // One of our own hangs where it was looking; the run need not wait for it.
                    if self.exit.is_some() && self.examiner.has_lost_one() && self.processes().is_empty() {
                        self.gone(now);
                    }
                    return;
                }
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

    fn stop(&mut self, now: Now) {
        let stop = self.folder.stopped_by().map_or(Stop::Signal, |by| Stop::Manual { by });
        if let Some(act) = self.ladder.stop(now.monotonic, stop) {
            self.act(act, now);
        }
    }

    fn due(&mut self, now: Monotonic) -> Option<Act> {
        if self.gone_since.is_some() { None } else { self.ladder.due(now) }
    }

    /// Every process of the run that lives, and no other process of ours: who is not in this list is neither counted
    /// nor signalled.
    fn processes(&self) -> Vec<Process> {
        let mut all = os::descendants(std::process::id());
        all.retain(|process| !self.examiner.owns(process.pid));
        all
    }

    fn act(&mut self, act: Act, now: Now) {
        // Whatever else is done changes what is being looked at.
        self.examiner.conclude(now.monotonic);
        match act {
            Act::Examine => self.examine(now),
            Act::Signal(signal) => send(signal.number(), &self.processes()),
            Act::TerminateLeftovers => {
                let processes = self.processes();
                self.remarks.extend(report::leftovers(processes.len()));
                send(Signal::SIGTERM as i32, &processes);
            }
            Act::LetLive => self.let_live(now.monotonic),
            Act::Kill => self.kill(now),
            Act::TellStuck => self.tell_stuck(now),
        }
    }

    /// Begins to look at what the processes are doing; where that cannot be, goes on without.
    fn examine(&mut self, now: Now) {
        if !self.examiner.examine(now, now.monotonic.after(EXAMINE_MAX)) {
            self.ladder.examined(now.monotonic);
        }
    }

    /// Takes what has come of it.
    fn listen(&mut self, now: Now) {
        if self.gone_since.is_none() {
            self.examiner.turn(now);
        }
        if self.examiner.read(now.monotonic) {
            self.ladder.examined(now.monotonic);
        }
    }

    /// Looks whether the run has fallen silent. Then it is ended, or it is looked why and word of it is left.
    fn watch_silence(&mut self, now: Now) {
        if self.exit.is_some() || self.ladder.is_ending() {
            self.silence = Watch::new(None, now.monotonic);
            self.silent_since = None;
            return;
        }
        if let Some(since) = self.silent_since.filter(|_| !self.examiner.is_busy()) {
            self.silent_since = None;
            self.tell_silent(since, now);
        }
        if self.silence.next_at().is_none_or(|at| at > now.monotonic) {
            return;
        }
        let activity = Activity::of(&self.processes(), self.streams.received());
        match self.silence.look(now.monotonic, activity) {
            None => {}
            Some((since, SilenceAction::Kill)) => {
                let stop = Stop::Silence { for_ms: milliseconds(now.monotonic.since(since)) };
                if let Some(act) = self.ladder.stop(now.monotonic, stop) {
                    self.act(act, now);
                }
            }
            Some((since, SilenceAction::Warn)) => {
                self.examiner.examine(now, now.monotonic.after(EXAMINE_MAX));
                self.silent_since = Some(since);
            }
        }
    }

    /// Leaves word of a silence, for jobd to tell, with what the run was found to wait for. A disk that refuses the
    /// word is a matter of its own: the run goes on.
    fn tell_silent(&mut self, since: Monotonic, now: Now) {
        let evidence = self.examiner.take_evidence();
        let written = evidence.iter().map(|evidence| self.folder.write_evidence(evidence));
        self.remarks.extend(written.filter_map(|written| Some(causes(&written.err()?))));
        let lasted = now.monotonic.since(since);
        let since = now.wall.saturating_sub(lasted).unwrap_or(now.wall);
        let waits_for = evidence.and_then(|evidence| evidence.summary);
        let word = self.folder.write_silent(&Silent::new(since, milliseconds(lasted), waits_for));
        self.remarks.extend(word.err().map(|problem| causes(&problem)));
    }

    /// The run is over without those that its main process has left behind.
    fn let_live(&mut self, now: Monotonic) {
        let processes = self.processes();
        self.left = report::left(&processes);
        if self.ladder.leftover() == Leftover::Warn && !self.left.is_empty() {
            // Fewer than were listed have ended meanwhile, unless there are too many to tell of each.
            let count = if processes.len() > LEFT_MAX { processes.len() } else { self.left.len() };
            self.remarks.push(live_on(count, &self.left));
        }
        self.gone_since = Some(now);
    }

    /// SIGKILL, over and over as long as new ones are found: without a control group, what forks fast enough can be
    /// gone from a list before it is hit.
    fn kill(&mut self, now: Now) {
        // Should the group be gone, so are its processes.
        if let Some(cgroup) = &self.cgroup {
            let _ = cgroup.kill();
        }
        let mut hit = BTreeSet::new();
        for _ in 0..SWEEPS_MAX {
            let missed: Vec<Process> =
                self.processes().into_iter().filter(|process| hit.insert(*process)).collect();
            if missed.is_empty() {
                break;
            }
            for process in missed {
                process.signal(Signal::SIGKILL as i32);
            }
        }
        if self.ladder.stuck_since().is_some() {
            self.tell_stuck(now);
        }
    }

    /// Leaves word of what does not die of SIGKILL, for jobd to tell. The run goes on for as long as they live. A disk
    /// that refuses the word is tried again with each further SIGKILL.
    fn tell_stuck(&mut self, now: Now) {
        let processes = self.processes();
        if processes.is_empty() {
            self.reap(now.monotonic);
            if self.gone_since.is_none() {
                // What is left is dead, and only whoever debugs it keeps it from being waited for.
                self.gone(now.monotonic);
            }
            return;
        }
        let Some(since) = self.ladder.stuck_since().filter(|_| !self.stuck_told) else { return };
        let left = report::left(&processes);
        if left.is_empty() {
            return;
        }
        let lasted = now.monotonic.since(since);
        let since = now.wall.saturating_sub(lasted).unwrap_or(now.wall);
        self.stuck_told = self.folder.write_stuck(&Stuck::new(since, left.clone())).is_ok();
        self.stuck = left;
    }

    /// No process of the run is left.
    fn gone(&mut self, now: Monotonic) {
        if let Some(since) = self.ladder.stuck_since().filter(|_| !self.stuck.is_empty()) {
            self.remarks.push(could_not_be_killed(&self.stuck, now.since(since)));
        }
        self.gone_since = Some(now);
    }

    fn is_over(&self, now: Monotonic) -> bool {
        self.gone_since.is_some_and(|since| self.streams.are_closed() || since.after(DRAIN_LIMIT) <= now)
    }

    fn report(mut self, now: Now) -> Report {
        let is_held_open = self.streams.finish(now);
        if is_held_open && self.left.is_empty() {
            self.remarks.push("its output is still held open by a process outside the run".to_owned());
        }
        let output = self.streams.into_account();
        self.remarks.extend(output.remarks);
        let evidence = self.examiner.into_evidence();
        if let Some(evidence) = &evidence
            && let Err(error) = self.folder.write_evidence(evidence)
        {
            self.remarks.push(causes(&error));
        }
        let tree = report::tree(self.cgroup.as_ref(), self.left.clone());
        let oom = self.cgroup.as_ref().and_then(Cgroup::out_of_memory);
        let cpu = self.cgroup.as_ref().and_then(Cgroup::cpu).unwrap_or_default().max(self.usage.cpu);
        if self.left.is_empty() {
            self.cgroup.iter().for_each(Cgroup::remove);
        }
        let unknown = || Exit::Unknown { why: "a debugger keeps how its main process ended".to_owned() };
        Report {
            exit: self.exit.take().unwrap_or_else(unknown),
            stop: self.ladder.into_stop(),
            started_at: Some(self.started.wall),
            ended_at: now.wall,
            duration: now.monotonic.since(self.started.monotonic),
            pid: Some(self.job),
            cpu,
            max_rss_kib: self.usage.max_rss_kib,
            output_bytes: output.received,
            message: report::message(self.folder).or(output.last_line),
            error_tail: output.error_tail,
            remark: (!self.remarks.is_empty()).then(|| self.remarks.join("; ")),
            output_left_out: output.left_out,
            tree: Some(tree),
            waited_for: evidence.and_then(|evidence| evidence.summary),
            oom,
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A signal, and then SIGCONT: a process that is stopped would not take note of its end.
fn send(signal: i32, processes: &[Process]) {
    for signal in [signal, Signal::SIGCONT as i32] {
        for process in processes {
            process.signal(signal);
        }
    }
}
