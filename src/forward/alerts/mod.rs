//! Alerts: delivers the messages of the outbox to their channels, each at least once.
//!
//! A message is a row of the store, written in the transaction of the fact it tells of, so a crash loses none. It is
//! marked delivered only after its channel has taken it; until then it is tried again, further and further apart.
//!
//! **Invariant:** no channel waits for another. At most one message of a channel is on its way at a time, at most one
//! a second leaves for it, and each try has a deadline. A channel's URL is a secret: it is in no log and no error.

mod backoff;
mod concern;
mod delivery;
mod ends;
mod failure;
mod missed;
mod quote;
mod slack;
mod text;

use std::future::Future;

use crate::engine::time::Timestamp;
use crate::store::{Store, StoreError};

pub use crate::store::Outgoing;

pub use delivery::{Limits, run};
pub use failure::DaemonFailure;
pub use slack::{Deadlines, SlackChannel};
pub use text::{Language, MESSAGE_CHARS_MAX, TextError, Wording};

/// The rows not yet delivered: what delivery asks of the store.
pub trait Outbox: Sync {
    /// Why the store could not answer.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The messages to be tried at `now` or before, oldest first, at most `limit`.
    fn outbox_due(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Outgoing>, Self::Error>> + Send;

    /// The instant of the earliest next try of all messages not delivered, which may have passed.
    fn outbox_next(&self) -> impl Future<Output = Result<Option<Timestamp>, Self::Error>> + Send;

    /// The channel has taken the message.
    fn outbox_delivered(
        &self,
        id: u64,
        at: Timestamp,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// A try failed; counts it, and keeps the error for `jobctl status`.
    fn outbox_failed(
        &self,
        id: u64,
        next_try_at: Timestamp,
        error: &str,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

impl Outbox for Store {
    type Error = StoreError;

    async fn outbox_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Outgoing>, StoreError> {
        Self::outbox_due(self, now, limit).await
    }

    async fn outbox_next(&self) -> Result<Option<Timestamp>, StoreError> {
        Self::outbox_next(self).await
    }

    async fn outbox_delivered(&self, id: u64, at: Timestamp) -> Result<(), StoreError> {
        Self::outbox_delivered(self, id, at).await
    }

    async fn outbox_failed(&self, id: u64, next_try_at: Timestamp, error: &str) -> Result<(), StoreError> {
        Self::outbox_failed(self, id, next_try_at, error).await
    }
}

/// Where messages go: a channel of the configuration, ready to send.
#[derive(Debug)]
pub enum ChannelSender {
    /// An incoming webhook as Slack has it.
    Slack(SlackChannel),
    /// A channel that cannot work as configured, such as one whose secret cannot be read. Its messages are kept, and
    /// each try fails with this reason, so that it is seen and nothing is lost once it is mended.
    Degraded {
        /// What is wrong, without the secret.
        reason: String,
    },
}

impl ChannelSender {
    /// Sends one message and waits for the channel to take it.
    ///
    /// # Errors
    /// When the channel did not take it; the error says why and does not hold the channel's URL.
    pub async fn send(&self, text: &str) -> Result<(), SendError> {
        match self {
            Self::Slack(channel) => channel.send(text).await,
            Self::Degraded { reason } => Err(SendError::Degraded { reason: reason.clone() }),
        }
    }
}

/// Why a channel did not take a message.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It answered with something other than 2xx.
    #[error("the channel answered {status}: {body}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The beginning of the answer's body, secrets masked.
        body: String,
        /// When it wants to be asked again.
        retry_after: Option<RetryAfter>,
    },
    /// No connection, or no whole answer, within the deadline.
    #[error("the channel did not answer in time")]
    TimedOut,
    /// The request failed on its way.
    #[error("the channel could not be reached: {cause}")]
    Unreachable {
        /// The innermost cause, secrets masked: the layers above it only repeat that a request failed.
        cause: String,
    },
    /// The channel cannot work as configured.
    #[error("the channel cannot be used: {reason}")]
    Degraded {
        /// What is wrong.
        reason: String,
    },
}

/// When a channel wants to be asked again (RFC 9110, section 10.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// After this long.
    Delay(std::time::Duration),
    /// At this instant.
    At(Timestamp),
}

impl SendError {
    /// When the channel wants to be asked again, if it said so.
    #[must_use]
    pub const fn retry_after(&self) -> Option<RetryAfter> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::TimedOut | Self::Unreachable { .. } | Self::Degraded { .. } => None,
        }
    }
}
