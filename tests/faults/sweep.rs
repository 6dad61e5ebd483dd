//! The sweep: jobd, or each of its shims, dies at every place between two durable steps, one place after the other.
//!
//! Two jobs fire each second, one that succeeds and one that fails. The first jobd dies at its place, or all of its
//! shims do until it is stopped; the next one finds no such place. Then all is judged from outside: by what the jobs
//! wrote down themselves, by the seconds of the clock, and by what arrived at the webhook.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::Duration;

use jobctl::clock;
use jobctl::engine::record::RunRecord;
use jobctl::engine::run::Status;
use jobctl::failpoint::{Failpoint, VARIABLE};
use nix::sys::signal::Signal;

use crate::jobd::{Jobd, wait_for};
use crate::webhook::Webhook;
use crate::{by_hand, lines};

/// The jobs that fire, and the codes with which they end.
const CODES: [(&str, i32); 2] = [("good", 0), ("bad", 3)];

fn jobs() -> String {
    let job = |(name, code): (&str, i32)| {
        format!(
            "[jobs.{name}]\nschedule = \"* * * * * *\"\ncatch_up = \"all\"\nshell = '''\n\
             echo \"$JOBD_JOB $JOBD_SCHEDULED_AT $JOBD_RUN_ID\" >> starts\n\
             echo \"of run $JOBD_RUN_ID\"; exit {code}'''\n"
        )
    };
    CODES.map(job).concat()
}

/// What a place costs a run that comes by.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cost {
    /// jobd dies, or the shim when all is written: no run suffers.
    Nothing,
    /// The shim dies, the run ends so, and it is known whether its job was started.
    Run { status: Status, started: Option<bool> },
}

/// Exhaustive: a new place has no way around this.
const fn cost(place: Failpoint) -> Cost {
    match place {
        Failpoint::BeforeClaim
        | Failpoint::AfterClaim
        | Failpoint::AfterTurn
        | Failpoint::BeforeSpec
        | Failpoint::BeforeFork
        | Failpoint::AfterFork
        | Failpoint::AfterAhead
        | Failpoint::AfterArm
        | Failpoint::AfterGo
        | Failpoint::BeforeSignal
        | Failpoint::AfterResult
        | Failpoint::BeforeRow
        | Failpoint::AfterRow
        | Failpoint::AfterDelivery => Cost::Nothing,
        // Without a mark nothing was started, and that is known.
        Failpoint::AfterGate | Failpoint::BeforeMark => {
            Cost::Run { status: Status::Failed, started: Some(false) }
        }
        Failpoint::AfterMark => Cost::Run { status: Status::Lost, started: Some(false) },
        // The job dies with its shim, before or after its first words.
        Failpoint::AfterStart => Cost::Run { status: Status::Lost, started: None },
        Failpoint::BeforeResult => Cost::Run { status: Status::Lost, started: Some(true) },
    }
}

const fn is_of_the_shim(place: Failpoint) -> bool {
    matches!(cost(place), Cost::Run { .. }) || matches!(place, Failpoint::AfterResult)
}

/// Whether only a run comes by that was not claimed ahead of its instant: what is made up for is not.
const fn is_passed_by_what_waits(place: Failpoint) -> bool {
    matches!(
        place,
        Failpoint::BeforeClaim
            | Failpoint::AfterClaim
            | Failpoint::AfterTurn
            | Failpoint::BeforeFork
            | Failpoint::AfterFork
    )
}

/// Lets jobd, or some shims of each job, die at the place, and starts a jobd that passes it.
fn die_and_come_back(jobd: &mut Jobd, webhook: &Webhook, place: Failpoint) {
    if is_passed_by_what_waits(place) {
        leave_a_queue(jobd, webhook);
    }
    jobd.start_with(&[(VARIABLE, Path::new(place.as_str()))]);
    if is_of_the_shim(place) {
        until_told(jobd, webhook);
        jobd.kill();
    } else {
        if place == Failpoint::BeforeSignal {
            until_told(jobd, webhook);
            let run = jobd.begin("slow");
            jobd.jobctl(&["kill", &run.to_string()]);
        }
        assert_eq!(jobd.wait_until_dead().signal(), Some(Signal::SIGABRT as i32), "{}", jobd.log());
    }
    jobd.start();
    jobd.wait_until_ready();
}

