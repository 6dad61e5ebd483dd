//! Reading verbs with jobd down, on a real store and a real run folder.

use std::path::Path;

use jobctl::engine::admission::Holds;
use jobctl::engine::job::JobName;
use jobctl::engine::ledger::{Batch, Change};
use jobctl::engine::run::{Claim, Exit, Report, RunId, Trigger};
use jobctl::engine::time::Timestamp;
use jobctl::run::{RunFolder, RunResult};
use jobctl::store::Store;

use crate::ask;
use crate::fake::BEGAN;

/// A state directory as a jobd leaves it that was killed while run 1 was active; the run has ended since.
fn left_behind(dir: &Path) {
    std::fs::write(
        dir.join("jobs.toml"),
        "timezone = \"Asia/Seoul\"\n[jobs.backup]\nschedule = \"0 23 * * *\"\ncommand = [\"true\"]\n",
    )
    .unwrap();
    let (state, at) = (dir.join("state"), BEGAN.parse::<Timestamp>().unwrap());
    let claim = Claim {
        run: RunId(1),
        job: JobName::new("backup").unwrap(),
        scheduled_at: Some(at),
        trigger: Trigger::Schedule,
        attempt: 1,
        not_before: None,
        holds: Holds::default(),
        claimed_at: at,
        timeout: None,
        kill_grace: std::time::Duration::from_secs(10),
        alert: Vec::new(),
        config_hash: "c0ffee".to_owned(),
    };
    let batch = Batch { number: 1, at, changes: vec![Change::Claim { claim, queued: false }] };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(&state, "erp-1").await.unwrap();
        store.commit(&batch).await.unwrap();
        store.close().await;
    });
    let folder = RunFolder::new(&state, at, RunId(1));
    folder.create().unwrap();
    let text = format!("{BEGAN} stdout F [START] backup\n{BEGAN} stderr F disk full\n");
    std::fs::write(folder.output_path(), text).unwrap();
    let report = Report { exit: Exit::Code(3), ..Report::lost("", Some(at), at) };
    let result = serde_json::to_vec(&RunResult::from(report)).unwrap();
    std::fs::write(folder.result_path(), result).unwrap();
}

#[test]
fn what_jobd_left_is_read_and_said_to_be_so() {
    let dir = tempfile::tempdir().unwrap();
    left_behind(dir.path());
    let note = format!("jobd is not running: read from {}\n", dir.path().join("state").display());
    let (code, out, err) = ask(dir.path(), &["history"]);
    assert_eq!((code, &err), (0, &note));
    assert!(out.lines().nth(1).unwrap().contains("backup  FAILED"), "{out}");
    let (code, out, err) = ask(dir.path(), &["ps"]);
    assert_eq!((code, out.as_str()), (0, ""), "the run is over, whatever its row says: {err}");
    let (code, out, err) = ask(dir.path(), &["logs", "backup", "--follow"]);
    assert_eq!((code, out.as_str()), (0, "[START] backup\ndisk full\n"), "{err}");
    let (code, out, _) = ask(dir.path(), &["show", "1", "--json"]);
    let detail: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &detail["run"]["status"], &detail["run"]["exit_code"]),
        (0, &"FAILED".into(), &3.into())
    );
    let (code, out, _) = ask(dir.path(), &["list"]);
    assert_eq!((code, out.contains("backup  0 23 * * *  ")), (0, true), "{out}");
    assert_eq!(ask(dir.path(), &["show", "2"]).0, 4);
    assert_eq!(ask(dir.path(), &["history", "--job", "bakcup"]).0, 4);
}

#[test]
fn status_prints_the_last_known_state_and_is_3() {
    let dir = tempfile::tempdir().unwrap();
    left_behind(dir.path());
    let (code, out, _) = ask(dir.path(), &["status"]);
    assert_eq!(code, 3);
    assert!(out.starts_with("jobd is down\n  host       erp-1\n"), "{out}");
    assert!(out.contains("problem: jobd is not running: nothing is started\n"), "{out}");
}

#[test]
fn next_of_a_job_needs_only_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    left_behind(dir.path());
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    let (code, out, err) = ask(dir.path(), &["next", "backup", "--after", BEGAN, "-n", "1"]);
    let expected = "\
LOCAL                      UTC                   REMARKS
2026-11-01T23:00:00+09:00  2026-11-01T14:00:00Z
";
    assert_eq!((code, out.as_str()), (0, expected), "{err}");
    assert!(err.starts_with("jobd is not running: read from ") && err.ends_with("jobs.toml\n"), "{err}");
}

#[test]
fn validate_is_one_line_or_every_mistake() {
    let dir = tempfile::tempdir().unwrap();
    left_behind(dir.path());
    let (code, out, err) = ask(dir.path(), &["validate"]);
    assert_eq!((code, out.lines().count(), err.as_str()), (0, 1, ""), "{out}");
    let wrong = "[jobs.a]\nschedule = \"0 25 * * *\"\ncomand = [\"true\"]\n";
    std::fs::write(dir.path().join("wrong.toml"), wrong).unwrap();
    let (code, out, err) = ask(dir.path(), &["validate", "wrong.toml"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("wrong.toml:2:15") && err.contains("wrong.toml:3:1"), "{err}");
    let (code, out, _) = ask(dir.path(), &["validate", "wrong.toml", "--json"]);
    let verdict: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &verdict["valid"]), (2, &false.into()));
}
