//! What every ledger must do, whether it is the embedded database or the simulation's: one suite for both, so that
//! what the simulation proves of the engine holds with the real store too.
//!
//! Instants are whole milliseconds throughout, the precision that a ledger promises.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

use std::collections::BTreeSet;
use std::time::Duration;

use jobctl::engine::admission::Holds;
use jobctl::engine::job::JobName;
use jobctl::engine::ledger::{Accounted, Answer, Batch, Change, ClaimState, KnownJob, OpenClaim, Snapshot};
use jobctl::engine::reason::Reason;
use jobctl::engine::record::RunRecord;
use jobctl::engine::run::{Claim, Exit, Report, RunId, Status, Stop, Trigger};
use jobctl::engine::time::Timestamp;

/// What the suite asks of a ledger.
pub(crate) trait Ledger {
    /// Applies a batch, or answers it again.
    fn commit(&mut self, batch: &Batch) -> Result<Vec<(RunId, Answer)>, String>;
    /// What a jobd that starts now is told.
    fn snapshot(&mut self) -> Snapshot;
    /// Every row, by run number.
    fn rows(&mut self) -> Vec<RunRecord>;
}

/// Runs every case, each on a ledger of its own.
pub(crate) fn exercise<L: Ledger>(make: impl Fn() -> L) {
    a_new_ledger_knows_nothing(make());
    batches_count_up_by_one(make());
    a_batch_sent_twice_is_answered_twice_and_applied_once(make());
    a_taken_claim_writes_nothing(make());
    further_attempts_of_a_fire_are_runs_of_their_own(make());
    manual_runs_of_a_fire_are_its_next_attempts(make());
    manual_runs_without_a_fire_never_meet(make());
    a_queued_run_is_due_until_it_starts(make());
    a_queued_run_may_end_without_having_started(make());
    a_final_row_never_changes(make());
    each_outcome_is_told(make());
    a_missed_fire_gives_way_to_its_run(make());
    a_fire_with_a_row_is_not_accounted_for_again(make());
    an_accounted_fire_cannot_be_claimed(make());
    many_fires_are_one_row(make());
    cursors_move_as_told(make());
    boots_are_remembered(make());
    incidents_open_grow_and_close(make());
    claims_survive_whole(make());
    a_run_that_goes_on_may_have_a_note(make());
    run_numbers_are_never_given_again(make());
}

/// An instant on the suite's day: `at("01:00:00")`.
pub(crate) fn at(time: &str) -> Timestamp {
    format!("2026-11-22T{time}Z").parse().unwrap()
}

pub(crate) fn job(name: &str) -> JobName {
    JobName::new(name).unwrap()
}

/// A claim for a fire of `backup`, with every field set.
pub(crate) fn claim(run: u64, scheduled_at: &str) -> Claim {
    Claim {
        run: RunId(run),
        job: job("backup"),
        scheduled_at: Some(at(scheduled_at)),
        trigger: Trigger::Schedule,
        attempt: 1,
        not_before: None,
        holds: Holds::default(),
        claimed_at: at("01:00:00.007"),
        timeout: Some(Duration::from_mins(30)),
        kill_grace: Duration::from_millis(10_500),
        alert: vec!["ops".to_owned(), "운영".to_owned()],
        config_hash: "c0ffee".to_owned(),
    }
}

pub(crate) fn manual(run: u64, scheduled_at: Option<&str>) -> Claim {
    Claim { scheduled_at: scheduled_at.map(at), trigger: Trigger::Manual, ..claim(run, "01:00:00") }
}

pub(crate) const fn started(claim: Claim) -> Change {
    Change::Claim { claim, queued: false }
}

pub(crate) const fn queued(claim: Claim) -> Change {
    Change::Claim { claim, queued: true }
}

pub(crate) fn report(exit: Exit) -> Report {
    Report {
        exit,
        started_at: Some(at("01:00:00.250")),
        duration: Duration::from_millis(2_500),
        pid: Some(4711),
        cpu: Duration::from_millis(1_200),
        max_rss_kib: 20_480,
        output_bytes: 99,
        message: Some("213건 청구서 발행 완료".to_owned()),
        error_tail: "Traceback".to_owned(),
        ..Report::lost("", None, at("01:00:02.750"))
    }
}

