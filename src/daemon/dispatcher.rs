//! The one loop that puts events in order.
//!
//! **Invariant:** the engine is called from here alone, one event at a time, and the loop itself waits for nothing but
//! the next thing to happen: whatever takes time is a task of the [`Executor`]. That is why it may feed the watchdog:
//! a loop that stands still does not.

use std::collections::BTreeMap;
use std::io;

use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::Leave;
use super::executor::Executor;
use super::reload::Reloader;
use super::systemd::{self, Watchdog};
use crate::api::supervisor::{Command, Refusal as Refused};
use crate::clock::{self, WallTimer};
use crate::engine::event::{Effect, Event, Refusal, Remark, RequestId, Wakeup};
use crate::engine::run::RunId;
use crate::engine::scheduler::Scheduler;
use crate::failpoint;

/// Where the answer to a request goes.
type Reply = oneshot::Sender<Result<Option<RunId>, Refused>>;

pub(super) struct Dispatcher {
    engine: Scheduler,
    executor: Executor,
    events: mpsc::UnboundedReceiver<Event>,
    commands: mpsc::Receiver<Command>,
    reloader: Reloader,
    replies: BTreeMap<RequestId, Reply>,
    last_request: u64,
    timer: WallTimer,
    watchdog: Watchdog,
    is_ready: bool,
}

impl Dispatcher {
    /// A dispatcher around a recovered engine.
    ///
    /// # Errors
    /// When the kernel has no timer for it.
    pub(super) fn new(
        engine: Scheduler,
        executor: Executor,
        events: mpsc::UnboundedReceiver<Event>,
        commands: mpsc::Receiver<Command>,
        reloader: Reloader,
    ) -> io::Result<Self> {
        Ok(Self {
            engine,
            executor,
            events,
            commands,
            reloader,
            replies: BTreeMap::new(),
            last_request: 0,
            timer: WallTimer::new()?,
            watchdog: Watchdog::new(),
            is_ready: false,
        })
    }

    /// Does what the engine wants.
    pub(super) fn act(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Commit(batch) => self.executor.commit(batch),
                Effect::Launch(claim) => self.executor.launch(claim),
                Effect::Arm(claim) => self.executor.arm(claim),
                Effect::Go { run } => self.executor.go(run),
                Effect::Disarm { run } => self.executor.disarm(run),
                Effect::Stop { run, by } => self.executor.stop(run, by),
                Effect::Reap { run } => self.executor.reap(run),
                Effect::Reply { request, answer } => self.reply(request, answer),
                Effect::Remark(remark) => log_remark(&remark),
            }
        }
    }

    /// Goes round until `leave` resolves, and returns what it says. `ready` is called once, when all that a start had
    /// to decide is durable.
    ///
    /// # Errors
    /// When the timer fails, without which no fire can be awaited, or `leave` does.
    pub(super) async fn run(
        &mut self,
        leave: impl Future<Output = io::Result<Leave>>,
        mut ready: impl FnMut(),
    ) -> io::Result<Leave> {
        tokio::pin!(leave);
        loop {
            if !self.is_ready && self.engine.is_settled() {
                self.is_ready = true;
                ready();
            }
            let wakeup = self.next_wakeup();
            tokio::select! {
                biased;
                leave = &mut leave => return leave,
                // Ahead of what may come without end: a loop that is busy is alive.
                () = self.watchdog.is_due() => systemd::feed_watchdog(),
                Some(event) = self.events.recv() => self.tell(event),
                Some(command) = self.commands.recv() => self.take(command),
                fired = self.timer.wait(wakeup.wall) => {
                    fired?;
                    self.tell(Event::Woke);
                }
                () = clock::sleep_until(wakeup.monotonic) => self.tell(Event::Woke),
            }
        }
    }

    fn next_wakeup(&self) -> Wakeup {
        if failpoint::is_named(failpoint::TIMERS_FAIL) {
            Wakeup::default()
        } else {
            self.engine.next_wakeup()
        }
    }

    fn tell(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.engine.handle(clock::now(), event, &mut effects);
        self.act(effects);
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Run { job, at, by, reply } => {
                info!(%job, %by, "a run is asked for");
                failpoint::panic_at("dispatcher", job.as_str());
                let request = self.await_answer(reply);
                self.tell(Event::RunRequested { request, job, at });
            }
            Command::Stop { run, by, reply } => {
                let request = self.await_answer(reply);
                self.tell(Event::StopRequested { request, run, by });
            }
            Command::CatchUp { job, at, by, reply } => {
                info!(%job, %at, %by, "a fire is to be made up for");
                let request = self.await_answer(reply);
                self.tell(Event::CatchUpRequested { request, job, at });
            }
            Command::Pause { pause, reply } => {
                let request = self.await_answer(reply);
                self.tell(Event::PauseRequested { request, pause });
            }
            Command::Resume { job, by, reply } => {
                let request = self.await_answer(reply);
                self.tell(Event::ResumeRequested { request, job, by });
            }
            Command::Acknowledge { job, by, reply } => {
                let request = self.await_answer(reply);
                self.tell(Event::AcknowledgeRequested { request, job, by });
            }
            // Nothing to decide.
            Command::Inspect { run, reply } => self.executor.inspect(run, reply),
            Command::Reload { by, reply } => {
                let reloader = self.reloader.clone();
                tokio::spawn(async move {
                    let answer = reloader.prepare(&by).await;
                    let is_to_leave = answer.is_ok();
                    // Whoever has hung up wanted it all the same.
                    let _ = reply.send(answer);
                    if is_to_leave {
                        reloader.leave();
                    }
                });
            }
        }
    }

    fn await_answer(&mut self, reply: Reply) -> RequestId {
        self.last_request += 1;
        let request = RequestId(self.last_request);
        self.replies.insert(request, reply);
        request
    }

    fn reply(&mut self, request: RequestId, answer: Result<Option<RunId>, Refusal>) {
        if let Some(reply) = self.replies.remove(&request) {
            // Whoever has hung up does not want to know.
            let _ = reply.send(answer.map_err(refused));
        }
    }
}

fn refused(refusal: Refusal) -> Refused {
    match refusal {
        Refusal::NoSuchJob { job } => Refused::NoSuchJob(job),
        Refusal::NotActive { .. }
        | Refusal::InFuture { .. }
        | Refusal::Taken { .. }
        | Refusal::QueueFull { .. }
        | Refusal::NotPaused { .. }
        | Refusal::NothingToAcknowledge { .. } => Refused::NotNow(refusal.to_string()),
        Refusal::Overlap { run, .. } => Refused::NotNow(format!(
            "{refusal}: wait for it ('jobctl logs -f {run}') or end it ('jobctl kill {run}')"
        )),
    }
}

fn log_remark(remark: &Remark) {
    match remark {
        Remark::ClockSetBack { from, to } => {
            warn!(%from, %to, "the wall clock went back by over three hours; schedules start anew from there");
        }
        Remark::AlreadyAccounted { job, scheduled_at: Some(at) } => {
            info!(%job, %at, "that fire is accounted for already");
        }
        Remark::AlreadyAccounted { job, scheduled_at: None } => info!(%job, "that run is recorded already"),
    }
}