/// Waits until some runs of both jobs are settled and people know: whoever kills jobd between a delivery and its mark
/// has it repeated, which is the fault of one place only.
fn until_told(jobd: &mut Jobd, webhook: &Webhook) {
    jobd.wait_until_ready();
    wait_for("runs of both jobs are settled", || {
        let settled = |(job, _)| jobd.history(job).iter().filter(|row| row.status.is_final()).count();
        CODES.map(settled).iter().all(|count| *count >= 2).then_some(())
    });
    webhook.delivered(jobd);
}

/// A downtime that is made up for in turn.
fn leave_a_queue(jobd: &mut Jobd, webhook: &Webhook) {
    jobd.start();
    until_told(jobd, webhook);
    jobd.kill();
    let up_again = clock::now().wall + Duration::from_secs(4);
    wait_for("some fires are missed", || (clock::now().wall >= up_again).then_some(()));
}

fn sweep(place: Failpoint) {
    let webhook = Webhook::started();
    let slow = by_hand("slow", "shell = 'until [ -e gate ]; do sleep 0.05; done'");
    let mut jobd = Jobd::new(&webhook.config(&(jobs() + &slow)));
    die_and_come_back(&mut jobd, &webhook, place);
    // What died ahead of an instant may have come back before it.
    let until = clock::now().wall.as_second() + 2;
    let rows = CODES.map(|(job, code)| (job, code, settled(&jobd, job, until)));
    fs::write(jobd.path("gate"), "").unwrap();
    if place == Failpoint::BeforeSignal {
        // Nobody has told its shim, and jobd says nothing that is not so.
        let run = jobd.history("slow")[0].run_id.0;
        assert_eq!(jobd.ended(run).status, Status::Success);
    }
    assert_told(&webhook.delivered(&jobd), place);
    assert_eq!(jobd.stop(), Some(0));
    wait_for("nothing is left alive", || {
        (jobd.shims().is_empty() && jobd.job_processes().is_empty()).then_some(())
    });
    let starts = starts(&jobd);
    for (job, code, rows) in rows {
        assert_each_second_has_a_row(job, &rows);
        for row in &rows {
            assert_true(&jobd, row, code, place, &starts);
        }
        if let Cost::Run { status, .. } = cost(place) {
            let suffered = rows.iter().any(|row| row.status == status && row.exit_code.is_none());
            assert!(suffered, "no run of {job} came by the place");
        }
    }
}

/// Waits until every fire up to an instant is settled and a later one has run, and returns the rows up to there.
fn settled(jobd: &Jobd, job: &str, until: i64) -> Vec<RunRecord> {
    wait_for("every fire is settled, and the job runs", || {
        let (due, later): (Vec<RunRecord>, Vec<RunRecord>) =
            jobd.history(job).into_iter().partition(|row| row.scheduled_at.unwrap().as_second() <= until);
        let runs = later.iter().any(|row| row.exit_code.is_some());
        (runs && due.iter().all(|row| row.status.is_final())).then_some(due)
    })
}

/// The runs that were started, as their jobs wrote it down: no two for one fire of a job.
fn starts(jobd: &Jobd) -> BTreeSet<u64> {
    let (mut fires, mut runs) = (BTreeSet::new(), BTreeSet::new());
    for line in lines(jobd, "starts") {
        let (fire, run) = line.rsplit_once(' ').unwrap();
        assert!(fires.insert(fire.to_owned()), "two starts for {fire}, the second as run {run}");
        runs.insert(run.parse().unwrap());
    }
    runs
}

fn assert_each_second_has_a_row(job: &str, rows: &[RunRecord]) {
    let seconds: Vec<i64> = rows.iter().rev().map(|row| row.scheduled_at.unwrap().as_second()).collect();
    let every: Vec<i64> = (seconds[0]..=seconds[seconds.len() - 1]).collect();
    assert_eq!(seconds, every, "the rows of {job} are not its fires");
}