pub(crate) fn finish(run: u64, report: Report, when: &str) -> Change {
    let status = report.status();
    Change::Finish { run: RunId(run), status, reason: None, report: Some(Box::new(report)), at: at(when) }
}

pub(crate) fn accounted(run: u64, status: Status, scheduled_at: &str) -> Accounted {
    Accounted {
        run: RunId(run),
        job: job("backup"),
        status,
        scheduled_at: at(scheduled_at),
        scheduled_until: None,
        fires: 1,
        reason: Reason::Down,
        config_hash: "c0ffee".to_owned(),
    }
}

pub(crate) fn granted(run: u64, attempt: u32) -> (RunId, Answer) {
    (RunId(run), Answer::Granted { attempt })
}

pub(crate) fn taken(run: u64) -> (RunId, Answer) {
    (RunId(run), Answer::Taken)
}

/// A ledger and the number of its last batch.
pub(crate) struct Book<L> {
    pub(crate) ledger: L,
    number: u64,
}

impl<L: Ledger> Book<L> {
    pub(crate) const fn new(ledger: L) -> Self {
        Self { ledger, number: 0 }
    }

    /// Commits the next batch, decided at `when`.
    pub(crate) fn write(&mut self, when: &str, changes: Vec<Change>) -> Vec<(RunId, Answer)> {
        self.number += 1;
        let batch = Batch { number: self.number, at: at(when), changes };
        self.ledger.commit(&batch).unwrap()
    }

    pub(crate) fn row(&mut self, run: u64) -> RunRecord {
        self.ledger.rows().into_iter().find(|row| row.run_id == RunId(run)).expect("a row of this number")
    }

    pub(crate) fn statuses(&mut self) -> Vec<(u64, Status)> {
        self.ledger.rows().iter().map(|row| (row.run_id.0, row.status)).collect()
    }

    pub(crate) fn open_runs(&mut self) -> Vec<u64> {
        self.ledger.snapshot().open.iter().map(|open| open.claim.run.0).collect()
    }
}

fn a_new_ledger_knows_nothing(mut ledger: impl Ledger) {
    let snapshot = ledger.snapshot();
    assert_eq!((snapshot.last_batch, snapshot.last_run), (0, 0));
    assert_eq!((snapshot.last_seen, snapshot.boot_id), (None, None));
    assert!(snapshot.jobs.is_empty() && snapshot.open.is_empty() && snapshot.incidents.is_empty());
    assert!(snapshot.pauses.is_empty() && snapshot.watches.is_empty());
    assert_eq!(ledger.rows(), []);
}

fn batches_count_up_by_one(mut ledger: impl Ledger) {
    let batch = |number, when| Batch { number, at: at(when), changes: Vec::new() };
    ledger.commit(&batch(1, "01:00:00")).unwrap();
    ledger.commit(&batch(3, "01:00:09")).expect_err("batch 2 is missing");
    let snapshot = ledger.snapshot();
    assert_eq!((snapshot.last_batch, snapshot.last_seen), (1, Some(at("01:00:00"))));
    ledger.commit(&batch(2, "01:00:01")).unwrap();
    let snapshot = ledger.snapshot();
    assert_eq!((snapshot.last_batch, snapshot.last_seen), (2, Some(at("01:00:01"))));
}

fn a_batch_sent_twice_is_answered_twice_and_applied_once(mut ledger: impl Ledger) {
    let bad = Change::JoinIncident { job: job("backup"), status: Status::Failed };
    let first = Batch {
        number: 1,
        at: at("01:00:00"),
        changes: vec![
            Change::OpenIncident {
                job: job("backup"),
                run: RunId(1),
                status: Status::Failed,
                at: at("01:00:00"),
            },
            bad,
            started(claim(1, "01:00:00")),
            started(claim(2, "01:00:00")),
            started(manual(3, Some("01:00:00"))),
            Change::Account(accounted(4, Status::Missed, "00:00:00")),
        ],
    };
    let answers = ledger.commit(&first).unwrap();
    assert_eq!(answers, [granted(1, 1), taken(2), granted(3, 2)]);
    let rows = ledger.rows();
    assert_eq!(ledger.commit(&first).unwrap(), answers);
    assert_eq!(ledger.rows(), rows);
    assert_eq!(ledger.snapshot().incidents[0].bad_runs, 2);

    // Also when much has happened since.
    let changes = vec![finish(1, report(Exit::Code(0)), "01:00:03")];
    ledger.commit(&Batch { number: 2, at: at("01:00:03"), changes }).unwrap();
    let rows = ledger.rows();
    assert_eq!(ledger.commit(&first).unwrap(), answers);
    assert_eq!(ledger.rows(), rows);
    let snapshot = ledger.snapshot();
    assert_eq!((snapshot.last_batch, snapshot.last_seen), (2, Some(at("01:00:03"))));
}

