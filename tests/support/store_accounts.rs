//! The suite's other half: claims that wait or are made ahead, rows of many fires, pauses, watches and histories.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jobctl::engine::admission::Holds;
use jobctl::engine::ledger::{Accounted, Answer, Batch, Change, ClaimState, HISTORY_MAX, JobHistory};
use jobctl::engine::pause::Pause;
use jobctl::engine::reason::Reason;
use jobctl::engine::run::{Claim, Exit, Report, RunId, Status, Stop, Trigger};
use jobctl::engine::watch::{ConcernKind, SuccessWatch};

use crate::store_suite::{
    Book, Ledger, accounted, at, claim, finish, granted, job, manual, queued, report, started, taken,
};

/// Runs every case, each on a ledger of its own.
pub(crate) fn exercise<L: Ledger>(make: impl Fn() -> L) {
    what_a_run_waits_for_survives(make());
    a_claim_ahead_has_a_row_once_it_begins(make());
    claims_ahead_are_answered_again(make());
    a_claim_ahead_that_is_taken_back_leaves_nothing(make());
    a_claim_ahead_is_made_for_a_free_fire_only(make());
    a_fire_claimed_ahead_is_claimed_by_nobody_else(make());
    a_claim_ahead_that_begins_takes_the_place_of_a_missed_row(make());
    a_row_of_many_fires_is_no_try_of_any(make());
    a_row_of_many_fires_grows(make());
    a_skipped_fire_gives_way_to_a_persons_wish(make());
    a_try_that_is_taken_leaves_the_others_alone(make());
    fires_kept_from_starting_are_counted(make());
    concerns_are_told_once(make());
    a_pause_takes_the_place_of_an_earlier_one(make());
    watches_are_kept_until_dropped(make());
    a_history_has_the_last_ends_in_order(make());
    the_end_of_a_fire_is_that_of_its_last_try(make());
}

const fn ahead(claim: Claim) -> Change {
    Change::Ahead { claim }
}

fn begin(run: u64, when: &str) -> Change {
    Change::Begin { run: RunId(run), at: at(when) }
}

const fn withdraw(run: u64) -> Change {
    Change::Withdraw { run: RunId(run) }
}

fn by(trigger: Trigger, claim: Claim) -> Claim {
    Claim { trigger, ..claim }
}

fn many(run: u64, first: &str, last: &str, fires: u64) -> Change {
    Change::Account(Accounted {
        scheduled_until: Some(at(last)),
        fires,
        ..accounted(run, Status::Missed, first)
    })
}

fn states<L: Ledger>(book: &mut Book<L>) -> Vec<(u64, ClaimState)> {
    book.ledger.snapshot().open.iter().map(|open| (open.claim.run.0, open.state)).collect()
}

fn what_a_run_waits_for_survives(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    let holds = Holds {
        locks: vec!["db".to_owned(), "청구".to_owned()],
        pools: BTreeMap::from([("etl".to_owned(), 2)]),
    };
    let waits = Claim {
        not_before: Some(at("01:05:00.250")),
        holds,
        trigger: Trigger::Retry,
        attempt: 2,
        ..claim(2, "01:00:00")
    };
    book.write("01:00:00", vec![started(claim(1, "01:00:00")), queued(waits.clone())]);
    assert_eq!(book.ledger.snapshot().open[1].claim, waits);
}