/// A row is what happened, never a guess.
fn assert_true(jobd: &Jobd, row: &RunRecord, code: i32, place: Failpoint, starts: &BTreeSet<u64>) {
    let run = row.run_id.0;
    let is_started = starts.contains(&run);
    if let Some(exit_code) = row.exit_code {
        let status = if code == 0 { Status::Success } else { Status::Failed };
        assert_eq!((row.status, exit_code, is_started), (status, code, true), "{row:?}");
        assert_eq!(jobd.tell(&["logs", "--stdout", &run.to_string()]), format!("of run {run}\n"));
        return;
    }
    match (row.status, cost(place)) {
        (Status::Missed | Status::Skipped, _) => {
            assert!(!is_started && row.reason.is_some(), "{row:?}");
        }
        (found, Cost::Run { status, started }) => {
            assert_eq!(found, status, "{row:?}");
            assert!(started.is_none_or(|started| started == is_started), "{row:?}");
            assert!(row.error_message.is_some(), "{row:?}");
        }
        (_, Cost::Nothing) => panic!("the place costs no run anything: {row:?}"),
    }
}

/// One message for each kind of trouble of a job and one for its end, however often jobd or a shim died.
fn assert_told(texts: &[String], place: Failpoint) {
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for text in texts {
        let first_line = text.lines().next().unwrap();
        // A downtime has its own message, with figures in it.
        if !first_line.contains("놓친 실행") {
            *told.entry(first_line).or_default() += 1;
        }
    }
    let expected: &[&str] = match cost(place) {
        Cost::Nothing => &["❌ bad 실패"],
        Cost::Run { status: Status::Lost, .. } => {
            &["✅ good 복구", "❌ bad 결과 불명", "❌ bad 실패", "❌ good 결과 불명"]
        }
        Cost::Run { .. } => &["✅ good 복구", "❌ bad 실패", "❌ good 실패"],
    };
    assert_eq!(
        told.keys().copied().collect::<BTreeSet<_>>(),
        expected.iter().copied().collect(),
        "{texts:?}"
    );
    // What has arrived and is not marked is sent again: at least once is what is promised.
    let twice = usize::from(place == Failpoint::AfterDelivery);
    assert_eq!(told.values().sum::<usize>(), expected.len() + twice, "{texts:?}");
}

#[test]
fn death_before_a_claim_is_durable() {
    sweep(Failpoint::BeforeClaim);
}

#[test]
fn death_when_a_claim_is_durable() {
    sweep(Failpoint::AfterClaim);
}

#[test]
fn death_when_a_turn_is_durable() {
    sweep(Failpoint::AfterTurn);
}

#[test]
fn death_before_the_spec_is_written() {
    sweep(Failpoint::BeforeSpec);
}

#[test]
fn death_before_the_shim_is_started() {
    sweep(Failpoint::BeforeFork);
}

#[test]
fn death_when_the_shim_is_started() {
    sweep(Failpoint::AfterFork);
}

#[test]
fn death_when_a_claim_ahead_is_durable() {
    sweep(Failpoint::AfterAhead);
}

#[test]
fn death_when_a_shim_is_at_its_gate() {
    sweep(Failpoint::AfterArm);
}

#[test]
fn death_when_a_gate_is_opened_and_no_row_is_there() {
    sweep(Failpoint::AfterGo);
}

#[test]
fn death_when_the_gate_is_passed() {
    sweep(Failpoint::AfterGate);
}

#[test]
fn death_before_the_mark_is_written() {
    sweep(Failpoint::BeforeMark);
}

#[test]
fn death_when_the_mark_is_written() {
    sweep(Failpoint::AfterMark);
}

#[test]
fn death_when_the_job_is_started() {
    sweep(Failpoint::AfterStart);
}

#[test]
fn death_before_the_shim_is_told_to_end_the_run() {
    sweep(Failpoint::BeforeSignal);
}

#[test]
fn death_before_the_result_is_written() {
    sweep(Failpoint::BeforeResult);
}

#[test]
fn death_when_the_result_is_durable() {
    sweep(Failpoint::AfterResult);
}

#[test]
fn death_before_the_row_is_final() {
    sweep(Failpoint::BeforeRow);
}

#[test]
fn death_when_the_row_is_final() {
    sweep(Failpoint::AfterRow);
}

#[test]
fn death_when_a_message_has_arrived() {
    sweep(Failpoint::AfterDelivery);
}

#[test]
fn the_sweep_leaves_no_place_out() {
    let own = include_str!("sweep.rs");
    for place in Failpoint::ALL {
        assert!(own.contains(&format!("    sweep(Failpoint::{place:?});")), "{place:?} is swept by no test");
    }
}
