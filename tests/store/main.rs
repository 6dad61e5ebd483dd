//! The embedded store: the suite that every ledger passes, and what only a database on a disk can get wrong.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

#[path = "../sim/ledger.rs"]
#[expect(dead_code, unreachable_pub, reason = "the simulation uses the rest")]
mod sim_ledger;
#[path = "../support/store_accounts.rs"]
mod store_accounts;
#[path = "../support/store_suite.rs"]
mod store_suite;

mod accounts;
mod migration;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use jobctl::engine::ledger::{Accounted, Answer, Batch, Change, Snapshot};
use jobctl::engine::notice::{BadRun, Notice};
use jobctl::engine::record::RunRecord;
use jobctl::engine::run::{Exit, RunId, Status};
use jobctl::store::{Reader, RunFilter, Store, StoreError};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use store_suite::{Book, Ledger, accounted, at, claim, exercise, finish, job, queued, report, started};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A store and the state directory it lives in, with a thread to run on.
struct Real {
    runtime: Runtime,
    state: TempDir,
    store: Store,
    /// Whether to open the store anew for each call, as a jobd does that is killed in between.
    forgetful: bool,
}

impl Real {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let state = tempfile::tempdir().unwrap();
        let store = runtime.block_on(Store::open(state.path(), "web-1")).unwrap();
        Self { runtime, state, store, forgetful: false }
    }

    fn forgetful() -> Self {
        Self { forgetful: true, ..Self::new() }
    }

    fn store(&mut self) -> &Store {
        if self.forgetful {
            self.store = self.runtime.block_on(Store::open(self.state.path(), "renamed")).unwrap();
        }
        &self.store
    }

    fn reopen(&mut self) {
        self.runtime.block_on(self.store.close());
        self.store = self.runtime.block_on(Store::open(self.state.path(), "web-1")).unwrap();
    }

    /// One statement by someone else's hand.
    fn sql(&self, sql: &str) -> Result<u64, String> {
        self.runtime.block_on(async {
            let mut connection = connect(self.state.path()).await;
            let result = connection.execute(AssertSqlSafe(sql.to_owned())).await;
            connection.close().await.unwrap();
            result.map(|done| done.rows_affected()).map_err(|error| error.to_string())
        })
    }

    fn reader(&self) -> Reader {
        self.runtime.block_on(Reader::open(self.state.path())).unwrap()
    }

    fn list(&self, filter: &RunFilter) -> Vec<u64> {
        let runs = self.runtime.block_on(self.store.reader().runs(filter)).unwrap();
        runs.iter().map(|run| run.run_id.0).collect()
    }
}

impl Ledger for Real {
    fn commit(&mut self, batch: &Batch) -> Result<Vec<(RunId, Answer)>, String> {
        let store = self.store().clone();
        self.runtime.block_on(store.commit(batch)).map_err(|error| error.to_string())
    }

    fn snapshot(&mut self) -> Snapshot {
        let store = self.store().clone();
        let asked = BTreeSet::from(["backup", "other"].map(job));
        self.runtime.block_on(store.snapshot(&asked)).unwrap()
    }

    fn rows(&mut self) -> Vec<RunRecord> {
        let reader = self.store().reader();
        let everything = RunFilter { limit: u32::MAX, ..RunFilter::default() };
        let mut rows = self.runtime.block_on(reader.runs(&everything)).unwrap();
        rows.reverse();
        rows
    }
}

async fn connect(state: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(state.join("state.db")).connect().await.unwrap()
}

fn files(state: &Path) -> BTreeSet<String> {
    fs::read_dir(state).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn open_error(state: &Path) -> StoreError {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Store::open(state, "web-1")).expect_err("this store must be refused")
}

impl Ledger for sim_ledger::SimLedger {
    fn commit(&mut self, batch: &Batch) -> Result<Vec<(RunId, Answer)>, String> {
        Self::commit(self, batch)
    }

    fn snapshot(&mut self) -> Snapshot {
        Self::snapshot(self)
    }

    fn rows(&mut self) -> Vec<RunRecord> {
        self.rows.values().cloned().collect()
    }
}

#[test]
fn the_simulated_ledger_passes_the_suite_of_every_ledger() {
    exercise(sim_ledger::SimLedger::default);
    store_accounts::exercise(sim_ledger::SimLedger::default);
}