fn a_claim_ahead_has_a_row_once_it_begins(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    assert_eq!(book.write("00:59:00", vec![ahead(claim(1, "01:00:00"))]), [granted(1, 1)]);
    assert_eq!(book.ledger.rows(), []);
    let snapshot = book.ledger.snapshot();
    assert_eq!((snapshot.last_run, snapshot.open[0].state), (1, ClaimState::Ahead));
    assert_eq!(snapshot.open[0].claim, claim(1, "01:00:00"));

    book.write("01:00:00.003", vec![begin(1, "01:00:00.001")]);
    let row = book.row(1);
    assert_eq!((row.status, row.started_at), (Status::Running, at("01:00:00.001")));
    assert_eq!((row.scheduled_at, row.attempt), (Some(at("01:00:00")), 1));
    assert_eq!((row.triggered_by, row.config_hash.as_deref()), (Trigger::Schedule, Some("c0ffee")));
    assert_eq!(states(&mut book), [(1, ClaimState::Due)]);

    // It begins once, and what has not been claimed does not begin.
    book.write("01:00:01", vec![begin(1, "01:00:01"), begin(2, "01:00:01")]);
    assert_eq!(book.ledger.rows(), [row]);
    book.write("01:00:03", vec![finish(1, report(Exit::Code(0)), "01:00:03"), begin(1, "01:00:04")]);
    assert_eq!(book.statuses(), [(1, Status::Success)]);
    assert!(book.open_runs().is_empty());
}

fn claims_ahead_are_answered_again(mut ledger: impl Ledger) {
    let changes = vec![ahead(claim(1, "01:00:00")), ahead(claim(2, "01:00:00")), ahead(claim(3, "01:10:00"))];
    let first = Batch { number: 1, at: at("00:59:00"), changes };
    let answers = [granted(1, 1), taken(2), granted(3, 1)];
    assert_eq!(ledger.commit(&first).unwrap(), answers);
    let open = ledger.snapshot().open;
    assert_eq!(ledger.commit(&first).unwrap(), answers);
    assert_eq!(ledger.snapshot().open, open);

    let second = Batch { number: 2, at: at("01:00:00"), changes: vec![begin(1, "01:00:00"), withdraw(3)] };
    for _ in 0..2 {
        assert_eq!(ledger.commit(&second).unwrap(), []);
        let states: Vec<_> =
            ledger.snapshot().open.iter().map(|open| (open.claim.run.0, open.state)).collect();
        assert_eq!(states, [(1, ClaimState::Due)]);
        assert_eq!(ledger.rows().len(), 1);
    }
    assert_eq!(ledger.commit(&first).unwrap()[0], granted(1, 1), "the row stands for the claim");
}

fn a_claim_ahead_that_is_taken_back_leaves_nothing(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    book.write("00:59:00", vec![ahead(claim(1, "01:00:00")), ahead(claim(2, "01:10:00"))]);
    book.write("00:59:30", vec![withdraw(1), withdraw(2), begin(1, "01:00:00")]);
    assert!(book.open_runs().is_empty());
    assert_eq!(book.ledger.rows(), []);
    assert_eq!(book.ledger.snapshot().last_run, 2, "its number is spent");
    let skipped = Change::Account(accounted(4, Status::Skipped, "01:10:00"));
    assert_eq!(book.write("01:00:00", vec![started(claim(3, "01:00:00")), skipped]), [granted(3, 1)]);

    // What has a row is not taken back so.
    book.write("01:00:01", vec![queued(claim(5, "01:20:00")), withdraw(5), withdraw(3)]);
    assert_eq!(book.open_runs(), [3, 5]);

    // A claim ahead that is ended has never been.
    book.write("01:20:01", vec![ahead(claim(6, "01:30:00")), finish(6, report(Exit::Code(0)), "01:20:01")]);
    assert_eq!(book.open_runs(), [3, 5]);
    assert!(book.statuses().iter().all(|(run, _)| *run != 6));
}

fn a_claim_ahead_is_made_for_a_free_fire_only(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    let changes = vec![
        started(claim(1, "01:00:00")),
        Change::Account(accounted(2, Status::Missed, "01:10:00")),
        queued(Claim { job: job("other"), ..claim(3, "01:20:00") }),
        many(4, "02:00:00", "05:00:00", 1_801),
    ];
    book.write("00:50:00", changes);
    let aheads = [(5, "01:00:00"), (6, "01:10:00"), (7, "01:20:00"), (8, "01:20:00"), (9, "02:00:00")];
    let answers = book.write("00:59:00", aheads.map(|(run, fire)| ahead(claim(run, fire))).to_vec());
    assert_eq!(answers, [taken(5), taken(6), granted(7, 1), taken(8), granted(9, 1)]);
    assert_eq!(book.open_runs(), [1, 3, 7, 9]);
    assert_eq!(book.row(2).status, Status::Missed, "it gives way to nothing that is not certain");
}

