//! The clock is set, ahead and back, and the machine sleeps.

use std::time::Duration;

use jobctl::engine::record::RunRecord;
use jobctl::engine::run::{Status, Trigger};
use jobctl::engine::time::Timestamp;

use crate::machine::Machine;
use crate::rows::{assert_each_once, second, with};

/// How often `beat` fires, seconds.
const BEAT: i64 = 10;
const PASSED_OVER: Option<&str> = Some("the clock passed over it");

/// A channel that nobody listens on, so that every notice stays in the outbox.
const JOBS: &str = r#"
timezone = "UTC"
[channels.ops]
type = "slack"
url = "http://127.0.0.1:9/nobody"
[defaults]
alert = ["ops"]

[jobs.beat]
schedule = "*/10 * * * * *"
catch_up = "skip"
shell = "exit 0"
timeout = "5m"

[jobs.daily]
schedule = "15 10 * * *"
shell = "exit 0"

[jobs.all]
schedule = "30 * * * *"
catch_up = "all"
shell = "exit 0"

[jobs.long]
schedule = "@yearly"
command = ["sleep", "1000"]
timeout = "30s"
catch_up = "skip"
alert = []
"#;

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

impl Machine {
    /// A machine whose clock showed this when jobd started, and the first fire since.
    fn at(time: &str) -> (Self, Timestamp) {
        let mut machine = Self::up();
        machine.set_clock(time);
        machine.supervise(JOBS);
        let first = machine.await_beat(instant(time)).scheduled_at.unwrap();
        (machine, first)
    }

    fn set_clock(&mut self, time: &str) {
        self.sh(&format!("date -s {time}"));
    }

    /// What the machine's clock shows, in seconds.
    fn clock(&mut self) -> i64 {
        self.sh("date +%s").trim().parse().unwrap()
    }

    /// Waits until a beat that was due after this has succeeded.
    #[track_caller]
    fn await_beat(&mut self, after: Timestamp) -> RunRecord {
        self.wait_for(&format!("it fires after {after}"), |machine| {
            let found = machine.json("history --job beat --status SUCCESS -n 50")["runs"].take();
            let rows: Vec<RunRecord> = serde_json::from_value(found).unwrap();
            rows.into_iter().find(|row| row.scheduled_at > Some(after))
        })
    }

    /// The messages about missed fires so far.
    fn told_missed(&mut self) -> usize {
        self.notices().iter().filter(|facts| facts.contains("clock_moved")).count()
    }

    /// A run goes over its time limit, which no clock that is set makes longer or shorter.
    #[track_caller]
    fn is_timed_out_in_time(&mut self, run: u64) {
        let row = self.ended(run);
        assert_eq!(row.status, Status::Timeout, "{row:#?}");
        let took = Duration::from_millis(row.duration_ms.unwrap());
        assert!((30..90).contains(&took.as_secs()), "{row:#?}");
    }

    /// The rows of every instant between two, each of which has exactly one.
    #[track_caller]
    fn every_beat(&mut self, from: Timestamp, until: Timestamp) -> Vec<RunRecord> {
        let rows = self.rows("beat");
        assert_each_once(&rows, BEAT, second(from), second(until));
        rows
    }
}