fn a_taken_claim_writes_nothing(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    assert_eq!(book.write("01:00:00", vec![started(claim(1, "01:00:00"))]), [granted(1, 1)]);
    let again = Claim { trigger: Trigger::CatchUp, ..claim(2, "01:00:00") };
    assert_eq!(book.write("01:00:05", vec![started(again)]), [taken(2)]);
    assert_eq!(book.statuses(), [(1, Status::Running)]);
    assert_eq!(book.open_runs(), [1]);

    let others = Claim { job: job("other"), ..claim(3, "01:00:00") };
    assert_eq!(book.write("01:00:06", vec![started(others)]), [granted(3, 1)]);
}

fn further_attempts_of_a_fire_are_runs_of_their_own(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    let second = |run| Claim { attempt: 2, ..claim(run, "01:00:00") };
    let changes = vec![started(claim(1, "01:00:00")), started(second(2)), started(second(3))];
    assert_eq!(book.write("01:00:00", changes), [granted(1, 1), granted(2, 2), taken(3)]);
}

fn manual_runs_of_a_fire_are_its_next_attempts(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    let by_hand = |run| started(manual(run, Some("01:00:00")));
    assert_eq!(book.write("00:59:00", vec![by_hand(1), by_hand(2)]), [granted(1, 1), granted(2, 2)]);
    assert_eq!(book.write("01:00:00", vec![started(claim(3, "01:00:00"))]), [taken(3)]);
    assert_eq!(book.write("01:01:00", vec![by_hand(4)]), [granted(4, 3)]);
    let row = book.row(4);
    assert_eq!((row.attempt, row.triggered_by), (3, Trigger::Manual));
    assert_eq!(row.scheduled_at, Some(at("01:00:00")));
    let attempts: Vec<u32> = book.ledger.snapshot().open.iter().map(|open| open.claim.attempt).collect();
    assert_eq!(attempts, [1, 2, 3], "the claim carries what was granted");

    book.write("02:00:00", vec![Change::Account(accounted(5, Status::Missed, "02:00:00"))]);
    let missed = started(manual(6, Some("02:00:00")));
    assert_eq!(book.write("02:30:00", vec![missed]), [granted(6, 1)], "a MISSED row gives way");
    assert!(book.statuses().iter().all(|(run, _)| *run != 5));
}

fn manual_runs_without_a_fire_never_meet(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    let changes = vec![started(manual(1, None)), started(manual(2, None))];
    assert_eq!(book.write("01:00:00", changes), [granted(1, 1), granted(2, 1)]);
    assert_eq!(book.row(2).scheduled_at, None);
}

fn a_queued_run_is_due_until_it_starts(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    book.write("01:00:00.020", vec![queued(claim(1, "01:00:00")), queued(manual(2, None))]);
    let row = book.row(1);
    assert_eq!((row.status, row.started_at), (Status::Queued, at("01:00:00")));
    assert_eq!((row.completed_at, row.config_hash.as_deref()), (None, Some("c0ffee")));
    assert_eq!(book.row(2).started_at, at("01:00:00.007"), "due when it was asked for");
    assert!(book.ledger.snapshot().open.iter().all(|open| open.state == ClaimState::Queued));

    book.write("01:05:00.001", vec![Change::Start { run: RunId(1), at: at("01:05:00") }]);
    let row = book.row(1);
    assert_eq!((row.status, row.started_at), (Status::Running, at("01:05:00")));
    assert_eq!(book.ledger.snapshot().open[0].state, ClaimState::Due);
}

