//! A database of an older version is brought up to date whole, or is as it was.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use jobctl::engine::admission::Holds;
use jobctl::engine::ledger::{Accounted, Change, ClaimState, OpenClaim};
use jobctl::engine::run::{Claim, RunId, Status, Trigger};
use jobctl::store::{Reader, Store, StoreError};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, SqlSafeStr as _};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::connect;
use crate::store_suite::{accounted, at, claim, job};

/// What the first version made, and nothing since may change.
const FIRST: &str = include_str!("../../migrations/sqlite/0001_ledger.sql");

/// What the first version of jobd may have left, with rows, views and triggers of its users.
const LEFT: &str = "
    INSERT INTO meta (id, host, last_batch, last_run, last_seen, boot_id)
        VALUES (1, 'web-1', 7, 5, '2026-11-22T01:30:00.000Z', '8a4f');
    INSERT INTO jobs VALUES ('backup', 'a', '2026-11-22T01:30:00.000Z', '2026-11-01T00:00:00.000Z');
    INSERT INTO cron_job_logs (id, task_name, status, started_at, message)
        VALUES (3, 'Invoice Generation!', 'STARTED', '2026-11-22 10:00:00', '청구서');
    INSERT INTO cron_job_logs (id, task_name, status, started_at, completed_at, host, run_id, scheduled_at,
                               scheduled_until, fires, triggered_by, attempt, reason)
    VALUES (4, 'backup', 'MISSED', '2026-11-20T00:00:00.000Z', '2026-11-22T00:00:00.000Z', 'web-1', 1,
            '2026-11-20T00:00:00.000Z', '2026-11-21T23:59:00.000Z', 2880, 'schedule', 1, 'jobd was not running'),
           (5, 'backup', 'SUCCESS', '2026-11-22T01:00:00.000Z', '2026-11-22T01:00:03.000Z', 'web-1', 2,
            '2026-11-22T01:00:00.000Z', NULL, 1, 'schedule', 1, NULL),
           (6, 'backup', 'RUNNING', '2026-11-22T01:10:00.000Z', NULL, 'web-1', 3,
            '2026-11-22T01:10:00.000Z', NULL, 1, 'schedule', 1, NULL),
           (7, 'backup', 'QUEUED', '2026-11-22T01:20:00.000Z', NULL, 'web-1', 4,
            '2026-11-22T01:20:00.000Z', NULL, 1, 'catch-up', 1, NULL),
           (900, 'backup', 'FAILED', '2026-11-22T01:30:00.000Z', '2026-11-22T01:30:00.000Z', 'web-1', 5,
            NULL, NULL, 1, 'manual', 1, NULL);
    DELETE FROM cron_job_logs WHERE id = 900;
    INSERT INTO claims VALUES
        (3, 'backup', '2026-11-22T01:10:00.000Z', 'schedule', 1, '2026-11-22T01:10:00.004Z', 1800000, 10500,
         '[\"ops\"]', 'c0ffee', 0),
        (4, 'backup', '2026-11-22T01:20:00.000Z', 'catch-up', 1, '2026-11-22T01:20:00.004Z', NULL, 10000,
         '[]', 'c0ffee', 1);
    ALTER TABLE cron_job_logs ADD COLUMN ticket TEXT DEFAULT 'none';
    CREATE VIEW failures AS SELECT task_name, message, ticket FROM cron_job_logs WHERE status <> 'SUCCESS';
    CREATE VIEW broken AS SELECT * FROM gone;
    CREATE TABLE users_log (id INTEGER);
    CREATE TRIGGER users_trigger AFTER INSERT ON cron_job_logs BEGIN INSERT INTO users_log VALUES (new.id); END;";

/// A state directory as the first version has left it.
struct Old {
    runtime: Runtime,
    state: TempDir,
}

