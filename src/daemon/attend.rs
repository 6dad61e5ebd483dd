//! One run from its launch to its end.
//!
//! **Invariant:** a run is attended until it is over. What may pass, such as a want of descriptors, is waited for; a
//! fault in jobd itself is told, and the run is taken up again by its folder, as after a restart.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::causes;
use super::executor::Executor;
use super::supervision::caught;
use crate::clock;
use crate::engine::event::Event;
use crate::engine::left::cannot_be_killed;
use crate::engine::run::{Claim, Exit, Report, RunId};
use crate::engine::time::describe_duration;
use crate::failpoint;
use crate::os;
use crate::process::{self, LaunchError, Shim};
use crate::run::{RunFolder, RunSpec};

/// Shims being started at once: each costs descriptors and syncs of the disk, and more at a time are no quicker.
const LAUNCHES_MAX: usize = 32;
/// How long a launch is tried for which the host has no resources. A storm of processes is over by then, mostly, and
/// a person who reads `started` beside `scheduled` is not surprised yet. After it, the job's alert tells.
const LAUNCH_PATIENCE: Duration = Duration::from_secs(30);
/// From one try of a launch to the next; doubles from the first to the longest.
const LAUNCH_PAUSE: Duration = Duration::from_millis(200);
const LAUNCH_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How soon a run is looked at again that could not be for want of resources.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// How often a run is taken up again after a fault in jobd itself. One that is over counts as lost then.
const FAULTS_MAX: u32 = 5;
/// The longest pause before it is.
const FAULT_PAUSE_MAX: Duration = Duration::from_mins(1);

/// Shims that are being started, and runs that wait to be.
#[derive(Debug)]
pub(super) struct Launches {
    turns: Semaphore,
    /// Whether the last launch failed for want of resources.
    is_short: AtomicBool,
    /// The runs that wait for resources, and the way to tell each that it is not wanted any more, and by whom.
    waiting: Mutex<BTreeMap<RunId, oneshot::Sender<String>>>,
}

impl Launches {
    pub(super) fn new() -> Self {
        Self {
            turns: Semaphore::new(LAUNCHES_MAX),
            is_short: AtomicBool::new(false),
            waiting: Mutex::default(),
        }
    }

    /// Keeps a run that waits for resources from being started; `false` if none of this number waits.
    pub(super) fn stop(&self, run: RunId, by: &str) -> bool {
        self.waiting().remove(&run).is_some_and(|waiting| waiting.send(by.to_owned()).is_ok())
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<RunId, oneshot::Sender<String>>> {
        // Each use leaves the map whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_shortage(&self, problem: &LaunchError) {
        if !self.is_short.swap(true, Ordering::Relaxed) {
            let patience = LAUNCH_PATIENCE.as_secs();
            warn!("a run cannot be started for now, and is tried for {patience} s: {}", causes(problem));
        }
    }

    fn note_success(&self) {
        if self.is_short.swap(false, Ordering::Relaxed) {
            info!("runs can be started again");
        }
    }
}

impl Executor {
    /// Starts a run and stays with it to its end.
    pub(super) fn launch(&self, claim: Claim) {
        let this = self.clone();
        tokio::spawn(async move {
            if let Err(fault) = caught(this.launch_and_attend(&claim)).await {
                this.attend_again(&claim, fault).await;
            }
        });
    }

    /// Takes up a run that a former jobd has launched.
    pub(super) fn adopt(&self, claim: &Claim) {
        info!(run = %claim.run, job = %claim.job, "goes on");
        let (this, claim) = (self.clone(), claim.clone());
        tokio::spawn(async move {
            if let Err(fault) = caught(this.attend(&claim, None)).await {
                this.attend_again(&claim, fault).await;
            }
        });
    }

    pub(super) async fn launch_and_attend(&self, claim: &Claim) {
        failpoint::panic_at("launch", claim.job.as_str());
        match self.start(claim).await {
            Ok(shim) => {
                self.tell_started(claim);
                self.attend(claim, Some(shim)).await;
            }
            Err(NotLaunched::Active) => self.attend(claim, None).await,
            Err(NotLaunched::Failed { step, error }) => {
                let exit = Exit::SpawnFailed { step: step.to_owned(), error };
                self.ended(claim, Report { exit, ..Report::lost("", None, clock::now().wall) });
            }
        }
    }

