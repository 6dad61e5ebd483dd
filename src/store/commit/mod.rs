//! Applying a batch: one transaction, whole or not at all, at most once.
//!
//! The statement of each kind of change is one text, prepared once: thousands of changes are thousands of its turns.

mod claims;
mod incidents;
mod jobs;
mod pauses;
mod rows;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::text::{int, number, stamp};
use super::{Store, StoreError};
use crate::engine::ledger::{Answer, Batch, Change};
use crate::engine::run::RunId;
use crate::engine::time::Timestamp;

/// What became of a batch.
enum Outcome {
    Applied(Vec<(RunId, Answer)>),
    OutOfOrder { expected: u64 },
}

impl Store {
    /// Makes a batch durable and answers its claims, in order.
    ///
    /// A batch that was applied already changes nothing and is answered again. After an error the batch may have been
    /// applied or not: sending it again is right in both cases.
    ///
    /// # Errors
    /// When the database can't be written, or the batch is neither the next one nor an old one.
    pub async fn commit(&self, batch: &Batch) -> Result<Vec<(RunId, Answer)>, StoreError> {
        let mut connection = self.inner.writer.acquire().await.map_err(|error| self.error(error))?;
        match transact(&mut connection, self.host(), batch).await {
            Ok(Outcome::Applied(answers)) => Ok(answers),
            Ok(Outcome::OutOfOrder { expected }) => {
                Err(StoreError::OutOfOrder { path: self.inner.path.clone(), number: batch.number, expected })
            }
            Err(error) => {
                // SQLite ends a transaction by itself on some errors, behind the driver's back, which would
                // then take the connection to be inside one for ever. A new connection knows nothing of it.
                connection.close_on_drop();
                Err(self.error(error))
            }
        }
    }
}

async fn transact(connection: &mut SqliteConnection, host: &str, batch: &Batch) -> sqlx::Result<Outcome> {
    // A transaction that begins by reading may find that it can't write any more; this one can from the start.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let meta = sqlx::query("SELECT last_batch FROM meta").fetch_one(&mut *transaction).await?;
    let expected = number::<u64>(&meta, "last_batch")? + 1;
    if batch.number > expected {
        return Ok(Outcome::OutOfOrder { expected });
    }
    let mut work = Work { connection: &mut transaction, host, at: batch.at };
    if batch.number < expected {
        return Ok(Outcome::Applied(work.answer_again(&batch.changes).await?));
    }
    let mut answers = Vec::new();
    for alike in batch.changes.chunk_by(are_one_statement) {
        answers.extend(work.apply(alike).await?);
    }
    work.number(batch).await?;
    transaction.commit().await?;
    Ok(Outcome::Applied(answers))
}

/// Whether two changes are made by one statement: a first start gets to know every job there is, and all of them may
/// be due at one instant.
const fn are_one_statement(one: &Change, next: &Change) -> bool {
    matches!(
        (one, next),
        (Change::Know { .. }, Change::Know { .. }) | (Change::Advance { .. }, Change::Advance { .. })
    )
}

/// A batch being applied.
struct Work<'c> {
    connection: &'c mut SqliteConnection,
    host: &'c str,
    at: Timestamp,
}

