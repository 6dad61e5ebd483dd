//! When and how a run is made to end: `timeout`, `kill_grace`, `stop_signals`.

use std::time::Duration;

use crate::engine::job::TIMEOUT;
use crate::engine::stop::{StopLadder, StopSignal, StopStep};

use super::diagnostic::quoted;
use super::nearest::nearest;
use super::report::Report;
use super::value::Value;

/// What `timeout` may look like.
const TIMEOUT_EXAMPLE: &str = "timeout = \"30m\"";

/// What `stop_signals` may look like.
const EXAMPLE: &str = "stop_signals = [\"QUIT:10s\", \"TERM:30s\", \"KILL\"]";

/// The last rung, which every ladder has.
const KILL: &str = "KILL";

/// What `timeout` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timeout {
    /// `"none"`.
    Endless,
    /// `"auto"`: what the job's own successes teach.
    Auto,
    /// A duration.
    At(Duration),
}

impl Default for Timeout {
    fn default() -> Self {
        Self::At(TIMEOUT)
    }
}

impl Timeout {
    /// The limit of a run, if it has one. One that is learned is that of all jobs until it is known.
    pub(super) fn limit(self, defaults: Option<Self>) -> Option<Duration> {
        match self {
            Self::Endless => None,
            Self::At(limit) => Some(limit),
            Self::Auto => match defaults {
                Some(Self::Endless) => None,
                Some(Self::At(limit)) => Some(limit),
                Some(Self::Auto) | None => Some(TIMEOUT),
            },
        }
    }
}

/// Reads a limit: a duration, `"none"` or `"auto"`.
pub(super) fn timeout(report: &mut Report, value: &Value<'_>) -> Option<Timeout> {
    if value.is_string() {
        match value.string(report, TIMEOUT_EXAMPLE)? {
            "none" => return Some(Timeout::Endless),
            "auto" => return Some(Timeout::Auto),
            _ => {}
        }
    }
    value.positive(report, TIMEOUT_EXAMPLE, "to have no timeout, timeout = \"none\"").map(Timeout::At)
}

/// SIGTERM, and so long until SIGKILL.
pub(super) fn kill_grace(report: &mut Report, value: &Value<'_>) -> Option<StopLadder> {
    value.duration(report, "kill_grace = \"10s\"").map(StopLadder::term)
}

/// Reads a ladder: rungs of `SIGNAL:duration`, and `KILL` at last.
pub(super) fn ladder(report: &mut Report, value: &Value<'_>) -> Option<StopLadder> {
    let rungs = value.strings(report, EXAMPLE)?;
    let Some(((last, last_value), before)) = rungs.split_last() else {
        report.error(value.spot(), "`stop_signals` is an empty list").help(EXAMPLE);
        return None;
    };
    let steps: Vec<_> = before.iter().map(|(text, value)| step(report, text, value)).collect();
    if *last != KILL {
        let message = format!("`stop_signals` ends with {}, not with \"{KILL}\"", quoted(last));
        let help = match last.strip_prefix(KILL) {
            Some(_) => format!("nothing comes after \"{KILL}\", so it has no duration"),
            None => EXAMPLE.to_owned(),
        };
        report.error(last_value.spot(), message).help(help);
        return None;
    }
    steps.into_iter().collect::<Option<Vec<_>>>().map(StopLadder)
}

fn step(report: &mut Report, text: &str, value: &Value<'_>) -> Option<StopStep> {
    let (word, duration) = match text.split_once(':') {
        Some((word, duration)) => (word, Some(duration)),
        None => (text, None),
    };
    if word == KILL {
        let message = format!("\"{KILL}\" is not the last of `stop_signals`");
        report.error(value.spot(), message).help("leave out what follows it, or put it last");
        return None;
    }
    let Some(signal) = StopSignal::parse(word) else {
        unknown(report, word, value);
        return None;
    };
    let Some(duration) = duration else {
        let message = format!("{} has no duration", quoted(text));
        report.error(value.spot(), message).help(format!("say how long to wait then: \"{text}:10s\""));
        return None;
    };
    let wait = value.part(word.len() + 1..text.len());
    let wait = value.read_duration(report, duration, wait, &format!("\"{word}:10s\""))?;
    Some(StopStep { signal, wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) })
}

fn unknown(report: &mut Report, word: &str, value: &Value<'_>) {
    let words = || StopSignal::ALL.into_iter().map(StopSignal::as_str);
    let bare = word.strip_prefix("SIG").unwrap_or(word);
    let help = match nearest(bare, words()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("a signal is {}", words().collect::<Vec<_>>().join(", ")),
    };
    let message = format!("`stop_signals`: {} is no signal to stop a job with", quoted(word));
    report.error(value.part(0..word.len()), message).help(help);
}