fn a_fire_claimed_ahead_is_claimed_by_nobody_else(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    book.write("00:59:00", vec![ahead(claim(1, "01:00:00"))]);
    let others = vec![
        started(by(Trigger::CatchUp, claim(2, "01:00:00"))),
        started(manual(3, Some("01:00:00"))),
        queued(Claim { attempt: 2, trigger: Trigger::Retry, ..claim(4, "01:00:00") }),
    ];
    let answers = book.write("00:59:30", others);
    assert_eq!(answers, [taken(2), granted(3, 2), granted(4, 3)], "what may repeat a fire is a further try");
    book.write("01:00:00", vec![begin(1, "01:00:00")]);
    let tries: Vec<_> = book.ledger.rows().iter().map(|row| (row.run_id.0, row.attempt)).collect();
    assert_eq!(tries, [(1, 1), (3, 2), (4, 3)]);
    let (due, queued) = (ClaimState::Due, ClaimState::Queued);
    assert_eq!(states(&mut book), [(1, due), (3, due), (4, queued)]);
}

fn a_claim_ahead_that_begins_takes_the_place_of_a_missed_row(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    book.write("00:59:00", vec![ahead(claim(1, "01:00:00")), ahead(claim(2, "01:10:00"))]);
    let missed = Change::Account(accounted(3, Status::Missed, "01:00:00"));
    let skipped = Change::Account(accounted(4, Status::Skipped, "01:10:00"));
    book.write("01:10:00", vec![missed, skipped, begin(1, "01:10:00"), begin(2, "01:10:00")]);
    assert_eq!(book.statuses(), [(1, Status::Running), (4, Status::Skipped)]);
    assert_eq!(book.open_runs(), [1]);
}

fn a_row_of_many_fires_is_no_try_of_any(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    book.write("06:00:00", vec![many(1, "01:00:00", "05:00:00", 241), started(manual(2, Some("07:00:00")))]);
    assert_eq!(book.row(1).attempt, 0);
    let changes = vec![
        started(by(Trigger::CatchUp, claim(3, "01:00:00"))),
        started(manual(4, Some("01:01:00"))),
        started(manual(5, Some("01:00:00"))),
        Change::Account(accounted(6, Status::Skipped, "01:02:00")),
        // Another one from the same fire on is the same account; one fire of it with a row of its own is none.
        many(7, "01:00:00", "05:00:00", 241),
        many(8, "07:00:00", "09:00:00", 121),
    ];
    assert_eq!(book.write("06:00:01", changes), [granted(3, 1), granted(4, 1), granted(5, 2)]);
    let rows: Vec<_> = book.ledger.rows().iter().map(|row| (row.run_id.0, row.attempt, row.fires)).collect();
    assert_eq!(rows, [(1, 0, 241), (2, 1, 1), (3, 1, 1), (4, 1, 1), (5, 2, 1), (6, 1, 1), (8, 0, 121)]);
    // A fire whose own row is its account is not accounted for again beside it.
    book.write("06:00:02", vec![Change::Account(accounted(9, Status::Missed, "01:01:00"))]);
    assert_eq!(book.ledger.rows().len(), rows.len());
}

fn a_row_of_many_fires_grows(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    let extend = |run, until, fires| Change::Extend { run: RunId(run), until: at(until), fires };
    book.write(
        "02:00:00",
        vec![many(1, "01:00:00", "01:59:00", 60), Change::Account(accounted(2, Status::Missed, "00:30:00"))],
    );
    book.write(
        "02:10:00",
        vec![extend(1, "02:09:00", 10), extend(2, "02:09:00", 10), extend(3, "02:09:00", 1)],
    );
    let row = book.row(1);
    assert_eq!(
        (row.fires, row.scheduled_at, row.scheduled_until),
        (70, Some(at("01:00:00")), Some(at("02:09:00")))
    );
    let row = book.row(2);
    assert_eq!((row.fires, row.scheduled_until), (1, None), "a single one never becomes many");
}