impl Work<'_> {
    /// Applies a change, or several that are one statement.
    async fn apply(&mut self, alike: &[Change]) -> sqlx::Result<Option<(RunId, Answer)>> {
        let Some(change) = alike.first() else { return Ok(None) };
        match change {
            Change::Know { .. } => self.know(alike).await?,
            Change::Forget { job } => self.forget(job).await?,
            Change::Advance { .. } => self.advance(alike).await?,
            Change::Gap { from, until, reason } => self.gap(*from, *until, reason).await?,
            Change::Pause(pause) => self.pause(pause).await?,
            Change::Resume { job, by, at } => self.resume(job.as_ref(), by.as_deref(), *at).await?,
            Change::KeepWatch(watch) => self.keep_watch(watch).await?,
            Change::DropWatch { job } => self.drop_watch(job).await?,
            Change::Booted { boot_id } => self.booted(boot_id).await?,
            Change::Claim { claim, queued } => {
                return Ok(Some((claim.run, self.claim(claim, *queued).await?)));
            }
            Change::Ahead { claim } => return Ok(Some((claim.run, self.ahead(claim).await?))),
            Change::Begin { run, at } => self.begin(*run, *at).await?,
            Change::Withdraw { run } => self.withdraw(*run).await?,
            Change::Start { run, at } => self.start(*run, *at).await?,
            Change::Account(accounted) => self.account(accounted).await?,
            Change::Extend { run, until, fires } => self.extend(*run, *until, *fires).await?,
            Change::Told { run, concern } => self.told(*run, *concern).await?,
            Change::Note { run, reason } => self.note(*run, reason).await?,
            Change::Finish { run, status, reason, report, at } => {
                self.finish(*run, *status, reason.as_deref(), report.as_deref(), *at).await?;
            }
            Change::OpenIncident { job, run, status, at } => {
                self.open_incident(job, *run, *status, *at).await?;
            }
            Change::JoinIncident { job, status } => self.join_incident(job, *status).await?,
            Change::CloseIncident { job, run, at } => self.close_incident(job, *run, *at).await?,
            Change::Notify { channel, notice } => self.notify(channel, notice).await?,
        }
        Ok(None)
    }

    /// The answers to a batch applied earlier: a claim that was granted has a row of its number, or will have.
    async fn answer_again(&mut self, changes: &[Change]) -> sqlx::Result<Vec<(RunId, Answer)>> {
        let mut answers = Vec::new();
        for change in changes {
            let (Change::Claim { claim, .. } | Change::Ahead { claim }) = change else { continue };
            let row = sqlx::query(
                "SELECT attempt FROM cron_job_logs WHERE host = ?1 AND run_id = ?2
                 UNION ALL SELECT attempt FROM claims WHERE run_id = ?2 LIMIT 1",
            )
            .bind(self.host)
            .bind(int(claim.run.0))
            .fetch_optional(&mut *self.connection)
            .await?;
            let answer = match row {
                Some(row) => Answer::Granted { attempt: number(&row, "attempt")? },
                None => Answer::Taken,
            };
            answers.push((claim.run, answer));
        }
        Ok(answers)
    }

    async fn number(&mut self, batch: &Batch) -> sqlx::Result<()> {
        let number_of = |change: &Change| match change {
            Change::Claim { claim, .. } | Change::Ahead { claim } => Some(claim.run.0),
            Change::Account(accounted) => Some(accounted.run.0),
            _ => None,
        };
        let last_run = batch.changes.iter().filter_map(number_of).max().unwrap_or(0);
        sqlx::query("UPDATE meta SET last_batch = ?, last_run = max(last_run, ?), last_seen = ?")
            .bind(int(batch.number))
            .bind(int(last_run))
            .bind(stamp(batch.at))
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::engine::job::JobName;
    use crate::engine::ledger::Accounted;
    use crate::engine::reason::Reason;
    use crate::engine::run::Status;

    fn silence(number: u64) -> Batch {
        let at: Timestamp = "2026-11-22T01:00:00Z".parse().unwrap();
        let fires = Accounted {
            run: RunId(number),
            job: JobName::new("backup").unwrap(),
            status: Status::Missed,
            scheduled_at: at + Duration::from_secs(number),
            scheduled_until: None,
            fires: 1,
            reason: Reason::Down,
            config_hash: "c".repeat(8_192),
        };
        Batch { number, at, changes: vec![Change::Account(fires)] }
    }

    #[tokio::test]
    async fn a_full_disk_is_told_and_forgotten_when_there_is_room_again() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path(), "web-1").await.unwrap();
        // A limit of this connection alone, which fails as a full disk does.
        let room = async |pages: &'static str| {
            sqlx::query(pages).execute(&store.inner.writer).await.unwrap();
        };
        room("PRAGMA max_page_count = 1").await;
        let error = store.commit(&silence(1)).await.expect_err("there is no room");
        assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
        assert_eq!(store.snapshot(&BTreeSet::new()).await.unwrap().last_batch, 0);
        room("PRAGMA max_page_count = 1000000").await;
        for number in 1..10 {
            store.commit(&silence(number)).await.unwrap();
        }
        assert_eq!(store.snapshot(&BTreeSet::new()).await.unwrap().last_batch, 9);
    }

    #[tokio::test]
    async fn a_transaction_that_sqlite_ends_by_itself_does_not_stop_the_next() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path(), "web-1").await.unwrap();
        let sql = async |sql: &'static str| {
            sqlx::query(sql).execute(&store.inner.writer).await.unwrap();
        };
        sql(
            "CREATE TRIGGER end_it BEFORE INSERT ON cron_job_logs BEGIN SELECT raise(ROLLBACK, 'ended'); END",
        )
        .await;
        store.commit(&silence(1)).await.expect_err("the trigger ends the transaction");
        sql("DROP TRIGGER end_it").await;
        store.commit(&silence(1)).await.unwrap();
        store.commit(&silence(2)).await.unwrap();
        assert_eq!(store.snapshot(&BTreeSet::new()).await.unwrap().last_batch, 2);
    }

    #[tokio::test]
    async fn a_commit_given_up_in_the_middle_leaves_nothing_behind() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path(), "web-1").await.unwrap();
        for polls in 0..40 {
            let batch = silence(1);
            let commit = store.commit(&batch);
            let mut commit = std::pin::pin!(commit);
            for _ in 0..polls {
                if futures_util::poll!(commit.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        store.commit(&silence(1)).await.unwrap();
        store.commit(&silence(2)).await.unwrap();
        assert_eq!(store.snapshot(&BTreeSet::new()).await.unwrap().last_batch, 2);
    }
}
