//! The loop that delivers: looks at what is due, starts what may start, writes down how it went, and sleeps.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{ChannelSender, Outbox, Outgoing, RetryAfter, Wording, backoff};
use crate::clock;
use crate::engine::time::{Monotonic, Now, Timestamp};
use crate::engine::words::causes;
use crate::failpoint::Failpoint;

/// How many due messages are read at once; twice as many, and so on, while a channel that could send finds none of
/// its own among them. At the bound, a channel waits until others' older messages are out of the way.
const PAGE: u32 = 64;
const PAGE_MAX: u32 = 4_096;

/// The longest sleep while a message waits for its next try, so that a wall clock set forward is noticed.
const SLEEP_MAX: Duration = Duration::from_mins(1);

/// How long to wait after the store could not answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// The pace of delivery.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From one message of a channel to its next: Slack takes about one a second.
    pub spacing: Duration,
    /// The wait after a message's first failed try; doubles with each.
    pub backoff_first: Duration,
    /// The longest wait between two tries.
    pub backoff_max: Duration,
    /// The longest wait that a channel's `Retry-After` is granted.
    pub retry_after_max: Duration,
    /// How long messages on their way may still take when jobd stops. One that is cut off is sent again later.
    pub farewell: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            spacing: Duration::from_secs(1),
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_mins(5),
            retry_after_max: Duration::from_hours(1),
            farewell: Duration::from_secs(2),
        }
    }
}

/// Delivers the outbox until `shutdown`. `wake` is told of each new message; nothing is polled while none waits.
///
/// A channel that is not among `channels` (its entry was removed) keeps its messages, tried on and on and failing
/// visibly, until it is there again.
pub async fn run<O: Outbox>(
    outbox: O,
    channels: BTreeMap<String, ChannelSender>,
    wording: Wording,
    limits: Limits,
    wake: Arc<Notify>,
    shutdown: CancellationToken,
) {
    let lanes = channels.into_iter().map(|(name, sender)| (name, Lane::new(sender))).collect();
    let mut delivery = Delivery { outbox, lanes, wording, limits, marks: VecDeque::new() };
    let mut sends = Sends::new();
    loop {
        let pause = delivery.turn(&mut sends).await;
        let sleep = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(sent) = sends.next() => delivery.settle(sent),
            () = wake.notified() => {}
            () = sleep => {}
        }
    }
    delivery.say_goodbye(sends).await;
}

/// Messages on their way.
type Sends = FuturesUnordered<BoxFuture<'static, Sent>>;

/// A try that is over.
struct Sent {
    message: Outgoing,
    failure: Option<Failure>,
}

/// Why a try failed, in words, and when the channel wants to be asked again.
struct Failure {
    error: String,
    retry_after: Option<RetryAfter>,
}

/// One channel's way out.
struct Lane {
    sender: Arc<ChannelSender>,
    /// Whether a message is on its way.
    busy: bool,
    /// When the next may leave.
    free_at: Monotonic,
}

impl Lane {
    fn new(sender: ChannelSender) -> Self {
        Self { sender: Arc::new(sender), busy: false, free_at: Monotonic::new(Duration::ZERO) }
    }

    fn is_free(&self, now: Now) -> bool {
        !self.busy && now.monotonic >= self.free_at
    }
}

/// What is to be written down about a try.
enum Mark {
    Delivered { id: u64, at: Timestamp },
    Failed { id: u64, next_try_at: Timestamp, error: String },
}

struct Delivery<O> {
    outbox: O,
    lanes: BTreeMap<String, Lane>,
    wording: Wording,
    limits: Limits,
    /// Not yet in the store. They are written before anything else is looked at: a message whose mark is missing
    /// still counts as due, and must not be sent again for that.
    marks: VecDeque<Mark>,
}

