//! What the store answers to whoever asks why.

use std::collections::BTreeSet;

use jobctl::engine::ledger::{Accounted, Change};
use jobctl::engine::pause::Pause;
use jobctl::engine::reason::Reason;
use jobctl::engine::record::{Gap, RunRecord};
use jobctl::engine::run::{Claim, Exit, RunId, Status, Trigger};
use jobctl::engine::time::Timestamp;
use jobctl::engine::watch::SuccessWatch;
use jobctl::store::{Reader, RunFilter, Store, StoreError};

use super::Real;
use crate::store_suite::{Book, Ledger, accounted, at, claim, finish, job, queued, report, started};

/// Asks both ways: beside a jobd that is up, and of the files alone.
fn ask<T: PartialEq + std::fmt::Debug>(
    real: &Real,
    question: impl AsyncFn(&Reader) -> Result<T, StoreError> + Copy,
) -> T {
    real.runtime.block_on(async {
        let up = question(&real.store.reader()).await.unwrap();
        let alone = question(&Reader::open(real.state.path()).await.unwrap()).await.unwrap();
        assert_eq!(up, alone);
        up
    })
}

fn numbers(rows: &[RunRecord]) -> Vec<u64> {
    rows.iter().map(|row| row.run_id.0).collect()
}

fn many(run: u64, first: &str, last: &str) -> Change {
    let fires =
        Accounted { scheduled_until: Some(at(last)), fires: 1_441, ..accounted(run, Status::Missed, first) };
    Change::Account(fires)
}

#[test]
fn a_fire_is_found_by_its_instant() {
    let mut book = Book::new(Real::new());
    let retry = Claim { attempt: 2, trigger: Trigger::Retry, ..claim(2, "01:00:00") };
    let others = Claim { job: job("other"), ..claim(3, "01:00:00") };
    let changes = vec![
        started(claim(1, "01:00:00")),
        finish(1, report(Exit::Code(1)), "01:00:03"),
        queued(retry),
        started(others),
        many(4, "00:00:00", "06:00:00"),
        many(5, "07:00:00", "09:00:00"),
    ];
    book.write("10:00:00", changes);
    let rows = |name, when| ask(&book.ledger, async |reader| reader.fire_rows(&job(name), at(when)).await);
    assert_eq!(numbers(&rows("backup", "01:00:00")), [1, 2, 4]);
    assert_eq!(numbers(&rows("backup", "00:00:00")), [4]);
    assert_eq!(numbers(&rows("backup", "06:00:00")), [4]);
    assert_eq!(numbers(&rows("backup", "06:30:00")), [0_u64; 0]);
    assert_eq!(numbers(&rows("other", "01:00:00")), [3]);

    let between = |from, until| {
        let found =
            ask(&book.ledger, async |reader| reader.accounted(&job("backup"), at(from)..=at(until)).await);
        found.iter().map(|row| (row.run.0, row.scheduled_at, row.fires)).collect::<Vec<_>>()
    };
    let first = (4, at("00:00:00"), 1_441);
    let tries = [(1, at("01:00:00"), 1), (2, at("01:00:00"), 1)];
    let last = (5, at("07:00:00"), 1_441);
    assert_eq!(between("00:30:00", "07:00:00"), [first, tries[0], tries[1], last]);
    assert_eq!(between("00:00:00", "00:59:59"), [first]);
    assert_eq!(between("06:00:01", "06:59:59"), []);
}

#[test]
fn missed_fires_are_listed_by_when_they_were_due() {
    let mut book = Book::new(Real::new());
    let skip = Change::Account(accounted(3, Status::Skipped, "05:00:00"));
    let single = Change::Account(accounted(2, Status::Missed, "03:00:00"));
    book.write("10:00:00", vec![many(1, "00:00:00", "02:00:00"), single, skip]);
    let since = |when: &str, status: &[Status]| {
        let status = status.to_vec();
        book.ledger.list(&RunFilter { since: Some(at(when)), status, ..RunFilter::default() })
    };
    assert_eq!(since("01:00:00", &[Status::Missed]), [2, 1], "a row of many counts to its last fire");
    assert_eq!(since("02:00:01", &[Status::Missed, Status::Skipped]), [3, 2]);
}

