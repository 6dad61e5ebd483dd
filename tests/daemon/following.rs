//! Jobs that come after others: the backup after the statistics.

use jobctl::engine::record::RunRecord;
use jobctl::engine::run::{Status, Trigger};

use crate::jobd::{Jobd, wait_for};

fn succeeded(jobd: &Jobd, job: &str) -> Vec<RunRecord> {
    jobd.history(job).into_iter().filter(|row| row.status == Status::Success).collect()
}

#[test]
fn a_job_without_a_schedule_fires_when_the_one_before_has_succeeded() {
    let jobd = Jobd::started(
        "[jobs.statistics]\nschedule = \"*/2 * * * * *\"\nshell = \"exit 0\"\n\
         [jobs.backup]\nafter = { jobs = [\"statistics\"], same = \"fire\" }\nshell = \"exit 0\"\n\
         [jobs.report]\nafter = { jobs = [\"statistics\"], on = \"failure\" }\nshell = \"exit 0\"\n",
    );
    let backups = wait_for("it follows each fire", || {
        let rows = succeeded(&jobd, "backup");
        (rows.len() >= 2).then_some(rows)
    });
    let statistics = jobd.history("statistics");
    for backup in backups {
        assert_eq!(backup.triggered_by, Trigger::After);
        let before = statistics.iter().find(|row| row.scheduled_at == backup.scheduled_at).unwrap();
        assert_eq!(before.status, Status::Success);
        assert!(before.completed_at.unwrap() <= backup.started_at, "{before:?} {backup:?}");
    }
    assert!(jobd.history("report").is_empty(), "nothing has failed");
}

#[test]
fn a_job_with_a_schedule_waits_at_its_fire_or_is_skipped_with_the_reason() {
    let jobd = Jobd::started(
        "[jobs.statistics]\nschedule = \"*/3 * * * * *\"\nshell = \"sleep 0.5\"\n\
         [jobs.broken]\nschedule = \"*/3 * * * * *\"\nshell = \"exit 1\"\n\
         [jobs.backup]\nschedule = \"*/3 * * * * *\"\nshell = \"exit 0\"\n\
         after = { jobs = [\"statistics\"], same = \"fire\", within = \"20s\" }\n\
         [jobs.bill]\nschedule = \"*/3 * * * * *\"\nshell = \"exit 0\"\n\
         after = { jobs = [\"broken\"], same = \"fire\", within = \"1s\" }\n",
    );
    let backup = wait_for("it has waited and succeeded", || succeeded(&jobd, "backup").pop());
    let before = jobd.history("statistics");
    let before = before.iter().find(|row| row.scheduled_at == backup.scheduled_at).unwrap();
    assert!(before.completed_at.unwrap() <= backup.started_at, "{before:?} {backup:?}");
    let skipped =
        wait_for("it is skipped", || jobd.history("bill").into_iter().find(|row| row.status.is_final()));
    let why = Some("broken had not ended as it has to");
    assert_eq!((skipped.status, skipped.reason.as_deref()), (Status::Skipped, why));
}