impl<O: Outbox> Delivery<O> {
    /// Does what can be done now, and tells how long to sleep unless something happens; `None` is until it does.
    async fn turn(&mut self, sends: &mut Sends) -> Option<Duration> {
        match self.try_turn(sends).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(error = %causes(&error), "the outbox cannot be read or written; will try again");
                Some(STORE_PAUSE)
            }
        }
    }

    async fn try_turn(&mut self, sends: &mut Sends) -> Result<Option<Duration>, O::Error> {
        self.write_marks().await?;
        let Some(next) = self.outbox.outbox_next().await? else { return Ok(None) };
        let now = clock::now();
        let until = self.horizon(now, next);
        if next > until {
            let wait = Duration::try_from(next.duration_since(now.wall)).unwrap_or_default();
            return Ok(Some(wait.min(SLEEP_MAX)));
        }
        self.start_due(now, until, sends).await?;
        self.write_marks().await?;
        // Something is due: it was started, or its channel is busy or paused. What lies behind it shows only then.
        Ok(Some(self.limits.spacing))
    }

    /// Up to which next try messages count as due. No wait reaches further than the longest one, so a message beyond
    /// that was put off by a clock that has been set back since, and is due.
    fn horizon(&self, now: Now, next: Timestamp) -> Timestamp {
        let longest = self.limits.backoff_max.max(self.limits.retry_after_max);
        if next > later(now.wall, longest) { next } else { now.wall }
    }

    /// Starts one message of each channel that is free and has one.
    async fn start_due(&mut self, now: Now, until: Timestamp, sends: &mut Sends) -> Result<(), O::Error> {
        let (mut seen, mut limit) = (0, PAGE);
        loop {
            let due = self.outbox.outbox_due(until, limit).await?;
            let found = due.len();
            // A longer page begins with the one before it, which is dealt with.
            for message in due.into_iter().skip(seen) {
                self.start(now, message, sends);
            }
            let whole = u32::try_from(found).is_ok_and(|found| found < limit);
            seen = found;
            let idle = self.lanes.values().any(|lane| lane.is_free(now));
            if whole || !idle || limit >= PAGE_MAX {
                return Ok(());
            }
            limit *= 2;
        }
    }

    fn start(&mut self, now: Now, message: Outgoing, sends: &mut Sends) {
        let Some(lane) = self.lanes.get_mut(&message.channel) else {
            let error = format!("no channel {:?} in the configuration", message.channel);
            return self.fail(now, &message, Failure { error, retry_after: None });
        };
        if !lane.is_free(now) {
            return;
        }
        match self.wording.message(&message.notice) {
            Ok(text) => {
                lane.busy = true;
                lane.free_at = now.monotonic.after(self.limits.spacing);
                sends.push(Box::pin(send(Arc::clone(&lane.sender), message, text)));
            }
            Err(error) => self.fail(now, &message, Failure { error: causes(&error), retry_after: None }),
        }
    }

    /// Takes note of a try that is over.
    fn settle(&mut self, sent: Sent) {
        let now = clock::now();
        if let Some(lane) = self.lanes.get_mut(&sent.message.channel) {
            lane.busy = false;
        }
        match sent.failure {
            None => {
                Failpoint::AfterDelivery.pass();
                self.marks.push_back(Mark::Delivered { id: sent.message.id, at: now.wall });
            }
            Some(failure) => self.fail(now, &sent.message, failure),
        }
    }

    /// Puts a message off. A channel that named a time is left alone until then, with all of its messages.
    fn fail(&mut self, now: Now, message: &Outgoing, failure: Failure) {
        let Limits { backoff_first, backoff_max, retry_after_max, .. } = self.limits;
        let mut wait = backoff::delay(backoff_first, backoff_max, message.id, message.tries);
        if let Some(wish) = failure.retry_after {
            let asked = match wish {
                RetryAfter::Delay(delay) => delay,
                RetryAfter::At(instant) => {
                    Duration::try_from(instant.duration_since(now.wall)).unwrap_or_default()
                }
            };
            wait = wait.max(asked.min(retry_after_max));
            if let Some(lane) = self.lanes.get_mut(&message.channel) {
                lane.free_at = lane.free_at.max(now.monotonic.after(wait));
            }
        }
        let (channel, id, error) = (message.channel.as_str(), message.id, failure.error);
        tracing::warn!(channel, id, tries = message.tries + 1, %error, ?wait, "a message was not delivered");
        self.marks.push_back(Mark::Failed { id, next_try_at: later(now.wall, wait), error });
    }

    async fn write_marks(&mut self) -> Result<(), O::Error> {
        while let Some(mark) = self.marks.front() {
            match mark {
                Mark::Delivered { id, at } => self.outbox.outbox_delivered(*id, *at).await?,
                Mark::Failed { id, next_try_at, error } => {
                    self.outbox.outbox_failed(*id, *next_try_at, error).await?;
                }
            }
            self.marks.pop_front();
        }
        Ok(())
    }

    /// Lets the messages on their way arrive, for a moment, so that few are sent twice.
    async fn say_goodbye(mut self, mut sends: Sends) {
        let farewell = self.limits.farewell;
        let arrivals = async {
            while let Some(sent) = sends.next().await {
                self.settle(sent);
            }
        };
        // Whether all arrived or time ran out makes no difference: what arrived is marked, the rest stays due.
        let _ = tokio::time::timeout(farewell, arrivals).await;
        if let Err(error) = self.write_marks().await {
            tracing::warn!(error = %causes(&error), "deliveries could not be marked; those messages are sent again");
        }
    }
}

async fn send(sender: Arc<ChannelSender>, message: Outgoing, text: String) -> Sent {
    let result = sender.send(&text).await;
    let failure =
        result.err().map(|error| Failure { error: causes(&error), retry_after: error.retry_after() });
    Sent { message, failure }
}

/// An instant moved forward; stays at the calendar's end instead of overflowing.
fn later(instant: Timestamp, wait: Duration) -> Timestamp {
    instant.checked_add(wait).unwrap_or(Timestamp::MAX)
}