impl Old {
    fn new(left: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let state = tempfile::tempdir().unwrap();
        let old = Self { runtime, state };
        old.runtime.block_on(async {
            let path = old.state.path().join("state.db");
            let options = SqliteConnectOptions::new()
                .filename(path)
                .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
                .create_if_missing(true);
            let mut connection = options.connect().await.unwrap();
            let first =
                Migration::new(1, "ledger".into(), MigrationType::Simple, FIRST.into_sql_str(), false);
            Migrator::with_migrations(vec![first]).run(&mut connection).await.unwrap();
            connection.execute(AssertSqlSafe(left.to_owned())).await.unwrap();
            connection.close().await.unwrap();
        });
        old
    }

    /// The answer to a question that a single text answers.
    fn ask(&self, sql: &str) -> String {
        self.runtime.block_on(async {
            let mut connection = connect(self.state.path()).await;
            let answer = ask(&mut connection, sql).await;
            connection.close().await.unwrap();
            answer
        })
    }

    fn open(&self) -> Store {
        self.runtime.block_on(Store::open(self.state.path(), "renamed")).unwrap()
    }
}

async fn ask(connection: &mut SqliteConnection, sql: &str) -> String {
    let sql = AssertSqlSafe(format!("SELECT CAST(({sql}) AS TEXT)"));
    sqlx::query_scalar::<_, Option<String>>(sql).fetch_one(connection).await.unwrap().unwrap_or_default()
}

/// All rows of the run table as the first version had them.
const ROWS: &str = "SELECT group_concat(row, char(10)) FROM (
    SELECT json_array(id, task_name, status, started_at, completed_at, message, error_message, host, run_id,
                      scheduled_at, scheduled_until, fires, triggered_by, reason, config_hash) AS row
    FROM cron_job_logs ORDER BY id)";

const VERSION: &str = "SELECT max(version) FROM _sqlx_migrations";

const INTEGRITY: &str = "SELECT group_concat(integrity_check) FROM pragma_integrity_check";

#[test]
fn a_database_of_the_first_version_is_brought_up_to_date() {
    let old = Old::new(LEFT);
    let rows = old.ask(ROWS);
    let store = old.open();
    assert_eq!((old.ask(ROWS), old.ask(INTEGRITY)), (rows, "ok".to_owned()));
    assert_eq!(store.host(), "web-1");
    let attempts = "SELECT group_concat(attempt) FROM (SELECT attempt FROM cron_job_logs ORDER BY id)";
    assert_eq!(old.ask(attempts), "1,0,1,1,1", "a row of many fires is no try of any");

    let snapshot = old.runtime.block_on(store.snapshot(&BTreeSet::from([job("backup")]))).unwrap();
    assert_eq!((snapshot.last_batch, snapshot.last_run), (7, 5));
    assert_eq!(snapshot.history[&job("backup")].ends, [(at("01:00:00"), Status::Success)]);
    let running = Claim {
        claimed_at: at("01:10:00.004"),
        alert: vec!["ops".to_owned()],
        holds: Holds::default(),
        ..claim(3, "01:10:00")
    };
    let waiting = Claim {
        claimed_at: at("01:20:00.004"),
        trigger: Trigger::CatchUp,
        timeout: None,
        kill_grace: std::time::Duration::from_secs(10),
        alert: Vec::new(),
        ..claim(4, "01:20:00")
    };
    let open = |claim, state, running_since| OpenClaim {
        claim,
        state,
        skips: 0,
        told: BTreeSet::new(),
        running_since,
        noted: false,
    };
    let running = open(running, ClaimState::Due, Some(at("01:10:00")));
    assert_eq!(snapshot.open, [running, open(waiting, ClaimState::Queued, None)]);

    let known = old.runtime.block_on(store.reader().known(&job("backup"))).unwrap().unwrap();
    assert_eq!(known.known_since, "2026-11-01T00:00:00Z".parse().unwrap());
    assert_eq!((known.schedule_since, known.cursor), (at("01:30:00"), at("01:30:00")));
}