#[test]
fn what_is_promised_is_told_with_what_it_waits_for() {
    let mut book = Book::new(Real::new());
    let waits = Claim { not_before: Some(at("01:30:00")), ..claim(1, "01:00:00") };
    book.write("01:00:00", vec![queued(waits), Change::Ahead { claim: claim(2, "02:00:00") }]);
    let open = ask(&book.ledger, async |reader| reader.open_claims().await);
    assert_eq!(open, book.ledger.snapshot().open);
    assert_eq!(open[0].claim.not_before, Some(at("01:30:00")));
}

#[test]
fn a_job_is_known_from_its_first_day_and_owes_from_its_last_change() {
    let mut book = Book::new(Real::new());
    let know = |hash: &str, cursor| Change::Know {
        job: job("backup"),
        schedule_hash: hash.to_owned(),
        cursor: at(cursor),
    };
    book.write("01:00:00", vec![know("a", "01:00:00")]);
    book.write("02:00:00", vec![know("b", "02:00:00")]);
    book.write("03:00:00", vec![Change::Advance { job: job("backup"), cursor: at("03:00:00") }]);
    let known = ask(&book.ledger, async |reader| reader.known(&job("backup")).await).unwrap();
    assert_eq!(
        (known.known_since, known.schedule_since, known.cursor),
        (at("01:00:00"), at("02:00:00"), at("03:00:00"))
    );
    assert_eq!(ask(&book.ledger, async |reader| reader.known(&job("other")).await), None);
    assert_eq!(ask(&book.ledger, async |reader| reader.all_known().await), [known]);
}

#[test]
fn gaps_are_found_by_the_time_that_they_cover() {
    let mut book = Book::new(Real::new());
    let gap = |from, until, reason| Change::Gap { from: at(from), until: at(until), reason };
    let clock = gap("05:00:00", "06:00:00", Reason::ClockMoved);
    book.write("10:00:00", vec![clock, gap("01:00:00", "03:00:00", Reason::Down)]);
    let between = |from, until| ask(&book.ledger, async |reader| reader.gaps(at(from), at(until)).await);
    let down = Gap { from: at("01:00:00"), until: at("03:00:00"), reason: Reason::Down };
    let moved = Gap { from: at("05:00:00"), until: at("06:00:00"), reason: Reason::ClockMoved };
    assert_eq!(between("02:00:00", "02:00:00"), std::slice::from_ref(&down));
    assert_eq!(between("00:00:00", "09:00:00"), [down, moved.clone()]);
    assert_eq!(between("03:00:00", "05:00:00"), []);
    assert_eq!(between("05:59:00", "09:00:00"), [moved]);
}

#[test]
fn the_logs_of_gaps_and_pauses_are_bounded() {
    let mut book = Book::new(Real::new());
    let since = |n: u64| at("00:00:00") + std::time::Duration::from_secs(n);
    let gap = |n| Change::Gap { from: since(n), until: since(n + 1), reason: Reason::Starved };
    let pause = |n: u64, name: &str| {
        let why = Some(n.to_string());
        Change::Pause(Pause {
            job: Some(job(name)),
            by: "uid 0".to_owned(),
            since: since(n),
            until: None,
            why,
        })
    };
    book.write("01:00:00", vec![pause(0, "other")]);
    book.write("01:00:00", (0..10_050).flat_map(|n| [gap(n), pause(n, "backup")]).collect());
    let (from, until) = (at("00:00:00"), at("23:00:00"));
    let gaps = ask(&book.ledger, async |reader| reader.gaps(from, until).await);
    assert_eq!((gaps.len(), gaps[0].from), (10_000, since(50)));
    let log = ask(&book.ledger, async |reader| reader.pause_log(&job("backup"), from, until).await);
    assert!((9_999..=10_000).contains(&log.len()), "{}", log.len());
    assert_eq!(log.last().unwrap().pause.why.as_deref(), Some("10049"));
    assert_eq!(ask(&book.ledger, async |reader| reader.pauses().await).len(), 2, "what is in force stays");
}

