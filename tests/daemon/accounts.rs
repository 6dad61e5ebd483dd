//! What became of a fire: a pause, a downtime, and whoever makes up for it afterwards and asks why.

use jobctl::engine::record::RunRecord;
use jobctl::engine::run::{Status, Trigger};

use crate::downtime::{backdate, hourly};
use crate::jobd::{Jobd, text, wait_for};
use crate::lines;

const EACH_SECOND: &str = "[jobs.each_second]\nschedule = \"* * * * * *\"\nshell = \"exit 0\"\n";

/// The newest row of a job with this status.
fn newest(jobd: &Jobd, job: &str, status: Status) -> Option<RunRecord> {
    jobd.history(job).into_iter().find(|row| row.status == status)
}

#[test]
fn a_pause_outlives_jobd_and_what_it_costs_is_told() {
    let mut jobd = Jobd::started(EACH_SECOND);
    wait_for("it fires", || newest(&jobd, "each_second", Status::Success));
    let told = jobd.tell(&["pause", "each_second", "--why", "the disk is full"]);
    assert!(told.starts_with("each_second is paused: "), "{told}");
    wait_for("a fire is skipped", || newest(&jobd, "each_second", Status::Skipped));
    jobd.kill();
    jobd.start();
    jobd.wait_until_ready();
    let before = newest(&jobd, "each_second", Status::Skipped).unwrap().run_id;
    let skipped = wait_for("fires are skipped by the next jobd, too", || {
        newest(&jobd, "each_second", Status::Skipped).filter(|row| row.run_id > before)
    });
    let uid = nix::unistd::getuid();
    let reason = skipped.reason.unwrap();
    assert!(
        reason.starts_with(&format!("paused by uid {uid}")) && reason.ends_with(": the disk is full"),
        "{reason}"
    );
    let status = jobd.json(&["status"]);
    assert_eq!(status["pauses"][0]["job"], "each_second", "{status}");
    assert_eq!(status["problems"].as_array().unwrap().len(), 1, "{status}");
    let at = skipped.scheduled_at.unwrap().to_string();
    let why = jobd.json(&["why", "each_second", "--at", &at]);
    let answer = &why["answers"][0];
    assert_eq!(
        (&answer["verdict"], &answer["pauses"][0]["pause"]["why"]),
        (&"skipped".into(), &"the disk is full".into())
    );
    jobd.tell(&["resume", "each_second"]);
    let run = skipped.run_id;
    wait_for("it fires again", || {
        newest(&jobd, "each_second", Status::Success).filter(|row| row.run_id > run)
    });
    let ended = &jobd.json(&["why", "each_second", "--at", &at])["answers"][0]["pauses"][0];
    assert!(ended["ended_by"].as_str().unwrap().starts_with(&format!("uid {uid}")), "{ended}");
    assert_eq!(jobd.jobctl(&["resume", "each_second"]).status.code(), Some(1));
}

#[test]
fn a_run_by_hand_passes_a_pause() {
    let jobd = Jobd::started("[jobs.report]\nschedule = \"@yearly\"\nshell = \"exit 0\"\n");
    jobd.tell(&["pause", "--all"]);
    jobd.tell(&["run", "report", "--wait"]);
    jobd.tell(&["resume", "--all"]);
}

#[test]
fn missed_fires_are_made_up_for_when_a_person_says_so() {
    let mut jobd = Jobd::started(&format!(
        "[jobs.skip]\nschedule = \"{}\"\ncatch_up = \"skip\"\nshell = 'echo $JOBD_SCHEDULED_AT >> starts'\n",
        hourly()
    ));
    assert_eq!(jobd.stop(), Some(0));
    backdate(&jobd);
    jobd.start();
    jobd.wait_until_ready();
    let missed = jobd.json(&["missed"]);
    let rows = missed["runs"].as_array().unwrap();
    assert_eq!(rows.len(), 5, "{missed}");
    let at = rows[0]["scheduled_at"].as_str().unwrap();
    let answer = &jobd.json(&["why", "skip", "--at", at])["answers"][0];
    assert_eq!(
        (&answer["verdict"], &answer["gaps"][0]["reason"]),
        (&"missed".into(), &"down".into()),
        "{answer}"
    );
    jobd.tell(&["catchup", &format!("skip@{at}"), "--wait"]);
    let answer = &jobd.json(&["why", "skip", "--at", at])["answers"][0];
    let row = &answer["rows"][0];
    assert_eq!(answer["verdict"], "ran", "{answer}");
    assert_eq!((&row["status"], &row["triggered_by"]), (&"SUCCESS".into(), &"catch-up".into()), "{answer}");
    let again = jobd.jobctl(&["catchup", &format!("skip@{at}")]);
    let said = text(&again.stderr);
    assert!(again.status.code() == Some(1) && said.contains("has its run: run "), "{said}");
    let rehearsed = jobd.json(&["catchup", "--all", "--dry-run"]);
    assert_eq!(rehearsed["fires"].as_array().unwrap().len(), 4, "{rehearsed}");
    assert_eq!(lines(&jobd, "starts").len(), 1, "a rehearsal starts nothing");
    jobd.tell(&["catchup", "--all", "--wait"]);
    assert_eq!(lines(&jobd, "starts").len(), 5);
    let rows = jobd.history("skip");
    assert!(
        rows.iter().all(|row| row.triggered_by == Trigger::CatchUp && row.status == Status::Success),
        "{rows:?}"
    );
}

#[test]
fn with_jobd_down_it_can_still_be_asked_why() {
    let mut jobd = Jobd::started(&format!("[jobs.skip]\nschedule = \"{}\"\nshell = \"exit 0\"\n", hourly()));
    jobd.tell(&["pause", "skip"]);
    let next = jobd.json(&["next", "skip", "-n", "1"]);
    let next = next["fires"][0]["scheduled_at"].as_str().unwrap();
    assert_eq!(jobd.stop(), Some(0));
    let status = jobd.jobctl(&["status"]);
    let said = text(&status.stdout);
    assert!(
        said.contains("paused     1 job\n") && said.contains("problem: skip has been paused since "),
        "{said}"
    );
    let told = jobd.jobctl(&["why", "skip", "--at", next]);
    assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
    let answer = text(&told.stdout);
    assert!(answer.contains("will be SKIPPED: paused by uid "), "{answer}");
    assert!(text(&told.stderr).starts_with("jobd is not running: read from "));
}
