//! What a downtime costs: every fire in it is accounted for, and told of in one message.

use std::fmt::Write as _;
use std::time::Duration;

use jobctl::clock;
use jobctl::engine::record::RunRecord;
use jobctl::engine::run::{Status, Trigger};
use jobctl::engine::time::Timestamp;

use crate::jobd::{Jobd, wait_for};
use crate::webhook::Webhook;
use crate::{lines, with_database};

/// How long jobd was down, as its store remembers it.
const DOWN: Duration = Duration::from_hours(5);
/// The fires of that time: one an hour.
const FIRES: usize = 5;

/// An hourly schedule whose last fire was half an hour ago, so that none is near.
pub fn hourly() -> String {
    let half_an_hour_ago = clock::now().wall - Duration::from_mins(30);
    format!("{} * * * *", half_an_hour_ago.strftime("%-M"))
}

/// Makes a stopped jobd's store remember it as having gone five hours ago.
pub fn backdate(jobd: &Jobd) {
    backdate_by(jobd, DOWN);
}

fn backdate_by(jobd: &Jobd, down: Duration) {
    let then = format!("{:.3}", clock::now().wall - down);
    with_database(jobd, async |database| {
        for sql in ["UPDATE jobs SET cursor = ?", "UPDATE meta SET last_seen = ?"] {
            sqlx::query(sql).bind(&then).execute(&mut *database).await.unwrap();
        }
    });
}

/// The rows of a job, oldest fire first.
fn rows(jobd: &Jobd, job: &str) -> Vec<RunRecord> {
    let mut rows = jobd.history(job);
    rows.sort_by_key(|row| row.scheduled_at);
    rows
}

#[track_caller]
fn assert_each_fire_has_a_row(rows: &[RunRecord], down_at: Timestamp, up_at: Timestamp) {
    let fires: Vec<Timestamp> = rows.iter().map(|row| row.scheduled_at.unwrap()).collect();
    assert_eq!(fires.len(), FIRES, "{rows:?}");
    assert!(down_at <= fires[0] && fires[FIRES - 1] <= up_at);
    assert!(fires.windows(2).all(|two| two[1].duration_since(two[0]).as_hours() == 1), "{fires:?}");
    assert!(rows.iter().all(|row| row.fires == 1 && row.scheduled_until.is_none()));
}

#[test]
fn each_policy_makes_up_for_what_it_says_and_one_message_tells_it_all() {
    let webhook = Webhook::started();
    let mut jobs = String::new();
    for policy in ["skip", "latest", "all"] {
        // Of five fires, three are within the window.
        write!(
            jobs,
            "[jobs.{policy}]\nschedule = \"{}\"\ncatch_up = \"{policy}\"\ncatch_up_window = \"3h\"\n\
             shell = 'echo \"$JOBD_JOB $JOBD_TRIGGER $JOBD_SCHEDULED_AT\" >> starts'\n",
            hourly()
        )
        .unwrap();
    }
    let mut jobd = Jobd::started(&webhook.config(&jobs));
    assert_eq!(jobd.stop(), Some(0));
    backdate(&jobd);
    let down_at = clock::now().wall - DOWN - Duration::from_mins(1);
    jobd.start();
    jobd.wait_until_ready();
    wait_for("all is settled", || {
        ["skip", "latest", "all"]
            .iter()
            .all(|job| rows(&jobd, job).iter().all(|row| row.status.is_final()))
            .then_some(())
    });

    for (job, folded, caught_up) in [("skip", 0, 0), ("latest", 2, 1), ("all", 0, 3)] {
        let rows = rows(&jobd, job);
        assert_each_fire_has_a_row(&rows, down_at, clock::now().wall);
        let (decided, made_up) = rows.split_at(FIRES - caught_up);
        let (missed, in_window) = decided.split_at(decided.len() - folded);
        for row in missed {
            assert_eq!((row.status, row.triggered_by), (Status::Missed, Trigger::Schedule));
            assert_eq!(row.reason.as_deref(), Some("jobd was not running"));
        }
        for row in in_window {
            let heir = format!("made up for by run {}, for a later fire", made_up[0].run_id);
            assert_eq!((row.status, row.reason.as_ref()), (Status::Skipped, Some(&heir)));
        }
        for row in made_up {
            assert_eq!((row.status, row.triggered_by), (Status::Success, Trigger::CatchUp));
        }
        let one_after_the_other =
            made_up.windows(2).all(|two| two[0].completed_at.unwrap() <= two[1].started_at);
        assert!(one_after_the_other, "{made_up:?}");
        let started = lines(&jobd, "starts");
        let of_job = started.iter().filter(|line| line.starts_with(&format!("{job} catch-up "))).count();
        assert_eq!(of_job, caught_up);
    }
    assert_told_once(&webhook.delivered(&jobd));
}