fn a_skipped_fire_gives_way_to_a_persons_wish(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    let skip = |run, fire| Change::Account(accounted(run, Status::Skipped, fire));
    let fires = ["01:00:00", "01:01:00", "01:02:00", "01:03:00"];
    book.write("01:10:00", (1..).zip(fires).map(|(run, fire)| skip(run, fire)).collect());
    let changes = vec![
        started(claim(5, fires[0])),
        started(by(Trigger::Retry, claim(6, fires[0]))),
        started(by(Trigger::After, claim(7, fires[1]))),
        started(by(Trigger::CatchUp, claim(8, fires[2]))),
        started(manual(9, Some(fires[3]))),
    ];
    let answers = book.write("02:00:00", changes);
    // A further try takes no row away.
    assert_eq!(answers, [taken(5), granted(6, 2), taken(7), granted(8, 1), granted(9, 1)]);
    let running = [6, 8, 9].map(|run| (run, Status::Running));
    assert_eq!(book.statuses(), [&[(1, Status::Skipped), (2, Status::Skipped)], &running[..]].concat());
}

fn a_try_that_is_taken_leaves_the_others_alone(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    let retry = Claim { attempt: 2, trigger: Trigger::Retry, ..claim(2, "01:00:00") };
    let changes =
        vec![started(claim(1, "01:00:00")), finish(1, report(Exit::Code(1)), "01:00:03"), queued(retry)];
    book.write("01:00:00", changes);
    let missed = Change::Finish {
        run: RunId(2),
        status: Status::Missed,
        reason: None,
        report: None,
        at: at("03:00:00"),
    };
    book.write("03:00:00", vec![missed]);
    let again = by(Trigger::CatchUp, claim(3, "01:00:00"));
    assert_eq!(book.write("04:00:00", vec![started(again)]), [taken(3)]);
    assert_eq!(
        book.statuses(),
        [(1, Status::Failed), (2, Status::Missed)],
        "a claim turned down writes nothing"
    );
    assert_eq!(book.write("05:00:00", vec![started(manual(4, Some("01:00:00")))]), [granted(4, 2)]);
    assert_eq!(book.statuses(), [(1, Status::Failed), (4, Status::Running)]);
}

fn fires_kept_from_starting_are_counted(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    let skip =
        |run, fire, reason| Change::Account(Accounted { reason, ..accounted(run, Status::Skipped, fire) });
    let overlap = |by| Reason::Overlap { run: RunId(by) };
    let skips = |book: &mut Book<_>| -> Vec<u64> {
        Ledger::snapshot(&mut book.ledger).open.iter().map(|open| open.skips).collect()
    };
    book.write("01:00:00", vec![started(claim(1, "01:00:00")), started(manual(2, None))]);
    assert_eq!(skips(&mut book), [0, 0]);
    let changes = vec![
        skip(3, "01:01:00", overlap(1)),
        skip(4, "01:01:00", overlap(1)),
        skip(5, "01:02:00", Reason::Busy { name: "db".to_owned(), run: RunId(1) }),
        skip(6, "01:03:00", overlap(77)),
    ];
    book.write("01:01:00", changes);
    assert_eq!(skips(&mut book), [1, 0], "only a fire that has got a row by it");
    let more = Accounted {
        scheduled_until: Some(at("05:00:00")),
        fires: 60,
        ..accounted(7, Status::Skipped, "04:00:00")
    };
    book.write("05:00:00", vec![Change::Account(Accounted { reason: overlap(1), ..more })]);
    assert_eq!(skips(&mut book), [61, 0]);
}

