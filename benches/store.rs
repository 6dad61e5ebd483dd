//! What the store costs where there is much at once: a start with many jobs, many fires at one instant, a long history.
//!
//! Run it with `cargo bench --bench store`. Everything is in a directory below `TMPDIR`, so a disk's sync is in each
//! figure once. Each step is done once; a limit is beside each that has one.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::{Duration, Instant};

use jobctl::engine::admission::Holds;
use jobctl::engine::job::JobName;
use jobctl::engine::ledger::{Accounted, Batch, Change};
use jobctl::engine::reason::Reason;
use jobctl::engine::run::{Claim, RunId, Status, Trigger};
use jobctl::engine::time::Timestamp;
use jobctl::store::Store;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Jobs that one start gets to know.
const JOBS: u64 = 100_000;
/// Fires that are due at one instant.
const FIRES: u64 = 10_000;
/// Rows of the history.
const ROWS: u64 = 1_000_000;
/// Jobs whose past a start asks for.
const ASKED: u64 = 1_000;

fn main() -> Outcome<()> {
    let state = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut book = Book { store: Store::open(state.path(), "bench").await?, number: 0, at: EPOCH };
        book.timed("know 100,000 jobs", Some(1_000), (1..=JOBS).map(know)).await?;
        book.timed("advance 100,000 jobs", Some(1_000), (1..=JOBS).map(advance)).await?;
        book.timed("claim 10,000 runs", Some(500), (1..=FIRES).map(|run| claimed(run, 0, true))).await?;
        book.timed("start 10,000 runs", Some(500), (1..=FIRES).map(start)).await?;
        book.timed("finish 10,000 runs", Some(500), (1..=FIRES).map(finish)).await?;
        let second = FIRES + 1..=2 * FIRES;
        book.timed("claim 10,000 runs ahead", Some(500), second.clone().map(ahead)).await?;
        book.timed("begin 10,000 of them", Some(500), second.map(begin)).await?;
        let third = 2 * FIRES + 1..=3 * FIRES;
        book.timed("account for 10,000 fires", Some(500), third.map(missed)).await?;
        for first in (3 * FIRES + 1..=ROWS).step_by(100_000) {
            let rows = first..=ROWS.min(first + 99_999);
            book.timed("(a history of 100,000 more rows)", None, rows.flat_map(ended)).await?;
        }
        book.timed("claim one run after all that", Some(20), [claimed(ROWS + 1, 1, false)]).await?;
        let asked: BTreeSet<JobName> = (1..=ASKED).map(job).collect();
        let begun = now();
        let snapshot = book.store.snapshot(&asked).await?;
        let successes: usize = snapshot.history.values().map(|past| past.successes.len()).sum();
        println!(
            "{:>9.1?}  a snapshot with the past of {ASKED} jobs ({successes} successes)",
            begun.elapsed()
        );
        let begun = now();
        book.store.snapshot(&BTreeSet::new()).await?;
        println!("{:>9.1?}  a snapshot with no past", begun.elapsed());
        book.store.close().await;
        Ok(())
    })
}

const EPOCH: Timestamp = Timestamp::UNIX_EPOCH;

/// A store, and where its batches have come to.
struct Book {
    store: Store,
    number: u64,
    at: Timestamp,
}

impl Book {
    async fn timed(
        &mut self,
        what: &str,
        limit_ms: Option<u64>,
        changes: impl IntoIterator<Item = Change>,
    ) -> Outcome<()> {
        self.number += 1;
        self.at += Duration::from_mins(1);
        let batch = Batch { number: self.number, at: self.at, changes: changes.into_iter().collect() };
        let begun = now();
        self.store.commit(&batch).await?;
        let limit = limit_ms.map(|limit| format!(" (limit {limit} ms)")).unwrap_or_default();
        println!("{:>9.1?}  {what}{limit}", begun.elapsed());
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::expect_used, reason = "the names are valid by their make")]
fn job(n: u64) -> JobName {
    JobName::new(&format!("job-{n}")).expect("a job name")
}

fn know(n: u64) -> Change {
    Change::Know { job: job(n), schedule_hash: "0123456789abcdef".to_owned(), cursor: EPOCH }
}

fn advance(n: u64) -> Change {
    Change::Advance { job: job(n), cursor: EPOCH + Duration::from_mins(1) }
}

/// A claim of the fire of the `round`th minute.
fn claim(run: u64, round: u64) -> Claim {
    Claim {
        run: RunId(run),
        job: job(run % FIRES),
        scheduled_at: Some(EPOCH + Duration::from_secs(60 * round)),
        trigger: Trigger::Schedule,
        attempt: 1,
        not_before: None,
        holds: Holds::default(),
        claimed_at: EPOCH,
        timeout: Some(Duration::from_hours(1)),
        kill_grace: Duration::from_secs(10),
        alert: vec!["ops".to_owned()],
        config_hash: "0123456789abcdef".to_owned(),
    }
}

fn claimed(run: u64, round: u64, queued: bool) -> Change {
    Change::Claim { claim: claim(run, round + 100_000 * u64::from(round > 0)), queued }
}

fn start(run: u64) -> Change {
    Change::Start { run: RunId(run), at: EPOCH }
}

fn finish(run: u64) -> Change {
    let report = jobctl::engine::run::Report {
        exit: jobctl::engine::run::Exit::Code(0),
        duration: Duration::from_millis(run),
        ..jobctl::engine::run::Report::lost("", Some(EPOCH), EPOCH)
    };
    let at = EPOCH + Duration::from_secs(run);
    Change::Finish {
        run: RunId(run),
        status: Status::Success,
        reason: None,
        report: Some(Box::new(report)),
        at,
    }
}

fn ahead(run: u64) -> Change {
    Change::Ahead { claim: claim(run, 1) }
}

fn begin(run: u64) -> Change {
    Change::Begin { run: RunId(run), at: EPOCH }
}

fn missed(run: u64) -> Change {
    let claim = claim(run, 2);
    Change::Account(Accounted {
        run: claim.run,
        job: claim.job,
        status: Status::Missed,
        scheduled_at: EPOCH + Duration::from_mins(2),
        scheduled_until: None,
        fires: 1,
        reason: Reason::Down,
        config_hash: claim.config_hash,
    })
}

fn ended(run: u64) -> [Change; 2] {
    [Change::Claim { claim: claim(run, run / FIRES), queued: false }, finish(run)]
}
