//! `result.json`: how a run ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::RESULT_VERSION;
use crate::engine::run::{Exit, OutOfMemory, Report, Stop, Tree};
use crate::engine::time::Timestamp;

/// A [`Report`] as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunResult {
    /// The version of this file.
    pub version: u32,
    /// How the main process ended.
    pub exit: Exit,
    /// Who ended it, when it did not end by itself.
    #[serde(default)]
    pub stop: Option<Stop>,
    /// When the job's process was started.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When the run was over.
    pub ended_at: Timestamp,
    /// From start to end, microseconds.
    pub duration_us: u64,
    /// The main process.
    #[serde(default)]
    pub pid: Option<u32>,
    /// User and system CPU time of the whole tree, microseconds.
    pub cpu_us: u64,
    /// Peak memory of the largest process, KiB.
    pub max_rss_kib: u64,
    /// Bytes written to stdout and stderr.
    pub output_bytes: u64,
    /// The job's own word.
    #[serde(default)]
    pub message: Option<String>,
    /// The end of its stderr.
    #[serde(default)]
    pub error_tail: String,
    /// What else one must know.
    #[serde(default)]
    pub remark: Option<String>,
    /// Bytes of output that are not in the file, for its limit.
    #[serde(default)]
    pub output_left_out: u64,
    /// What was left of the process tree.
    #[serde(default)]
    pub tree: Option<Tree>,
    /// What the run was waiting for when it was made to end, in a line.
    #[serde(default)]
    pub waited_for: Option<String>,
    /// The kernel killed processes of it for want of memory.
    #[serde(default)]
    pub oom: Option<OutOfMemory>,
}

impl From<Report> for RunResult {
    fn from(report: Report) -> Self {
        Self {
            version: RESULT_VERSION,
            exit: report.exit,
            stop: report.stop,
            started_at: report.started_at,
            ended_at: report.ended_at,
            duration_us: microseconds(report.duration),
            pid: report.pid,
            cpu_us: microseconds(report.cpu),
            max_rss_kib: report.max_rss_kib,
            output_bytes: report.output_bytes,
            message: report.message,
            error_tail: report.error_tail,
            remark: report.remark,
            output_left_out: report.output_left_out,
            tree: report.tree,
            waited_for: report.waited_for,
            oom: report.oom,
        }
    }
}

impl From<RunResult> for Report {
    fn from(result: RunResult) -> Self {
        Self {
            exit: result.exit,
            stop: result.stop,
            started_at: result.started_at,
            ended_at: result.ended_at,
            duration: Duration::from_micros(result.duration_us),
            pid: result.pid,
            cpu: Duration::from_micros(result.cpu_us),
            max_rss_kib: result.max_rss_kib,
            output_bytes: result.output_bytes,
            message: result.message,
            error_tail: result.error_tail,
            remark: result.remark,
            output_left_out: result.output_left_out,
            tree: result.tree,
            waited_for: result.waited_for,
            oom: result.oom,
        }
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_read_as_it_was_written_and_unknown_fields_are_passed_over() {
        let report = Report {
            exit: Exit::Code(3),
            stop: Some(Stop::Manual { by: "uid 1000".into() }),
            duration: Duration::from_micros(1_500_001),
            message: Some("끝".into()),
            ..Report::lost("", Some(Timestamp::UNIX_EPOCH), Timestamp::UNIX_EPOCH)
        };
        let mut json = serde_json::to_value(RunResult::from(report.clone())).unwrap();
        json["later"] = "field".into();
        let read: RunResult = serde_json::from_value(json).unwrap();
        assert_eq!(Report::from(read), report);
    }
}