fn a_queued_run_may_end_without_having_started(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    book.write("01:00:00.020", vec![queued(claim(1, "01:00:00")), started(claim(2, "01:10:00"))]);
    let missed = |run| Change::Finish {
        run: RunId(run),
        status: Status::Missed,
        reason: Some("jobd stopped before the job was started".to_owned()),
        report: None,
        at: at("03:00:00"),
    };
    book.write("03:00:00", vec![missed(1), missed(2)]);
    for (run, due) in [(1, "01:00:00"), (2, "01:10:00")] {
        let row = book.row(run);
        assert_eq!((row.status, row.completed_at), (Status::Missed, Some(at("03:00:00"))));
        assert_eq!(row.started_at, at(due), "a run that never started has the instant at which it was due");
        assert_eq!(row.reason.as_deref(), Some("jobd stopped before the job was started"));
        assert_eq!((row.exit_code, row.duration_ms, row.pid), (None, None, None));
    }
    assert!(book.open_runs().is_empty());
}

fn a_final_row_never_changes(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    book.write("01:00:00", vec![started(claim(1, "01:00:00"))]);
    book.write("01:00:03", vec![finish(1, report(Exit::Code(0)), "01:00:03")]);
    let row = book.row(1);
    assert_eq!((row.status, row.completed_at), (Status::Success, Some(at("01:00:03"))));
    assert!(book.open_runs().is_empty());

    book.write("01:00:04", vec![finish(1, report(Exit::Code(1)), "01:00:04")]);
    book.write("01:00:05", vec![Change::Start { run: RunId(1), at: at("01:00:05") }]);
    let lost = Report::lost("host rebooted", None, at("01:00:06"));
    book.write("01:00:06", vec![finish(1, lost, "01:00:06"), finish(77, report(Exit::Code(0)), "01:00:06")]);
    assert_eq!(book.row(1), row);
    assert_eq!(book.ledger.rows().len(), 1, "a run that is not known is no row");
}

fn each_outcome_is_told(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    let by_timeout = Report { stop: Some(Stop::Timeout), ..report(Exit::Signal(9)) };
    let by_hand =
        Report { stop: Some(Stop::Manual { by: "uid 1000".to_owned() }), ..report(Exit::Signal(15)) };
    let lost = Report::lost("the shim vanished", Some(at("01:00:00.250")), at("01:00:09"));
    let ends =
        [report(Exit::Code(0)), report(Exit::Code(3)), report(Exit::Signal(11)), by_timeout, by_hand, lost];
    let expected = [
        (Status::Success, Some(0), None),
        (Status::Failed, Some(3), None),
        (Status::Failed, None, Some(11)),
        (Status::Timeout, None, Some(9)),
        (Status::Killed, None, Some(15)),
        (Status::Lost, None, None),
    ];
    for (run, (end, (status, exit_code, term_signal))) in (1..).zip(ends.into_iter().zip(expected)) {
        book.write("01:00:00", vec![started(claim(run, &format!("01:{run:02}:00")))]);
        book.write("01:59:00", vec![finish(run, end, "01:00:09")]);
        let row = book.row(run);
        assert_eq!((row.status, row.exit_code, row.term_signal), (status, exit_code, term_signal));
        assert_eq!((row.started_at, row.completed_at), (at("01:00:00.250"), Some(at("01:00:09"))));
    }
    let row = book.row(1);
    assert_eq!((row.duration_ms, row.cpu_ms, row.max_rss_kib), (Some(2_500), Some(1_200), Some(20_480)));
    assert_eq!((row.output_bytes, row.pid), (Some(99), Some(4711)));
    assert_eq!(row.message.as_deref(), Some("213건 청구서 발행 완료"));
}

