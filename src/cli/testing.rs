//! Rows and jobs for the tests of this module.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::api::rules::JobRules;
use crate::api::types::{GroupLimitsView, JobView};
use crate::engine::job::{Command, JobName, JobSpec};
use crate::engine::policy::{CatchUp, Leftover, Overlap};
use crate::engine::record::RunRecord;
use crate::engine::run::{RunId, Status, Trigger};
use crate::engine::schedule::Schedule;
use crate::engine::time::Timestamp;

/// A row of a run that began at 10:00 on the first of November in Seoul and, if it is over, took 31 m 12 s.
pub(super) fn record(run: u64, job: &str, status: Status) -> RunRecord {
    let at: Timestamp = "2026-11-01T01:00:00Z".parse().unwrap();
    let over = status.is_final();
    RunRecord {
        run_id: RunId(run),
        task_name: JobName::new(job).unwrap(),
        status,
        triggered_by: Trigger::Schedule,
        attempt: 1,
        scheduled_at: Some(at),
        scheduled_until: None,
        fires: 1,
        started_at: at,
        completed_at: over.then(|| "2026-11-01T01:31:12Z".parse().unwrap()),
        reason: None,
        message: None,
        error_message: None,
        exit_code: None,
        term_signal: None,
        pid: None,
        duration_ms: over.then_some(1_872_000),
        cpu_ms: None,
        max_rss_kib: None,
        output_bytes: None,
        config_hash: None,
        host: "erp-1".to_owned(),
    }
}

/// A job that fires at 10:00 on the first of each month.
pub(super) fn job(name: &str) -> JobView {
    JobView {
        name: JobName::new(name).unwrap(),
        description: None,
        schedules: vec!["0 10 1 * *".to_owned()],
        resolved: vec!["0 10 1 * *".to_owned()],
        timezone: "Asia/Seoul".to_owned(),
        command: Command::Argv(vec!["python3".to_owned(), "back up.py".to_owned()]),
        timeout_ms: Some(1_800_000),
        kill_grace_ms: 10_000,
        stop_signals: vec!["TERM:10s".to_owned(), "KILL".to_owned()],
        leftover: Leftover::Kill,
        output_limit_bytes: Some(100_000_000),
        overlap: Overlap::Skip,
        rules: JobRules { queue_limit: 10, ..JobRules::default() },
        catch_up: CatchUp::Latest,
        catch_up_window_ms: 86_400_000,
        alert: vec!["ops".to_owned()],
        cwd: PathBuf::from("/srv/academy"),
        stdin: None,
        user: None,
        groups: None,
        no_new_privileges: false,
        umask: "0022".to_owned(),
        env: vec!["API_KEY".to_owned(), "LANG".to_owned()],
        env_file: None,
        nice: None,
        ionice: None,
        rlimits: BTreeMap::new(),
        limits: GroupLimitsView::default(),
        next_fire: Some("2026-12-01T01:00:00Z".parse().unwrap()),
        last_run: None,
        incident_since: None,
        paused: None,
    }
}

/// A job with a schedule in UTC and every default.
pub(super) fn spec(name: &str, schedule: &str) -> JobSpec {
    JobSpec {
        schedules: vec![Schedule::parse(schedule).unwrap()],
        schedule_hash: schedule.to_owned(),
        ..JobSpec::new(JobName::new(name).unwrap(), Command::Shell("true".to_owned()))
    }
}