    async fn start(&self, claim: &Claim) -> Result<Shim, NotLaunched> {
        let Some(spec) = self.spec(claim) else {
            let error = format!("{} is not in the configuration any more", claim.job);
            return Err(NotLaunched::Failed { step: "configuration", error });
        };
        match self.try_launch(claim, &spec).await {
            Err(problem) if problem.is_shortage() => self.start_patiently(claim, &spec, problem).await,
            done => done.map_err(NotLaunched::from),
        }
    }

    /// What the shim of a run is told; `None` if the job is not configured any more.
    pub(super) fn spec(&self, claim: &Claim) -> Option<RunSpec> {
        let places = &self.0.places;
        let mut spec =
            RunSpec::new(places.specs.get(&claim.job)?, claim, &places.boot_id, places.lang.as_deref());
        spec.nofile_soft = Some(places.nofile_soft);
        Some(spec)
    }

    /// Tries until there are resources, nobody wants the run any more, or it has taken too long. Nothing has been
    /// started when a try fails, and its place in the queue of launches is free for others meanwhile.
    async fn start_patiently(
        &self,
        claim: &Claim,
        spec: &RunSpec,
        mut problem: LaunchError,
    ) -> Result<Shim, NotLaunched> {
        let launches = &self.0.launches;
        let (stop, mut stopped) = oneshot::channel();
        launches.waiting().insert(claim.run, stop);
        let deadline = clock::now().monotonic.after(LAUNCH_PATIENCE);
        let mut pause = LAUNCH_PAUSE;
        let done = loop {
            launches.note_shortage(&problem);
            if clock::now().monotonic >= deadline {
                let error = format!("{}: tried for {} s", causes(&problem), LAUNCH_PATIENCE.as_secs());
                break Err(NotLaunched::Failed { step: "launch", error });
            }
            tokio::select! {
                biased;
                Ok(by) = &mut stopped => {
                    let error = format!("{}; killed by {by} while it waited", causes(&problem));
                    return Err(NotLaunched::Failed { step: "launch", error });
                }
                () = sleep(pause) => {}
            }
            pause = (pause * 2).min(LAUNCH_PAUSE_MAX);
            match self.try_launch(claim, spec).await {
                Err(again) if again.is_shortage() => problem = again,
                done => break done.map_err(NotLaunched::from),
            }
        };
        launches.waiting().remove(&claim.run);
        if let Ok(by) = stopped.try_recv() {
            self.stop(claim.run, by);
        }
        done
    }

    async fn try_launch(&self, claim: &Claim, spec: &RunSpec) -> Result<Shim, LaunchError> {
        let launches = &self.0.launches;
        // Never closed, so there is always a permit to come.
        let _turn = launches.turns.acquire().await;
        let shim = self.0.places.launcher.launch(&self.folder(claim), spec).await?;
        launches.note_success();
        Ok(shim)
    }

    pub(super) async fn attend(&self, claim: &Claim, mut shim: Option<Shim>) {
        let folder = self.folder(claim);
        let mut is_short = false;
        let report = loop {
            failpoint::panic_at("attend", claim.job.as_str());
            let watched = tokio::select! {
                watched = process::watch(&folder, shim.take(), || clock::now().wall) => watched,
                never = self.tell_when_stuck(claim, &folder) => never,
                never = self.tell_when_silent(claim, &folder) => never,
            };
            match watched {
                Ok(report) => break report,
                // That we cannot look says nothing about the run.
                Err(problem) if problem.is_shortage() => {
                    if !is_short {
                        warn!(run = %claim.run, job = %claim.job, "it cannot be looked after: {}", causes(&problem));
                    }
                    is_short = true;
                    sleep(LOOK_PAUSE).await;
                }
                Err(problem) => {
                    let why = format!("its run folder cannot be read: {}", causes(&problem));
                    break Report::lost(why, None, clock::now().wall);
                }
            }
        };
        self.ended(claim, report);
    }