fn a_missed_fire_gives_way_to_its_run(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    let folded = Accounted {
        scheduled_until: Some(at("09:00:00")),
        fires: 61,
        ..accounted(2, Status::Missed, "08:00:00")
    };
    let missed = Change::Account(accounted(1, Status::Missed, "01:00:00"));
    book.write("10:00:00", vec![missed, Change::Account(folded)]);
    let made_up_for = Claim { trigger: Trigger::CatchUp, ..claim(3, "01:00:00") };
    assert_eq!(book.write("10:00:01", vec![started(made_up_for)]), [granted(3, 1)]);
    assert_eq!(book.statuses(), [(2, Status::Missed), (3, Status::Running)]);
}

fn a_fire_with_a_row_is_not_accounted_for_again(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    book.write("01:00:00", vec![started(claim(1, "01:00:00")), started(manual(2, Some("01:10:00")))]);
    book.write("02:00:00", vec![Change::Account(accounted(3, Status::Skipped, "01:20:00"))]);
    let again = |run, fire| Change::Account(accounted(run, Status::Missed, fire));
    book.write("03:00:00", vec![again(4, "01:00:00"), again(5, "01:10:00"), again(6, "01:20:00")]);
    assert_eq!(book.statuses(), [(1, Status::Running), (2, Status::Running), (3, Status::Skipped)]);
}

fn an_accounted_fire_cannot_be_claimed(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    let skipped = Accounted {
        reason: Reason::Overlap { run: RunId(17) },
        ..accounted(20, Status::Skipped, "01:00:00")
    };
    book.write("01:00:00.015", vec![Change::Account(skipped)]);
    let row = book.row(20);
    assert_eq!((row.status, row.attempt, row.fires), (Status::Skipped, 1, 1));
    assert_eq!((row.scheduled_at, row.started_at), (Some(at("01:00:00")), at("01:00:00")));
    assert_eq!((row.completed_at, row.triggered_by), (Some(at("01:00:00.015")), Trigger::Schedule));
    assert_eq!(row.reason.as_deref(), Some("run 17 was still active"));
    assert_eq!(book.write("01:00:01", vec![started(claim(21, "01:00:00"))]), [taken(21)]);
    assert!(book.open_runs().is_empty());
}

fn many_fires_are_one_row(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    let silence = Accounted {
        scheduled_until: Some(at("05:00:00")),
        fires: 241,
        ..accounted(1, Status::Missed, "01:00:00")
    };
    book.write("06:00:00", vec![Change::Account(silence)]);
    let row = book.row(1);
    assert_eq!((row.fires, row.scheduled_until), (241, Some(at("05:00:00"))));
}

fn cursors_move_as_told<L: Ledger>(ledger: L) {
    let mut book = Book::new(ledger);
    let know = |name: &str, hash: &str, cursor| Change::Know {
        job: job(name),
        schedule_hash: hash.to_owned(),
        cursor: at(cursor),
    };
    let advance = |name: &str, cursor| Change::Advance { job: job(name), cursor: at(cursor) };
    let known = |name: &str, hash: &str, cursor| KnownJob {
        job: job(name),
        schedule_hash: hash.to_owned(),
        cursor: at(cursor),
    };
    book.write("01:00:00", vec![know("backup", "a", "01:00:00"), know("academy", "b", "01:00:00")]);
    book.write("02:00:00", vec![advance("backup", "02:00:00")]);
    let jobs = |ledger: &mut L| {
        let mut jobs = ledger.snapshot().jobs;
        jobs.sort_by(|a, b| a.job.cmp(&b.job));
        jobs
    };
    assert_eq!(jobs(&mut book.ledger), [known("academy", "b", "01:00:00"), known("backup", "a", "02:00:00")]);
    // What is accounted for stays so when the clock is set back; a new schedule starts anew.
    book.write("00:30:00", vec![advance("backup", "00:30:00"), know("academy", "c", "00:30:00")]);
    assert_eq!(jobs(&mut book.ledger), [known("academy", "c", "00:30:00"), known("backup", "a", "02:00:00")]);
    assert_eq!(book.ledger.snapshot().last_seen, Some(at("00:30:00")));
    book.write("03:00:00", vec![Change::Forget { job: job("backup") }]);
    assert_eq!(jobs(&mut book.ledger), [known("academy", "c", "00:30:00")]);
}

fn boots_are_remembered(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    for boot in ["8a4f", "91bc"] {
        book.write("01:00:00", vec![Change::Booted { boot_id: boot.to_owned() }]);
        assert_eq!(book.ledger.snapshot().boot_id.as_deref(), Some(boot));
    }
}

