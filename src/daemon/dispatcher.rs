//! The one loop that puts events in order.
//!
//! **Invariant:** the engine is called from here alone, one event at a time, and the loop itself waits for nothing but
//! the next thing to happen: whatever takes time is a task of the [`Executor`]. That is why it may feed the watchdog:
//! a loop that stands still does not.

use std::collections::BTreeMap;
use std::io;

use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::executor::Executor;
use super::systemd::{self, Watchdog};
use crate::api::supervisor::{Command, Refusal as Refused};
use crate::clock::{self, WallTimer};
use crate::engine::event::{Effect, Event, Refusal, Remark, RequestId};
use crate::engine::run::RunId;
use crate::engine::scheduler::Scheduler;

/// Where the answer to a request goes.
type Reply = oneshot::Sender<Result<RunId, Refused>>;

pub(super) struct Dispatcher {
    engine: Scheduler,
    executor: Executor,
    events: mpsc::UnboundedReceiver<Event>,
    commands: mpsc::Receiver<Command>,
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
    ) -> io::Result<Self> {
        Ok(Self {
            engine,
            executor,
            events,
            commands,
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
                Effect::Stop { run, by } => self.executor.stop(run, by),
                Effect::Reap { run } => self.executor.reap(run),
                Effect::Reply { request, answer } => self.reply(request, answer),
                Effect::Remark(remark) => log_remark(&remark),
            }
        }
    }

    /// Goes round until `stop` resolves. `ready` is called once, when all that a start had to decide is durable.
    ///
    /// # Errors
    /// When the timer fails, without which no fire can be awaited.
    pub(super) async fn run(
        &mut self,
        stop: impl Future<Output = ()>,
        mut ready: impl FnMut(),
    ) -> io::Result<()> {
        tokio::pin!(stop);
        loop {
            if !self.is_ready && self.engine.is_settled() {
                self.is_ready = true;
                ready();
            }
            let wakeup = self.engine.next_wakeup();
            tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                Some(event) = self.events.recv() => self.tell(event),
                Some(command) = self.commands.recv() => self.take(command),
                fired = self.timer.wait(wakeup.wall) => {
                    fired?;
                    self.tell(Event::Woke);
                }
                () = clock::sleep_until(wakeup.monotonic) => self.tell(Event::Woke),
                () = self.watchdog.is_due() => systemd::feed_watchdog(),
            }
        }
    }

    fn tell(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.engine.handle(clock::now(), event, &mut effects);
        self.act(effects);
    }

    fn take(&mut self, command: Command) {
        self.last_request += 1;
        let request = RequestId(self.last_request);
        let event = match command {
            Command::Run { job, at, by, reply } => {
                info!(%job, %by, "a run is asked for");
                self.replies.insert(request, reply);
                Event::RunRequested { request, job, at }
            }
            Command::Stop { run, by, reply } => {
                self.replies.insert(request, reply);
                Event::StopRequested { request, run, by }
            }
        };
        self.tell(event);
    }

    fn reply(&mut self, request: RequestId, answer: Result<RunId, Refusal>) {
        if let Some(reply) = self.replies.remove(&request) {
            // Whoever has hung up does not want to know.
            let _ = reply.send(answer.map_err(refused));
        }
    }
}

fn refused(refusal: Refusal) -> Refused {
    match refusal {
        Refusal::NoSuchJob { job } => Refused::NoSuchJob(job),
        Refusal::NotActive { .. } | Refusal::InFuture { .. } | Refusal::Taken { .. } => {
            Refused::NotNow(refusal.to_string())
        }
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