#[test]
fn what_the_users_have_hung_on_the_run_table_stays() {
    let old = Old::new(LEFT);
    let store = old.open();
    assert_eq!(old.ask("SELECT group_concat(DISTINCT ticket) FROM failures"), "none");
    let many = Accounted {
        scheduled_until: Some(at("05:00:00")),
        fires: 181,
        ..accounted(6, Status::Missed, "02:00:00")
    };
    let batch =
        |number, change| jobctl::engine::ledger::Batch { number, at: at("06:00:00"), changes: vec![change] };
    old.runtime.block_on(store.commit(&batch(8, Change::Account(many)))).unwrap();
    assert_eq!(old.ask("SELECT json_array(id, attempt) FROM cron_job_logs WHERE run_id = 6"), "[901,0]");
    assert_eq!(old.ask("SELECT group_concat(id) FROM users_log"), "901");
    let single = Claim { attempt: 0, ..claim(7, "06:00:00") };
    let refused =
        old.runtime.block_on(store.commit(&batch(9, Change::Claim { claim: single, queued: false })));
    assert!(matches!(refused, Err(StoreError::Rejected { .. })), "a run is a try from 1 on: {refused:?}");
}

#[test]
fn a_database_of_the_first_version_is_not_read_before_that() {
    let old = Old::new(LEFT);
    let error = old.runtime.block_on(Reader::open(old.state.path())).expect_err("it is older");
    assert!(matches!(error, StoreError::Older { found: 1, .. }), "{error}");
    assert_eq!(old.ask(VERSION), "1");
}

/// Names the state directory for [`opens_until_it_is_killed`].
const STATE_VARIABLE: &str = "STORE_TEST_OLD_STATE";

/// More than fits the memory that a transaction has, so that it is written down before it is complete.
const MANY_RUNS: u32 = 150_000;

#[test]
#[ignore = "the other half of a_kill_in_the_middle_leaves_the_old_database, which starts it"]
fn opens_until_it_is_killed() {
    let state = std::env::var_os(STATE_VARIABLE).expect("started by the other half");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Store::open(Path::new(&state), "web-1")).unwrap();
}

#[test]
fn a_kill_in_the_middle_leaves_the_old_database() {
    let many = format!(
        "{LEFT}
         WITH RECURSIVE numbers (n) AS (SELECT 100 UNION ALL SELECT n + 1 FROM numbers WHERE n < {MANY_RUNS})
         INSERT INTO cron_job_logs (task_name, status, started_at, completed_at, host, run_id, triggered_by)
         SELECT 'backup', 'SUCCESS', '2026-11-22T01:00:00.000Z', '2026-11-22T01:00:01.000Z', 'web-1', n, 'manual'
         FROM numbers;"
    );
    let old = Old::new(&many);
    let rows = old.ask(ROWS);
    let was_killed_inside = || {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "migration::opens_until_it_is_killed", "--ignored"])
            .env(STATE_VARIABLE, old.state.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let log = old.state.path().join("state.db-wal");
        let is_at_work = || fs::metadata(&log).is_ok_and(|log| log.len() > 1 << 20);
        while child.try_wait().unwrap().is_none() && !is_at_work() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        old.ask(VERSION) == "1"
    };
    assert!(was_killed_inside(), "the log has its first megabyte long before the last");
    assert_eq!((old.ask(ROWS), old.ask(INTEGRITY)), (rows.clone(), "ok".to_owned()));
    assert_eq!(old.ask("SELECT count(*) FROM claims WHERE queued = 1"), "1");
    let rule =
        "SELECT sql LIKE '%(attempt >= 1 AND fires >= 1)%' FROM sqlite_schema WHERE name = 'cron_job_logs'";
    assert_eq!(old.ask(rule), "1");
    old.open();
    assert_eq!((old.ask(ROWS), old.ask(INTEGRITY)), (rows, "ok".to_owned()));
    assert_eq!(
        old.ask("SELECT group_concat(run_id) FROM claims WHERE state = 'queued'"),
        RunId(4).to_string()
    );
}
