//! Messages to be delivered at least once: written in the transaction of what they tell, marked after delivery.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::text::{head, int, number, stamp, time, time_or_null, word};
use super::{Store, StoreError};
use crate::engine::job::ChannelName;
use crate::engine::notice::Notice;
use crate::engine::time::Timestamp;

/// The longest error kept of a failed delivery, in characters.
const ERROR_CHARS_MAX: usize = 500;

/// A message that has not been delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its number.
    pub id: u64,
    /// The channel it goes to.
    pub channel: ChannelName,
    /// What it says.
    pub notice: Notice,
    /// When what it tells was decided.
    pub created_at: Timestamp,
    /// How often its delivery has failed.
    pub tries: u32,
}

/// How the deliveries stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutboxStatus {
    /// How many messages wait.
    pub waiting: u64,
    /// When the oldest of them was written.
    pub oldest: Option<Timestamp>,
    /// What was wrong when the oldest that has failed was last tried.
    pub last_error: Option<String>,
}

impl Store {
    /// The messages whose time has come, at most `limit`, the longest due first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn outbox_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Outgoing>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, channel, facts, created_at, tries FROM outbox
             WHERE delivered_at IS NULL AND next_try_at <= ? ORDER BY next_try_at, id LIMIT ?",
        )
        .bind(stamp(now))
        .bind(limit)
        .fetch_all(&self.inner.readers)
        .await;
        rows.and_then(|rows| rows.iter().map(outgoing).collect()).map_err(|error| self.error(error))
    }

    /// When the next message is to be tried; `None` when none waits.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn outbox_next(&self) -> Result<Option<Timestamp>, StoreError> {
        let row =
            sqlx::query("SELECT min(next_try_at) AS next_try_at FROM outbox WHERE delivered_at IS NULL")
                .fetch_one(&self.inner.readers)
                .await;
        row.and_then(|row| time_or_null(&row, "next_try_at")).map_err(|error| self.error(error))
    }

    /// Writes a message that belongs to no batch: what the auditor finds is told without the engine.
    ///
    /// # Errors
    /// When the database can't be written.
    pub async fn outbox_put(
        &self,
        channels: &[ChannelName],
        notice: &Notice,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let facts =
            serde_json::to_string(notice).map_err(|error| self.error(sqlx::Error::Encode(error.into())))?;
        for channel in channels {
            let query = sqlx::query(
                "INSERT INTO outbox (channel, facts, created_at, next_try_at) VALUES (?1, ?2, ?3, ?3)",
            );
            self.write(query.bind(channel).bind(&facts).bind(stamp(at))).await?;
        }
        Ok(())
    }

    /// Marks a message as delivered.
    ///
    /// # Errors
    /// When the database can't be written; the message is then delivered once more.
    pub async fn outbox_delivered(&self, id: u64, at: Timestamp) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE outbox SET delivered_at = ? WHERE id = ? AND delivered_at IS NULL");
        self.write(query.bind(stamp(at)).bind(int(id))).await?;
        Ok(())
    }

    /// Notes a failed delivery and when to try again.
    ///
    /// # Errors
    /// When the database can't be written.
    pub async fn outbox_failed(
        &self,
        id: u64,
        next_try_at: Timestamp,
        error: &str,
    ) -> Result<(), StoreError> {
        let query = sqlx::query(
            "UPDATE outbox SET tries = tries + 1, next_try_at = ?, last_error = ?
             WHERE id = ? AND delivered_at IS NULL",
        );
        self.write(query.bind(stamp(next_try_at)).bind(head(error, ERROR_CHARS_MAX)).bind(int(id))).await?;
        Ok(())
    }

    /// How the deliveries stand.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn outbox_status(&self) -> Result<OutboxStatus, StoreError> {
        self.reader().outbox_status().await
    }
}

/// The facts of [`OutboxStatus`], one row.
pub(super) const STATUS: &str = "SELECT count(*) AS waiting, min(created_at) AS oldest,
    (SELECT last_error FROM outbox WHERE delivered_at IS NULL AND last_error IS NOT NULL ORDER BY id LIMIT 1)
        AS last_error
    FROM outbox WHERE delivered_at IS NULL";

/// The row of [`STATUS`].
pub(super) fn status(row: &SqliteRow) -> sqlx::Result<OutboxStatus> {
    Ok(OutboxStatus {
        waiting: number(row, "waiting")?,
        oldest: time_or_null(row, "oldest")?,
        last_error: row.try_get("last_error")?,
    })
}

fn outgoing(row: &SqliteRow) -> sqlx::Result<Outgoing> {
    Ok(Outgoing {
        id: number(row, "id")?,
        channel: row.try_get("channel")?,
        notice: word(row, "facts", |text| serde_json::from_str(text).ok())?,
        created_at: time(row, "created_at")?,
        tries: number(row, "tries")?,
    })
}
