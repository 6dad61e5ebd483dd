//! How a run ended, in the columns and in the words of the run table.

use std::time::Duration;

use super::text::{head, int, millis, stamp, tail};
use crate::engine::record::RunRecord;
use crate::engine::run::{Exit, Report, Status};
use crate::engine::time::Timestamp;

/// The longest `message`, in characters (the users' own column is a VARCHAR(500)).
pub(super) const MESSAGE_CHARS_MAX: usize = 500;

/// The longest `error_message`, in bytes: it fits a TEXT column of `MySQL`, which ends at 65,535.
pub(super) const ERROR_BYTES_MAX: usize = 60 * 1024;

/// The columns that a run's end fills.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) error_message: Option<String>,
    pub(super) exit_code: Option<i32>,
    pub(super) term_signal: Option<i32>,
    pub(super) pid: Option<u32>,
    pub(super) duration_ms: Option<i64>,
    pub(super) cpu_ms: Option<i64>,
    pub(super) max_rss_kib: Option<i64>,
    pub(super) output_bytes: Option<i64>,
}

impl Verdict {
    /// What the row says of a run that ended as `status`. A run without a report never ran.
    pub(super) fn new(
        status: Status,
        reason: Option<&str>,
        report: Option<&Report>,
        timeout: Option<Duration>,
    ) -> Self {
        let Some(report) = report else {
            let error_message =
                reason.filter(|_| status.is_bad()).map(|reason| tail(reason, ERROR_BYTES_MAX));
            return Self { reason: reason.map(str::to_owned), error_message, ..Self::default() };
        };
        // Of a run nobody saw end, a zero is no measurement.
        let seen = !matches!(report.exit, Exit::Unknown { .. });
        let measured = |value: i64| (seen || value > 0).then_some(value);
        let besides = report.besides().filter(|_| !status.is_bad());
        Self {
            reason: reason.map(str::to_owned).or(besides),
            message: report.message.as_deref().map(|text| head(text, MESSAGE_CHARS_MAX)),
            error_message: status.is_bad().then(|| error_message(report, timeout)),
            exit_code: if let Exit::Code(code) = report.exit { Some(code) } else { None },
            term_signal: if let Exit::Signal(signal) = report.exit { Some(signal) } else { None },
            pid: report.pid,
            duration_ms: measured(millis(report.duration)),
            cpu_ms: measured(millis(report.cpu)),
            max_rss_kib: measured(int(report.max_rss_kib)),
            output_bytes: measured(int(report.output_bytes)),
        }
    }
}

/// The row of a run that is over, as it will be when jobd has settled it. For readers of a state directory that has no
/// jobd just now.
#[must_use]
pub fn settled(run: RunRecord, report: &Report, timeout: Option<Duration>) -> RunRecord {
    let status = report.status();
    let verdict = Verdict::new(status, report.reason(timeout).as_deref(), Some(report), timeout);
    let count = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
    let due_at = run.scheduled_at.unwrap_or(run.started_at);
    RunRecord {
        status,
        started_at: report.started_at.map_or(due_at, to_millisecond),
        completed_at: Some(to_millisecond(report.ended_at)),
        reason: verdict.reason,
        message: verdict.message,
        error_message: verdict.error_message,
        exit_code: verdict.exit_code,
        term_signal: verdict.term_signal,
        pid: verdict.pid,
        duration_ms: count(verdict.duration_ms),
        cpu_ms: count(verdict.cpu_ms),
        max_rss_kib: count(verdict.max_rss_kib),
        output_bytes: count(verdict.output_bytes),
        ..run
    }
}

/// An instant as exactly as the database has it.
fn to_millisecond(at: Timestamp) -> Timestamp {
    stamp(at).parse().unwrap_or(at)
}