fn concerns_are_told_once(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    let told = |run, concern| Change::Told { run: RunId(run), concern };
    book.write("01:00:00", vec![started(claim(1, "01:00:00")), ahead(claim(2, "01:10:00"))]);
    let changes = vec![
        told(1, ConcernKind::InTheWay),
        told(1, ConcernKind::Long),
        told(1, ConcernKind::InTheWay),
        told(2, ConcernKind::NotStarted),
        told(77, ConcernKind::Silent),
    ];
    book.write("01:05:00", changes);
    book.write("01:10:00", vec![begin(2, "01:10:00")]);
    let told: Vec<_> = book.ledger.snapshot().open.into_iter().map(|open| open.told).collect();
    let expected = [
        BTreeSet::from([ConcernKind::Long, ConcernKind::InTheWay]),
        BTreeSet::from([ConcernKind::NotStarted]),
    ];
    assert_eq!(told, expected);
}

fn a_pause_takes_the_place_of_an_earlier_one(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    let pause = |name: Option<&str>, since, until: Option<&str>| Pause {
        job: name.map(job),
        by: "uid 1000 (mina)".to_owned(),
        since: at(since),
        until: until.map(at),
        why: until.map(|_| "이전 작업".to_owned()),
    };
    let resume = |name: Option<&str>| Change::Resume { job: name.map(job), by: None, at: at("03:00:00") };
    let first = pause(Some("backup"), "01:00:00", None);
    let all = pause(None, "01:10:00", Some("09:00:00"));
    let longer = pause(Some("backup"), "01:20:00", Some("08:00:00"));
    let other = pause(Some("other"), "01:30:00", None);
    book.write("01:00:00", vec![Change::Pause(first), Change::Pause(all.clone())]);
    book.write("01:20:00", vec![Change::Pause(longer.clone()), Change::Pause(other.clone())]);
    assert_eq!(book.ledger.snapshot().pauses, [all.clone(), longer.clone(), other.clone()]);
    book.write("03:00:00", vec![resume(None), resume(Some("nobody"))]);
    assert_eq!(book.ledger.snapshot().pauses, [longer.clone(), other.clone()]);
    book.write("03:00:00", vec![resume(Some("backup")), resume(Some("backup")), Change::Pause(all.clone())]);
    assert_eq!(book.ledger.snapshot().pauses, [other, all]);
}

fn watches_are_kept_until_dropped(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    let watch = |name: &str, told| SuccessWatch {
        job: job(name),
        limit: Duration::from_mins(90),
        last_success: at("01:00:00.125"),
        told,
        alert: vec!["ops".to_owned(), "운영".to_owned()],
    };
    book.write(
        "01:00:00",
        vec![Change::KeepWatch(watch("other", false)), Change::KeepWatch(watch("backup", false))],
    );
    let later = SuccessWatch { last_success: at("02:00:00"), alert: Vec::new(), ..watch("other", true) };
    book.write("02:00:00", vec![Change::KeepWatch(later.clone())]);
    assert_eq!(book.ledger.snapshot().watches, [watch("backup", false), later.clone()]);
    let drop = |name| Change::DropWatch { job: job(name) };
    book.write("03:00:00", vec![drop("backup"), drop("nobody"), Change::Forget { job: job("other") }]);
    assert_eq!(book.ledger.snapshot().watches, [later], "it outlives the job");
}

fn known(name: &str) -> Change {
    Change::Know { job: job(name), schedule_hash: "a".to_owned(), cursor: at("00:00:00") }
}

fn history<L: Ledger>(book: &mut Book<L>) -> JobHistory {
    book.ledger.snapshot().history.remove(&job("backup")).expect("its history was asked for")
}