#[test]
fn a_clock_set_ahead_is_a_downtime() {
    let (mut machine, first) = Machine::at("2026-03-02T09:59:30Z");
    let long = machine.begin("long");
    machine.running(long);

    machine.set_clock("2026-03-02T11:59:57Z");
    let after = instant("2026-03-02T12:00:05Z");
    machine.await_beat(after);
    let rows = machine.every_beat(first, after);
    let missed = with(&rows, Status::Missed);
    assert!(missed.len() > 650, "{} rows", missed.len());
    // What was due just before the new time is not late yet, unless the machine is slow to act.
    let late = instant("2026-03-02T11:59:00Z");
    let other =
        missed.iter().find(|row| row.scheduled_at < Some(late) && row.reason.as_deref() != PASSED_OVER);
    assert_eq!(other, None);
    caught_up(&mut machine, "daily", &["2026-03-02T10:15:00Z"]);
    caught_up(&mut machine, "all", &["2026-03-02T10:30:00Z", "2026-03-02T11:30:00Z"]);
    assert_eq!(machine.told_missed(), 1, "one message for all of it");
    machine.is_timed_out_in_time(long);

    // A month of it is no flood.
    machine.set_clock("2026-04-01T12:00:07Z");
    let after = instant("2026-04-01T12:00:15Z");
    machine.await_beat(after);
    let before = rows.len();
    let rows = machine.every_beat(first, after);
    assert!(rows.len() < before + 100, "{} rows", rows.len());
    assert_eq!(machine.told_missed(), 2);
}

/// These fires, and no others, were made up for.
#[track_caller]
fn caught_up(machine: &mut Machine, job: &str, instants: &[&str]) {
    let rows = machine.wait_for("the missed fires are made up for", |machine| {
        let rows = machine.rows(job);
        (rows.len() == instants.len() && rows.iter().all(|row| row.status.is_final())).then_some(rows)
    });
    for (row, at) in rows.iter().zip(instants) {
        let said = (row.status, row.triggered_by, row.scheduled_at);
        assert_eq!(said, (Status::Success, Trigger::CatchUp, Some(instant(at))));
    }
}

#[test]
fn a_clock_set_back_repeats_nothing() {
    let (mut machine, first) = Machine::at("2026-03-02T12:00:00Z");
    let long = machine.begin("long");
    machine.running(long);

    // Within three hours it waits for the clock to be where it was.
    machine.set_clock("2026-03-02T10:00:03Z");
    let back = machine.clock();
    let last = machine.rows("beat").last().unwrap().scheduled_at.unwrap();
    machine.wait_for("four fires' time by the clock that is set back", |machine| {
        (machine.clock() > back + 4 * BEAT).then_some(())
    });
    assert_eq!(machine.rows("beat").last().unwrap().scheduled_at, Some(last), "nothing runs twice");
    machine.is_timed_out_in_time(long);
    machine.set_clock(&format!("@{}", second(last) + 5));
    machine.await_beat(last);
    let rows = machine.every_beat(first, last);
    assert!(with(&rows, Status::Missed).is_empty(), "{rows:#?}");

    // Further back is a new clock, and no downtime.
    machine.set_clock("2025-03-02T12:00:03Z");
    machine.wait_for("it fires by the new clock", |machine| {
        let rows = machine.rows("beat");
        rows.into_iter().find(|row| row.scheduled_at < Some(first) && row.status == Status::Success)
    });
    let rows = machine.rows("beat");
    assert!(with(&rows, Status::Missed).is_empty() && rows.len() < 100, "{rows:#?}");

    // And there again: what has its row keeps it, and what was before the first of them is nobody's business.
    machine.set_clock("2026-03-02T13:00:07Z");
    let after = instant("2026-03-02T13:00:15Z");
    machine.await_beat(after);
    let mut rows = machine.rows("beat");
    rows.retain(|row| row.scheduled_at >= Some(first));
    assert_each_once(&rows, BEAT, second(first), second(after));
}

#[test]
fn what_is_due_while_the_machine_sleeps_is_missed() {
    let (mut machine, first) = Machine::at("2026-03-02T09:59:30Z");
    let long = machine.begin("long");
    machine.running(long);
    machine.sh("rtcwake -m mem -s 90");
    let woken = Timestamp::from_second(machine.clock()).unwrap();
    machine.await_beat(woken);
    let rows = machine.every_beat(first, woken);
    let missed = with(&rows, Status::Missed);
    assert!(!missed.is_empty() && missed.iter().all(|row| row.reason.as_deref() == PASSED_OVER), "{rows:#?}");
    machine.is_timed_out_in_time(long);
}