#[test]
fn the_pause_log_says_who_paused_and_who_resumed() {
    let mut book = Book::new(Real::new());
    let pause = |name: Option<&str>, by: &str, since: &str, until: Option<Timestamp>| {
        let (job, by, since) = (name.map(job), by.to_owned(), at(since));
        Change::Pause(Pause { job, by, since, until, why: None })
    };
    let resume = |name: Option<&str>, by: Option<&str>, when: &str| Change::Resume {
        job: name.map(job),
        by: by.map(str::to_owned),
        at: at(when),
    };
    book.write("01:00:00", vec![pause(Some("backup"), "mina", "01:00:00", None)]);
    book.write("02:00:00", vec![pause(Some("backup"), "jun", "02:00:00", Some(at("04:00:00")))]);
    book.write("02:10:00", vec![pause(Some("other"), "jun", "02:10:00", None)]);
    book.write(
        "04:00:05",
        vec![resume(Some("backup"), None, "04:00:05"), pause(None, "root", "05:00:00", None)],
    );
    book.write("06:00:00", vec![resume(None, Some("root"), "06:00:00")]);
    let log = |from, until| {
        let found =
            ask(&book.ledger, async |reader| reader.pause_log(&job("backup"), at(from), at(until)).await);
        let told = found.into_iter().map(|one| (one.pause.by, one.ended_at, one.ended_by));
        told.collect::<Vec<_>>()
    };
    let told = |by: &str, at, ended_by: Option<&str>| (by.to_owned(), at, ended_by.map(str::to_owned));
    let mina = told("mina", Some(at("02:00:00")), Some("jun"));
    let jun = told("jun", Some(at("04:00:05")), None);
    let root = told("root", Some(at("06:00:00")), Some("root"));
    assert_eq!(log("01:30:00", "01:30:00"), std::slice::from_ref(&mina));
    assert_eq!(log("00:00:00", "09:00:00"), [mina, jun, root.clone()]);
    assert_eq!(log("04:00:00", "04:59:59"), [], "its time was over before jobd saw it");
    assert_eq!(log("05:00:00", "05:00:00"), [root]);
}

#[test]
fn watches_are_told_to_readers() {
    let mut book = Book::new(Real::new());
    let watch = SuccessWatch {
        job: job("backup"),
        limit: std::time::Duration::from_hours(26),
        last_success: at("01:00:00"),
        told: true,
        alert: vec!["ops".to_owned()],
    };
    book.write("01:00:00", vec![Change::KeepWatch(watch.clone())]);
    assert_eq!(ask(&book.ledger, async |reader| reader.watches().await), [watch]);
}

#[test]
fn a_value_that_jobd_does_not_write_is_named() {
    let watch = SuccessWatch {
        job: job("backup"),
        limit: std::time::Duration::from_hours(26),
        last_success: at("01:00:00"),
        told: false,
        alert: Vec::new(),
    };
    let gap = Change::Gap { from: at("01:00:00"), until: at("02:00:00"), reason: Reason::Down };
    for (table, column, value) in [
        ("claims", "holds", r#"{"locks": 3}"#),
        ("claims", "told", r#"["bored"]"#),
        ("claims", "alert", "{}"),
        ("claims", "not_before", "soon"),
        ("watches", "alert", "null"),
        ("pauses", "job", "../etc"),
        ("gaps", "reason", r#""lazy""#),
    ] {
        let mut book = Book::new(Real::new());
        let pause = Pause {
            job: Some(job("backup")),
            by: String::new(),
            since: at("01:00:00"),
            until: None,
            why: None,
        };
        let changes = vec![
            started(claim(1, "01:00:00")),
            Change::KeepWatch(watch.clone()),
            Change::Pause(pause),
            gap.clone(),
        ];
        book.write("01:00:00", changes);
        let real = book.ledger;
        real.sql(&format!("UPDATE {table} SET {column} = '{value}'")).unwrap();
        let error = real.runtime.block_on(async {
            let snapshot = real.store.snapshot(&BTreeSet::new()).await;
            let gaps = real.store.reader().gaps(at("00:00:00"), at("09:00:00")).await;
            snapshot.map(drop).and(gaps.map(drop))
        });
        let error = error.expect_err("a value that nobody can read");
        assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(column) && cause.contains(&format!("{value:?}")), "{cause}");
    }
    let real = Real::new();
    real.sql("INSERT INTO gaps (from_at, until_at, reason) VALUES ('', '', '{')")
        .expect_err("this is no JSON");
}

#[test]
fn a_heartbeat_says_that_jobd_is_there() {
    let mut book = Book::new(Real::new());
    book.write("01:00:00", vec![]);
    let real = &mut book.ledger;
    real.runtime.block_on(Store::heartbeat(&real.store, at("01:01:00"))).unwrap();
    let snapshot = real.snapshot();
    assert_eq!((snapshot.last_batch, snapshot.last_seen), (1, Some(at("01:01:00"))));
    assert_eq!(real.runtime.block_on(real.reader().run(RunId(1))).unwrap(), None);
}