#[test]
fn passes_the_suite_of_every_ledger() {
    exercise(Real::new);
    store_accounts::exercise(Real::new);
}

#[test]
fn passes_the_suite_when_it_is_dropped_and_opened_again_before_each_call() {
    exercise(Real::forgetful);
    store_accounts::exercise(Real::forgetful);
}

#[test]
fn the_database_is_private_and_keeps_its_host() {
    let mut real = Real::forgetful();
    let mode = fs::metadata(real.state.path().join("state.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(real.store().host(), "web-1");
    assert_eq!(real.reader().host(), "web-1");
}

#[test]
fn a_close_leaves_one_file() {
    let real = Real::new();
    real.runtime.block_on(real.store.heartbeat(at("01:00:00"))).unwrap();
    real.runtime.block_on(real.store.close());
    assert_eq!(files(real.state.path()), BTreeSet::from(["state.db".to_owned()]));
    assert_eq!(real.runtime.block_on(real.reader().last_seen()).unwrap(), Some(at("01:00:00")));
}

#[test]
fn the_schema_refuses_what_the_code_would_never_write() {
    let real = Real::new();
    let row = |columns: &str, values: &str| {
        real.sql(&format!(
            "INSERT INTO cron_job_logs (task_name, host, started_at, triggered_by, {columns})
             VALUES ('backup', 'web-1', '2026-11-22T01:00:00.000Z', 'schedule', {values})"
        ))
    };
    let fire = "'2026-11-22T01:00:00.000Z'";
    row("run_id, status, scheduled_at", &format!("1, 'RUNNING', {fire}")).unwrap();
    let refused = |outcome: Result<u64, String>, rule: &str| {
        let error = outcome.expect_err(rule);
        assert!(error.contains(rule), "{rule}: {error}");
    };
    refused(row("run_id, status", "1, 'RUNNING'"), "UNIQUE");
    refused(row("run_id, status, scheduled_at", &format!("2, 'RUNNING', {fire}")), "UNIQUE");
    refused(row("run_id, status", "3, 'STARTED'"), "run_status_is_known");
    refused(row("run_id, status", "3, 'SUCCESS'"), "run_is_over_when_final");
    refused(row("run_id, status, completed_at", &format!("3, 'QUEUED', {fire}")), "run_is_over_when_final");
    refused(row("run_id, status, attempt", "3, 'RUNNING', 0"), "run_counts_from_one");
    refused(row("run_id, status, scheduled_at", "3, 'RUNNING', '2026-11-22 01:00:00'"), "run_times_are");
    refused(row("run_id, status, exit_code", "3, 'RUNNING', 'three'"), "cannot store TEXT");
    refused(real.sql("UPDATE cron_job_logs SET task_name = '../etc' WHERE run_id = 1"), "run_has_job_name");
    refused(real.sql("UPDATE cron_job_logs SET triggered_by = NULL WHERE run_id = 1"), "run_has_origin");
    row("run_id, status, scheduled_at, attempt", &format!("2, 'RUNNING', {fire}, 2")).unwrap();
}

#[test]
fn the_users_own_rows_are_taken_as_they_are_and_not_shown() {
    let mut book = Book::new(Real::new());
    book.write("01:00:00", vec![started(claim(1, "01:00:00"))]);
    let real = &mut book.ledger;
    real.sql(
        "INSERT INTO cron_job_logs (task_name, status, started_at, completed_at, message, error_message)
         VALUES ('Invoice Generation!', 'STARTED', '2026-11-22 10:00:00', NULL, '청구서', NULL)",
    )
    .unwrap();
    real.sql("INSERT INTO cron_job_logs (id, task_name, status) VALUES (900, 'backup', 'SUCCESS')").unwrap();
    real.sql("UPDATE cron_job_logs SET status = 'SUCCESS', completed_at = datetime('now') WHERE id = 2")
        .unwrap();
    assert_eq!(real.rows().len(), 1);
    let reader = real.reader();
    let newest = real.runtime.block_on(reader.last_run_per_job()).unwrap();
    assert!(newest.is_empty(), "jobs that are not known have no newest run");
    assert_eq!(real.runtime.block_on(reader.open_runs()).unwrap().len(), 1);
    assert_eq!(real.runtime.block_on(reader.run(RunId(1))).unwrap().unwrap().task_name, job("backup"));
    assert_eq!(real.runtime.block_on(reader.run(RunId(2))).unwrap(), None);
}

#[test]
fn a_newer_database_is_refused_and_not_touched() {
    let real = Real::new();
    real.sql("INSERT INTO _sqlx_migrations VALUES (99, 'later', '2030-01-01', TRUE, x'00', 0)").unwrap();
    real.runtime.block_on(real.store.close());
    let before = fs::read(real.state.path().join("state.db")).unwrap();
    let error = open_error(real.state.path());
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
    assert!(error.to_string().contains("newer jobd (schema 99"), "{error}");
    let reading = real.runtime.block_on(Reader::open(real.state.path())).expect_err("newer than the reader");
    assert!(matches!(reading, StoreError::Newer { .. }), "{reading}");
    assert_eq!(fs::read(real.state.path().join("state.db")).unwrap(), before);
}

#[test]
fn a_damaged_database_is_refused_and_not_replaced() {
    let mut book = Book::new(Real::new());
    for run in 1..200 {
        book.write("01:00:00", vec![started(claim(run, &format!("02:{:02}:{:02}", run / 60, run % 60)))]);
    }
    let real = book.ledger;
    real.runtime.block_on(real.store.close());
    let path = real.state.path().join("state.db");
    let whole = fs::read(&path).unwrap();
    let half = whole[..whole.len() / 2].to_vec();
    let mut scratched = whole.clone();
    scratched[4096..].fill(0x5a);
    let noise = vec![0x5a; 8192];
    for damaged in [half, scratched, noise, Vec::new()] {
        fs::write(&path, &damaged).unwrap();
        let error = open_error(real.state.path());
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains("state.db is damaged"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), damaged, "it is left as it was");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(real.runtime.block_on(Store::open(real.state.path(), "x")).unwrap().host(), "web-1");
}

#[test]
fn a_database_of_something_else_is_refused_and_not_touched() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("state.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        connection.execute("CREATE TABLE students (name TEXT)").await.unwrap();
        connection.close().await.unwrap();
    });
    let before = fs::read(&path).unwrap();
    assert!(matches!(open_error(state.path()), StoreError::Foreign { .. }));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_database_that_is_gone_is_not_replaced_by_an_empty_one() {
    let real = Real::new();
    real.runtime.block_on(real.store.close());
    fs::remove_file(real.state.path().join("state.db")).unwrap();
    fs::create_dir_all(real.state.path().join("runs/2026-11-22/1")).unwrap();
    let error = open_error(real.state.path());
    assert!(matches!(error, StoreError::Gone { .. }), "{error}");
    assert_eq!(files(real.state.path()), BTreeSet::from(["runs".to_owned()]));
}

#[test]
fn a_database_that_was_being_made_is_made_anew() {
    let state = tempfile::tempdir().unwrap();
    fs::write(state.path().join("state.db.new"), "half a database").unwrap();
    fs::write(state.path().join("state.db.new-wal"), "and its log").unwrap();
    fs::create_dir(state.path().join("runs")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(Store::open(state.path(), "web-1")).unwrap();
    runtime.block_on(store.close());
    assert_eq!(files(state.path()), BTreeSet::from(["runs".to_owned(), "state.db".to_owned()]));
}

#[test]
fn a_reader_follows_a_writer_and_outlives_it_without_a_trace() {
    let mut book = Book::new(Real::new());
    let reader = book.ledger.reader();
    let length = |real: &Real, reader: &Reader| {
        real.runtime.block_on(reader.runs(&RunFilter::default())).unwrap().len()
    };
    assert_eq!(length(&book.ledger, &reader), 0);
    book.write("01:00:00", vec![started(claim(1, "01:00:00"))]);
    assert_eq!(length(&book.ledger, &reader), 1);

    // jobd is down: nothing but the database is there, before and after.
    drop(reader);
    book.ledger.reopen();
    book.ledger.runtime.block_on(book.ledger.store.close());
    let state = book.ledger.state.path().to_owned();
    let before = files(&state);
    let reader = book.ledger.reader();
    assert_eq!(length(&book.ledger, &reader), 1);
    assert_eq!(files(&state), before);

    // jobd comes back while the same reader stays.
    book.ledger.store = book.ledger.runtime.block_on(Store::open(&state, "web-1")).unwrap();
    book.write("01:01:00", vec![started(claim(2, "01:01:00"))]);
    assert_eq!(length(&book.ledger, &reader), 2);
    book.ledger.reopen();
    book.write("01:02:00", vec![started(claim(3, "01:02:00"))]);
    assert_eq!(length(&book.ledger, &reader), 3);
}

#[test]
fn a_reader_of_nothing_says_so_and_makes_nothing() {
    let state = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(Reader::open(state.path())).expect_err("there is no database");
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    assert_eq!(files(state.path()), BTreeSet::new());
}

#[test]
fn a_commit_waits_for_a_short_lock_and_a_reader_for_none() {
    let mut book = Book::new(Real::new());
    book.write("01:00:00", vec![started(claim(1, "01:00:00"))]);
    let real = &book.ledger;
    let batch = Batch { number: 2, at: at("01:01:00"), changes: vec![started(claim(2, "01:01:00"))] };
    real.runtime.block_on(async {
        let mut shell = connect(real.state.path()).await;
        let lock = shell.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let store = real.store.clone();
        let commit = tokio::spawn(async move { store.commit(&batch).await });
        let runs = real.store.reader().runs(&RunFilter::default()).await.unwrap();
        assert_eq!(runs.len(), 1);
        assert!(!commit.is_finished());
        lock.rollback().await.unwrap();
        commit.await.unwrap().unwrap();
        shell.close().await.unwrap();
    });
    assert_eq!(real.list(&RunFilter::default()), [2, 1]);
}

#[test]
fn a_batch_that_breaks_a_rule_is_not_applied_in_part() {
    let mut book = Book::new(Real::new());
    book.write("01:00:00", vec![started(claim(1, "01:00:00"))]);
    let twice = started(claim(1, "03:00:00"));
    let batch = Batch { number: 2, at: at("02:00:00"), changes: vec![started(claim(2, "02:00:00")), twice] };
    let real = &mut book.ledger;
    let error = real.runtime.block_on(real.store.commit(&batch)).expect_err("number 1 is given");
    assert!(matches!(error, StoreError::Rejected { .. }), "{error}");
    assert_eq!(real.rows().len(), 1);
    assert_eq!(real.snapshot().last_batch, 1);
    let repaired = Batch { changes: vec![started(claim(2, "02:00:00"))], ..batch };
    real.commit(&repaired).unwrap();
}

#[test]
fn long_texts_are_cut_between_characters() {
    let mut book = Book::new(Real::new());
    book.write("01:00:00", vec![started(claim(1, "01:00:00"))]);
    let mut end = report(Exit::Code(1));
    end.message = Some("가".repeat(501));
    end.error_tail = "나".repeat(30_000);
    book.write("01:00:03", vec![finish(1, end, "01:00:03")]);
    let row = book.row(1);
    assert_eq!(row.message, Some("가".repeat(500)));
    let error = row.error_message.unwrap();
    assert!(error.starts_with("exit code 1\n나") && error.ends_with('나'));
    assert!((61_437..=61_440).contains(&error.len()), "{}", error.len());
}

#[test]
fn runs_are_listed_by_job_status_time_and_page() {
    let mut book = Book::new(Real::new());
    for run in 1..=9 {
        let mut claim = claim(run, &format!("01:0{run}:00"));
        claim.job = job(if run % 2 == 0 { "even" } else { "odd" });
        let change = if run == 9 { queued(claim) } else { started(claim) };
        book.write(&format!("01:0{run}:00"), vec![change]);
    }
    let failed = jobctl::engine::run::Report { started_at: None, ..report(Exit::Code(1)) };
    book.write("02:00:00", vec![finish(2, failed.clone(), "02:00:00"), finish(5, failed, "02:00:00")]);
    book.write("02:00:00", vec![Change::Account(accounted(10, Status::Missed, "00:30:00"))]);
    let real = &book.ledger;
    let all = RunFilter::default();
    assert_eq!(real.list(&all), [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(real.list(&RunFilter { limit: 3, ..all.clone() }), [10, 9, 8]);
    assert_eq!(real.list(&RunFilter { before_run: Some(RunId(8)), limit: 3, ..all.clone() }), [7, 6, 5]);
    assert_eq!(real.list(&RunFilter { job: Some(job("even")), ..all.clone() }), [8, 6, 4, 2]);
    let status = vec![Status::Failed, Status::Queued, Status::Failed];
    assert_eq!(real.list(&RunFilter { status: status.clone(), ..all.clone() }), [9, 5, 2]);
    let page = RunFilter { status, job: Some(job("odd")), limit: 1, ..all.clone() };
    assert_eq!(real.list(&page), [9]);
    assert_eq!(real.list(&RunFilter { before_run: Some(RunId(9)), ..page }), [5]);
    let hour = RunFilter { since: Some(at("01:03:00")), until: Some(at("01:06:00")), ..all };
    assert_eq!(real.list(&hour), [5, 4, 3]);
    let open = real.runtime.block_on(real.reader().open_runs()).unwrap();
    assert_eq!(open.iter().map(|run| run.run_id.0).collect::<Vec<_>>(), [1, 3, 4, 6, 7, 8, 9]);
}

#[test]
fn the_newest_run_of_each_known_job_is_found() {
    let mut book = Book::new(Real::new());
    let know =
        |name: &str| Change::Know { job: job(name), schedule_hash: "a".to_owned(), cursor: at("00:00:00") };
    book.write("00:00:00", vec![know("backup"), know("idle")]);
    book.write("01:00:00", vec![started(claim(1, "01:00:00")), started(claim(2, "02:00:00"))]);
    let reader = book.ledger.reader();
    let newest = book.ledger.runtime.block_on(reader.last_run_per_job()).unwrap();
    let newest: Vec<_> = newest.iter().map(|(job, run)| (job.as_str(), run.run_id.0)).collect();
    assert_eq!(newest, [("backup", 2)]);
    let jobs = book.ledger.runtime.block_on(reader.jobs()).unwrap();
    assert_eq!(jobs.iter().map(|known| known.job.as_str()).collect::<Vec<_>>(), ["backup", "idle"]);
}

#[test]
fn a_closed_incident_stays_as_it_was() {
    let mut book = Book::new(Real::new());
    let backup = || job("backup");
    let open = |run| Change::OpenIncident {
        job: backup(),
        run: RunId(run),
        status: Status::Failed,
        at: at("01:00:00"),
    };
    let close = |run| Change::CloseIncident { job: backup(), run: RunId(run), at: at("02:00:00") };
    let join = Change::JoinIncident { job: backup(), status: Status::Lost };
    book.write("01:00:00", vec![open(1), close(2), open(3), join, close(4)]);
    let is_there = |facts: &str| book.ledger.sql(&format!("UPDATE incidents SET id = id WHERE {facts}"));
    assert_eq!(is_there("opened_run = 1 AND closed_run = 2 AND bad_runs = 1"), Ok(1));
    assert_eq!(is_there("opened_run = 3 AND closed_run = 4 AND kinds = '[\"FAILED\",\"LOST\"]'"), Ok(1));
    book.ledger
        .sql("INSERT INTO incidents (job, opened_at, opened_run, kinds) VALUES ('a', '', 1, '[]')")
        .unwrap();
    let twice = book
        .ledger
        .sql("INSERT INTO incidents (job, opened_at, opened_run, kinds) VALUES ('a', '', 2, '[]')");
    assert!(twice.unwrap_err().contains("UNIQUE"), "a job has one open incident at most");
}

fn bad_notice() -> Notice {
    Notice::Bad(BadRun {
        job: job("backup"),
        run: RunId(1),
        status: Status::Failed,
        scheduled_at: Some(at("01:00:00")),
        started_at: at("01:00:00.25"),
        ended_at: at("01:00:03"),
        duration: std::time::Duration::from_micros(2_750_001),
        timeout: None,
        error: "exit code 3".to_owned(),
        end: None,
        error_tail: "무엇인가 \"잘못\"".to_owned(),
        remark: None,
        waited_for: None,
    })
}

#[test]
fn messages_wait_until_they_are_delivered() {
    let mut book = Book::new(Real::forgetful());
    let notify = |channel: &str| Change::Notify { channel: channel.to_owned(), notice: bad_notice() };
    book.write("01:00:00", vec![notify("ops"), notify("pager")]);
    let real = &mut book.ledger;
    let store = real.store().clone();
    let due = |when| real.runtime.block_on(store.outbox_due(at(when), 10)).unwrap();
    let ids = |when| due(when).iter().map(|message| message.id).collect::<Vec<_>>();
    let first = &due("01:00:00")[0];
    assert_eq!((first.channel.as_str(), &first.notice, first.tries), ("ops", &bad_notice(), 0));
    assert_eq!(first.created_at, at("01:00:00"));
    assert_eq!(ids("00:59:59"), [0_u64; 0]);
    assert_eq!(real.runtime.block_on(store.outbox_next()).unwrap(), Some(at("01:00:00")));

    real.runtime.block_on(store.outbox_failed(1, at("01:05:00"), "connection refused")).unwrap();
    real.runtime.block_on(store.outbox_delivered(2, at("01:00:02"))).unwrap();
    assert_eq!(ids("01:04:59"), [0_u64; 0]);
    assert_eq!((ids("01:05:00"), due("01:05:00")[0].tries), (vec![1], 1));
    assert_eq!(real.runtime.block_on(store.outbox_next()).unwrap(), Some(at("01:05:00")));
    let status = real.runtime.block_on(real.reader().outbox_status()).unwrap();
    assert_eq!((status.waiting, status.oldest), (1, Some(at("01:00:00"))));
    assert_eq!(status.last_error.as_deref(), Some("connection refused"));

    real.runtime.block_on(store.outbox_delivered(1, at("01:05:01"))).unwrap();
    real.runtime.block_on(store.outbox_failed(1, at("01:09:00"), "too late")).unwrap();
    assert_eq!(real.runtime.block_on(store.outbox_next()).unwrap(), None);
    assert_eq!(real.runtime.block_on(store.outbox_status()).unwrap().waiting, 0);
}

/// Names the state directory for [`commits_until_it_is_killed`].
const STATE_VARIABLE: &str = "STORE_TEST_STATE";

/// Fires that each batch of [`commits_until_it_is_killed`] accounts for.
const FIRES_PER_BATCH: u64 = 3;

#[test]
#[ignore = "the other half of what_was_answered_survives_kill_9, which starts it"]
fn commits_until_it_is_killed() {
    let state = std::env::var_os(STATE_VARIABLE).expect("started by the other half");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(Path::new(&state), "web-1").await.unwrap();
        let last_batch = store.snapshot(&BTreeSet::new()).await.unwrap().last_batch;
        for number in last_batch + 1.. {
            let fire = |nth| {
                let run = (number - 1) * FIRES_PER_BATCH + nth;
                let scheduled_at = at("01:00:00") + std::time::Duration::from_secs(run);
                let fire = Accounted { scheduled_at, ..accounted(run, Status::Missed, "01:00:00") };
                Change::Account(fire)
            };
            let changes = (1..=FIRES_PER_BATCH).map(fire).collect();
            store.commit(&Batch { number, at: at("01:00:00"), changes }).await.unwrap();
            println!("answered {number}");
        }
    });
}

#[test]
fn what_was_answered_survives_kill_9() {
    let mut real = Real::new();
    real.runtime.block_on(real.store.close());
    for round in 1..=5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "commits_until_it_is_killed", "--ignored", "--nocapture"])
            .env(STATE_VARIABLE, real.state.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let answered = |line: std::io::Result<String>| line.unwrap().strip_prefix("answered ")?.parse().ok();
        let mut last: u64 = lines.by_ref().filter_map(answered).nth(round * 7).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        // What it still said before it died counts too; the last line may be cut short.
        last = lines.filter_map(answered).last().map_or(last, |later: u64| later.max(last));

        real.store = real.runtime.block_on(Store::open(real.state.path(), "web-1")).unwrap();
        let snapshot = real.snapshot();
        assert!(snapshot.last_batch >= last, "batch {last} was answered: {snapshot:?}");
        assert_eq!(snapshot.last_run, snapshot.last_batch * FIRES_PER_BATCH);
        assert_eq!(real.rows().len() as u64, snapshot.last_run, "each batch is there whole");
        real.runtime.block_on(real.store.close());
    }
}