/// The reason of a bad end, then what the run was waiting for, then what else one must know, then as much of the end of
/// stderr as there is room for.
fn error_message(report: &Report, timeout: Option<Duration>) -> String {
    let mut text = head(&report.describe_end(timeout), MESSAGE_CHARS_MAX);
    for line in [report.waited_for.clone(), report.besides()].into_iter().flatten() {
        text.push('\n');
        text.push_str(&head(&line, MESSAGE_CHARS_MAX));
    }
    let rest = report.error_tail.trim_end();
    if !rest.is_empty() {
        text.push('\n');
        let room = ERROR_BYTES_MAX - text.len();
        text.push_str(&tail(rest, room));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::run::{OutOfMemory, Stop};
    use crate::engine::time::Timestamp;

    fn report(exit: Exit) -> Report {
        Report {
            exit,
            error_tail: "end of stderr\n".to_owned(),
            ..Report::lost("", None, Timestamp::UNIX_EPOCH)
        }
    }

    fn error_of(report: &Report) -> String {
        Verdict::new(report.status(), None, Some(report), Some(Duration::from_mins(90)))
            .error_message
            .unwrap()
    }

    #[test]
    fn a_bad_end_says_why_ahead_of_stderr() {
        let spawn = Exit::SpawnFailed { step: "chdir".to_owned(), error: "/nope: ENOENT".to_owned() };
        assert_eq!(error_of(&report(Exit::Code(3))), "exit code 3\nend of stderr");
        assert_eq!(error_of(&report(Exit::Signal(9))), "signal 9 (SIGKILL)\nend of stderr");
        assert_eq!(error_of(&report(Exit::Signal(40))), "signal 40\nend of stderr");
        assert_eq!(error_of(&report(spawn)), "chdir: /nope: ENOENT\nend of stderr");
        let unknown = Exit::Unknown { why: "host rebooted".to_owned() };
        assert_eq!(error_of(&report(unknown)), "host rebooted\nend of stderr");
        let overrun = Report { stop: Some(Stop::Timeout), ..report(Exit::Code(0)) };
        assert_eq!(error_of(&overrun), "timed out after 1h30m\nend of stderr");
    }

    #[test]
    fn a_remark_is_told_whatever_the_outcome() {
        let remark = Some("2 processes outlived it".to_owned());
        let bad = Report { remark: remark.clone(), ..report(Exit::Code(1)) };
        assert_eq!(error_of(&bad), "exit code 1\n2 processes outlived it\nend of stderr");
        let good = Report { remark: remark.clone(), ..report(Exit::Code(0)) };
        let verdict = Verdict::new(Status::Success, None, Some(&good), None);
        assert_eq!((verdict.reason, verdict.error_message), (remark, None));
    }

    #[test]
    fn what_a_run_waited_for_follows_its_reason() {
        let waited = Report {
            stop: Some(Stop::Timeout),
            waited_for: Some("python3 pid 4121 waits in recv()".to_owned()),
            remark: Some("a remark".to_owned()),
            oom: Some(OutOfMemory { kills: 1, limit: None }),
            ..report(Exit::Signal(9))
        };
        let expected = "timed out after 1h30m\npython3 pid 4121 waits in recv()\n\
                        out of memory: the kernel killed a process of the run; a remark\nend of stderr";
        assert_eq!(error_of(&waited), expected);
    }

    #[test]
    fn long_errors_keep_the_reason_and_the_end_of_stderr() {
        let long = Report { error_tail: format!("{}끝", "가".repeat(30_000)), ..report(Exit::Code(1)) };
        let text = error_of(&long);
        assert!(text.len() <= ERROR_BYTES_MAX && text.len() > ERROR_BYTES_MAX - 3, "{}", text.len());
        assert!(text.starts_with("exit code 1\n가") && text.ends_with("가끝"));
    }

    #[test]
    fn what_nobody_measured_is_not_zero() {
        let lost = Report::lost("host rebooted", None, Timestamp::UNIX_EPOCH);
        let verdict = Verdict::new(Status::Lost, None, Some(&lost), None);
        assert_eq!((verdict.duration_ms, verdict.cpu_ms, verdict.output_bytes), (None, None, None));
        let quick = Verdict::new(Status::Success, None, Some(&report(Exit::Code(0))), None);
        assert_eq!((quick.duration_ms, quick.exit_code), (Some(0), Some(0)));
    }

    #[test]
    fn a_run_that_never_ran_has_its_reason_and_nothing_else() {
        let verdict = Verdict::new(Status::Missed, Some("jobd was not running"), None, None);
        let expected = Verdict { reason: Some("jobd was not running".to_owned()), ..Verdict::default() };
        assert_eq!(verdict, expected);
    }
}