    /// Tells once that processes of a run cannot be killed. Never resolves: the run is not over with that.
    async fn tell_when_stuck<T>(&self, claim: &Claim, folder: &RunFolder) -> T {
        loop {
            match process::until_stuck(folder).await {
                Ok(stuck) => {
                    error!(run = %claim.run, job = %claim.job, "{}", cannot_be_killed(&stuck.left));
                    self.stuck(claim.run, stuck);
                    break;
                }
                Err(problem) if problem.is_shortage() => sleep(LOOK_PAUSE).await,
                Err(problem) => {
                    warn!(run = %claim.run, "{}", causes(&problem));
                    break;
                }
            }
        }
        std::future::pending().await
    }

    /// Tells once that a run says nothing and does nothing. Never resolves: the run goes on.
    async fn tell_when_silent<T>(&self, claim: &Claim, folder: &RunFolder) -> T {
        let spec = self.0.places.specs.get(&claim.job);
        while spec.is_some_and(|spec| spec.watch.silence.is_some()) {
            match process::until_silent(folder).await {
                Ok(silent) => {
                    let for_ = Duration::from_millis(silent.for_ms);
                    warn!(run = %claim.run, job = %claim.job, "silent for {}, and idle", describe_duration(for_));
                    self.tell(Event::Silent { run: claim.run, for_, waits_for: silent.waits_for });
                    break;
                }
                Err(problem) if problem.is_shortage() => sleep(LOOK_PAUSE).await,
                Err(problem) => {
                    warn!(run = %claim.run, "{}", causes(&problem));
                    break;
                }
            }
        }
        std::future::pending().await
    }

    /// Goes on after a fault in jobd itself, by the run's folder. While a shim holds the run it is never given up: it
    /// is not lost, and its shim keeps its time limit.
    pub(super) async fn attend_again(&self, claim: &Claim, mut fault: String) {
        let (run, job) = (claim.run, &claim.job);
        let mut pause = Duration::from_secs(1);
        for faults in 1_u32.. {
            if faults > FAULTS_MAX && !is_held(&self.folder(claim)) {
                error!(%run, %job, "jobd failed to look after the run, {faults} times, and gives it up: {fault}");
                let why = format!("jobd failed to look after it, {faults} times: {fault}");
                return self.ended(claim, Report::lost(why, None, clock::now().wall));
            }
            error!(%run, %job, "jobd failed to look after the run, and takes it up again in {pause:?}: {fault}");
            sleep(pause).await;
            pause = (pause * 2).min(FAULT_PAUSE_MAX);
            match caught(self.attend(claim, None)).await {
                Ok(()) => return,
                Err(again) => fault = again,
            }
        }
    }

    fn ended(&self, claim: &Claim, report: Report) {
        let (run, job, status) = (claim.run, &claim.job, report.status());
        let (took, how) = (describe_duration(report.duration), report.describe_end(claim.timeout));
        if status.is_bad() {
            warn!(%run, %job, %status, %took, "ended: {how}");
        } else {
            info!(%run, %job, %status, %took, "ended: {how}");
        }
        if let Some(remark) = &report.remark {
            warn!(%run, %job, "{remark}");
        }
        self.tell(Event::Exited { run, report: Box::new(report) });
    }
}

/// Whether a shim holds a run; one whose lock cannot be asked counts as held.
fn is_held(folder: &RunFolder) -> bool {
    match folder.open_lock() {
        Ok(Some(lock)) => os::is_locked(&lock).unwrap_or(true),
        Ok(None) => false,
        Err(_) => true,
    }
}

/// Why a run was not launched.
enum NotLaunched {
    /// It is, or was: by a jobd before this one, or by a try of ours that seemed to fail.
    Active,
    /// A step failed, and nothing has run.
    Failed { step: &'static str, error: String },
}

impl From<LaunchError> for NotLaunched {
    fn from(problem: LaunchError) -> Self {
        match problem {
            LaunchError::Held(_) | LaunchError::AlreadyStarted(_) => Self::Active,
            problem => Self::Failed { step: "launch", error: causes(&problem) },
        }
    }
}