fn incidents_open_grow_and_close(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    let open = |name: &str, when| Change::OpenIncident {
        job: job(name),
        run: RunId(1),
        status: Status::Failed,
        at: at(when),
    };
    let join = |status| Change::JoinIncident { job: job("backup"), status };
    book.write("01:00:00", vec![open("backup", "01:00:00"), open("other", "01:00:30")]);
    book.write("02:00:00", vec![join(Status::Failed), join(Status::Timeout), join(Status::Timeout)]);
    let incidents = book.ledger.snapshot().incidents;
    let facts: Vec<_> = incidents.iter().map(|open| (open.job.as_str(), open.since, open.bad_runs)).collect();
    assert_eq!(facts, [("backup", at("01:00:00"), 4), ("other", at("01:00:30"), 1)]);
    assert_eq!(incidents[0].kinds, [Status::Failed, Status::Timeout]);

    let close = Change::CloseIncident { job: job("backup"), run: RunId(9), at: at("03:00:00") };
    book.write("03:00:00", vec![close]);
    assert_eq!(book.ledger.snapshot().incidents.len(), 1);
    book.write("04:00:00", vec![open("backup", "04:00:00")]);
    let reopened = book.ledger.snapshot().incidents;
    let reopened = reopened.iter().find(|open| open.job == job("backup")).unwrap();
    assert_eq!((reopened.since, reopened.bad_runs), (at("04:00:00"), 1));
}

fn claims_survive_whole(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    let plain = Claim {
        timeout: None,
        alert: Vec::new(),
        trigger: Trigger::CatchUp,
        job: job("a.b_c-d"),
        ..claim(12, "00:10:00")
    };
    let claims = [claim(10, "01:00:00"), manual(11, None), plain];
    let changes = claims.iter().cloned().map(|claim| Change::Claim { queued: claim.run.0 == 11, claim });
    book.write("01:00:00.020", changes.collect());
    let state = |run| if run == 11 { ClaimState::Queued } else { ClaimState::Due };
    let open = |claim: Claim| OpenClaim {
        state: state(claim.run.0),
        skips: 0,
        told: BTreeSet::new(),
        running_since: (state(claim.run.0) == ClaimState::Due).then(|| at("01:00:00.020")),
        noted: false,
        claim,
    };
    let expected: Vec<OpenClaim> = claims.into_iter().map(open).collect();
    assert_eq!(book.ledger.snapshot().open, expected);
}

fn a_run_that_goes_on_may_have_a_note(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    book.write("01:00:00", vec![started(claim(1, "01:00:00")), started(claim(2, "01:10:00"))]);
    let note = |run| Change::Note { run: RunId(run), reason: "cannot be killed".to_owned() };
    book.write("01:31:00", vec![note(1)]);
    let snapshot = book.ledger.snapshot();
    let noted: Vec<(u64, bool)> = snapshot.open.iter().map(|open| (open.claim.run.0, open.noted)).collect();
    assert_eq!(noted, [(1, true), (2, false)]);
    let row = book.ledger.rows().remove(0);
    assert_eq!((row.status, row.reason.as_deref()), (Status::Running, Some("cannot be killed")));
    book.write("01:40:00", vec![finish(1, report(Exit::Code(0)), "01:40:00")]);
    book.write("01:41:00", vec![note(1)]);
    let row = book.ledger.rows().remove(0);
    assert_eq!((row.status, row.reason), (Status::Success, None), "it is final, and its note gone");
}

fn run_numbers_are_never_given_again(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    book.write("01:00:00", vec![started(claim(1, "01:00:00"))]);
    book.write("01:00:00", vec![started(claim(2, "01:00:00"))]);
    assert_eq!(book.ledger.snapshot().last_run, 2, "the number of a claim turned down is spent");
    book.write("01:00:00", vec![Change::Account(accounted(9, Status::Missed, "00:00:00"))]);
    book.write("01:00:00", vec![started(claim(3, "01:30:00"))]);
    assert_eq!(book.ledger.snapshot().last_run, 9);
}