#[track_caller]
fn assert_told_once(texts: &[String]) {
    assert_eq!(texts.len(), 1, "{texts:?}");
    let text = &texts[0];
    assert!(text.starts_with("⚠️ 놓친 실행 15회: jobd가 꺼져 있었습니다\n"), "{text}");
    for (job, made_up) in [
        ("skip", "보충 실행 없음, 3회는 직접 보충 가능"),
        ("latest", "1회 보충 실행, 2회는 그 실행으로 대신함"),
        ("all", "3회 보충 실행"),
    ] {
        let line = text.lines().find(|line| line.starts_with(&format!("⚠️ {job} 실행 기록 없음: "))).unwrap();
        assert!(line.contains("놓친 실행 5회") && line.ends_with(made_up), "{line}");
    }
    let to_do = text.lines().last().unwrap();
    assert!(to_do.contains("`jobctl catchup skip@") && to_do.contains("`jobctl catchup --all`"), "{to_do}");
}

#[test]
fn a_mere_restart_costs_no_fire_and_no_message() {
    let webhook = Webhook::started();
    let jobs = "[jobs.each_second]\nschedule = \"* * * * * *\"\ncatch_up = \"all\"\nshell = \"exit 0\"\n";
    let mut jobd = Jobd::started(&webhook.config(jobs));
    let ran =
        |jobd: &Jobd| rows(jobd, "each_second").iter().filter(|row| row.status == Status::Success).count();
    wait_for("it fires", || (ran(&jobd) > 0).then_some(()));
    jobd.stop();
    jobd.start();
    jobd.wait_until_ready();
    let before = ran(&jobd);
    wait_for("it fires again", || (ran(&jobd) > before).then_some(()));
    let rows = rows(&jobd, "each_second");
    let seconds: Vec<i64> = rows.iter().map(|row| row.scheduled_at.unwrap().as_second()).collect();
    assert_eq!(seconds, (seconds[0]..seconds[0] + i64::try_from(seconds.len()).unwrap()).collect::<Vec<_>>());
    assert!(rows.iter().all(|row| row.status != Status::Missed), "{rows:?}");
}

#[test]
fn a_long_downtime_is_one_message_too() {
    let webhook = Webhook::started();
    // Beside each other: on a busy host a run takes more than a second, and who stands in the way is told as well.
    let jobs = "[jobs.each_second]\nschedule = \"* * * * * *\"\ncatch_up = \"skip\"\noverlap = \"allow\"\n\
                shell = \"exit 0\"\n";
    let mut jobd = Jobd::started(&webhook.config(jobs));
    assert_eq!(jobd.stop(), Some(0));
    backdate_by(&jobd, Duration::from_hours(70));
    jobd.start();
    jobd.wait_until_ready();
    let rows = rows(&jobd, "each_second");
    let rows: Vec<RunRecord> = rows.into_iter().filter(|row| row.status == Status::Missed).collect();
    assert!(rows.iter().all(|row| row.reason.as_deref() == Some("jobd was not running")), "{rows:?}");
    let missed: u64 = rows.iter().map(|row| row.fires).sum();
    assert!(missed >= 70 * 60 * 60 - 2, "{missed}");
    let texts = webhook.delivered(&jobd);
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(
        texts[0].starts_with(&format!("⚠️ 놓친 실행 {missed}회: jobd가 꺼져 있었습니다\n")),
        "{}",
        texts[0]
    );
}

#[test]
fn a_missed_fire_is_not_made_up_for_beside_an_active_run() {
    let webhook = Webhook::started();
    let jobs = format!(
        "[jobs.slow]\nschedule = \"{}\"\nshell = \"until [ -e gate ]; do sleep 0.05; done\"\n",
        hourly()
    );
    let mut jobd = Jobd::started(&webhook.config(&jobs));
    let run = jobd.begin("slow");
    jobd.kill();
    backdate(&jobd);
    jobd.start();
    jobd.wait_until_ready();
    let rows = rows(&jobd, "slow");
    assert_eq!(rows.len(), 1 + FIRES);
    assert!(rows.iter().all(|row| row.run_id.0 == run || row.status == Status::Missed), "{rows:?}");
    let texts = webhook.delivered(&jobd);
    assert!(texts.len() == 1 && texts[0].contains("보충 실행 없음"), "{texts:?}");
}