fn a_history_has_the_last_ends_in_order(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    book.write("00:00:00", vec![known("backup"), known("other")]);
    assert_eq!(history(&mut book), JobHistory::default());
    let fire = |run: u64| format!("01:{:02}:{:02}", run / 60, run % 60);
    for run in 1..=60 {
        let end =
            Report { duration: Duration::from_millis(run), ..report(Exit::Code(i32::from(run % 10 == 0))) };
        book.write("01:00:00", vec![started(claim(run, &fire(run))), finish(run, end, &fire(run + 60))]);
    }
    // What never ran, ran without a fire, goes on or is another job's is no end of a fire.
    let lost = Report::lost("host rebooted", None, at("02:00:00"));
    let changes = vec![
        Change::Account(accounted(61, Status::Missed, "00:10:00")),
        Change::Account(accounted(62, Status::Skipped, "00:11:00")),
        started(manual(63, None)),
        finish(63, Report { duration: Duration::from_secs(63), ..report(Exit::Code(0)) }, "03:00:00"),
        started(claim(64, "00:12:00")),
        started(Claim { job: job("other"), ..claim(65, "00:13:00") }),
        finish(65, report(Exit::Code(0)), "03:01:00"),
        started(claim(66, "00:14:00")),
        finish(66, lost, "03:02:00"),
    ];
    book.write("03:00:00", changes);
    let past = history(&mut book);
    let took: Vec<u64> = past.successes.iter().map(|took| u64::try_from(took.as_millis()).unwrap()).collect();
    let good = (1..=60).filter(|run| run % 10 != 0).chain([63_000]);
    assert_eq!(took, good.skip(55 - HISTORY_MAX).collect::<Vec<_>>());
    assert_eq!(past.last_success, Some(at("03:00:00")));
    let status = |run| if run % 10 == 0 { Status::Failed } else { Status::Success };
    let ends = (1..=60).map(|run| (at(&fire(run)), status(run))).chain([(at("00:14:00"), Status::Lost)]);
    assert_eq!(past.ends, ends.skip(61 - HISTORY_MAX).collect::<Vec<_>>());
}

fn the_end_of_a_fire_is_that_of_its_last_try(ledger: impl Ledger) {
    let mut book = Book::new(ledger);
    let retry = |run, fire| Claim { attempt: 2, trigger: Trigger::Retry, ..claim(run, fire) };
    let failed = || report(Exit::Code(1));
    let killed = Report { stop: Some(Stop::Manual { by: "uid 0".to_owned() }), ..report(Exit::Signal(15)) };
    let gone = |run| Change::Finish {
        run: RunId(run),
        status: Status::Missed,
        reason: None,
        report: None,
        at: at("02:30:00"),
    };
    let changes = vec![
        known("backup"),
        // A retry has succeeded.
        started(claim(1, "01:00:00")),
        finish(1, failed(), "02:00:00"),
        started(retry(2, "01:00:00")),
        finish(2, report(Exit::Code(0)), "02:10:00"),
        // A retry is still to come.
        started(claim(3, "01:01:00")),
        finish(3, failed(), "02:01:00"),
        queued(retry(4, "01:01:00")),
        // A retry never came.
        started(claim(5, "01:02:00")),
        finish(5, failed(), "02:02:00"),
        queued(retry(6, "01:02:00")),
        gone(6),
        // A person tries again.
        started(claim(7, "01:03:00")),
        finish(7, killed, "02:03:00"),
        started(manual(8, Some("01:03:00"))),
    ];
    let answers = book.write("02:00:00", changes);
    assert!(answers.iter().all(|(_, answer)| matches!(answer, Answer::Granted { .. })), "{answers:?}");
    // In the order of the runs: the clock may have been set between their ends.
    let expected = [
        (at("01:00:00"), Status::Success),
        (at("01:02:00"), Status::Failed),
        (at("01:03:00"), Status::Killed),
    ];
    assert_eq!(history(&mut book).ends, expected);
    book.write("03:00:00", vec![finish(8, failed(), "03:00:00"), finish(4, failed(), "03:01:00")]);
    let expected = [
        (at("01:00:00"), Status::Success),
        (at("01:01:00"), Status::Failed),
        (at("01:02:00"), Status::Failed),
        (at("01:03:00"), Status::Failed),
    ];
    assert_eq!(history(&mut book).ends, expected);
}
