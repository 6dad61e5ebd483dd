//! What a job is watched for: `late_after`, `must_finish_by`, `max_since_success`, `warn_after`, `min_duration`,
//! `silence`, `usual`.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::civil::Time;

use crate::engine::job::JobSpec;
use crate::engine::ledger::HISTORY_MAX;
use crate::engine::watch::{FinishBy, Silence, SilenceAction, Usual};

use super::diagnostic::quoted;
use super::report::{Report, Spot};
use super::value::{Choice, Entry, Limit, Value};

/// How many times the usual may be too long.
const FACTORS: RangeInclusive<f64> = 1.0..=1000.0;
/// The shortest silence that counts: less is a breath.
const SILENCE_MIN: Duration = Duration::from_secs(1);

/// The keys of `silence`.
const SILENCE: &[&str] = &["after", "action"];
/// The keys of `usual`.
const USUAL: &[&str] = &["factor", "floor", "min_runs"];

const ACTION: Choice<SilenceAction> =
    Choice { built: &[("warn", SilenceAction::Warn), ("kill", SilenceAction::Kill)], planned: &[] };

/// What `must_finish_by` may look like.
const FINISH_BY_EXAMPLE: &str = "must_finish_by = \"11:00\", or must_finish_by = \"2h\"";
/// What `silence` may look like.
const SILENCE_EXAMPLE: &str = "silence = \"10m\", or silence = { after = \"10m\", action = \"kill\" }";
/// What `usual` may look like.
const USUAL_EXAMPLE: &str = "usual = true, or usual = { factor = 3, floor = \"1m\", min_runs = 5 }";

/// A duration of an entry, and where its key stands.
type Placed = Option<(Limit<Duration>, Spot)>;

/// What an entry says of them, before defaults.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    late_after: Placed,
    must_finish_by: Option<Limit<FinishBy>>,
    max_since_success: Placed,
    warn_after: Placed,
    min_duration: Placed,
    silence: Option<(Limit<Silence>, Spot)>,
    usual: Option<Limit<Usual>>,
}

/// Reads a key of a job; false if it is none of these.
pub(super) fn key(report: &mut Report, draft: &mut Draft, entry: &Entry<'_>) -> bool {
    match entry.key {
        "late_after" => draft.late_after = placed(report, entry, "late_after = \"5m\""),
        "must_finish_by" => draft.must_finish_by = finish_by(report, &entry.value),
        "max_since_success" => {
            draft.max_since_success = placed(report, entry, "max_since_success = \"26h\"");
        }
        "warn_after" => draft.warn_after = placed(report, entry, "warn_after = \"20m\""),
        "min_duration" => draft.min_duration = placed(report, entry, "min_duration = \"10s\""),
        "silence" => draft.silence = silence(report, &entry.value).map(|found| (found, entry.spot.clone())),
        "usual" => draft.usual = usual(report, &entry.value),
        _ => return false,
    }
    true
}

/// A duration of more than nothing, or `"none"`.
fn placed(report: &mut Report, entry: &Entry<'_>, example: &str) -> Placed {
    let none = format!("not to be told, leave it out, or write {} = \"none\"", entry.key);
    let limit =
        entry.value.unless_none(report, example, |report, value| value.positive(report, example, &none));
    limit.map(|limit| (limit, entry.spot.clone()))
}

/// A time of day, or a duration from the fire on.
fn finish_by(report: &mut Report, value: &Value<'_>) -> Option<Limit<FinishBy>> {
    value.unless_none(report, FINISH_BY_EXAMPLE, |report, value| {
        let text = value.string(report, FINISH_BY_EXAMPLE)?;
        if !text.contains(':') {
            let after =
                value.positive(report, FINISH_BY_EXAMPLE, "say how long after its fire it must be over")?;
            return Some(FinishBy::After(after));
        }
        let time = time_of_day(text);
        if time.is_none() {
            report
                .error(value.spot(), format!("`must_finish_by`: {} is no time of day", quoted(text)))
                .help("write hours and minutes, 00:00 to 23:59: must_finish_by = \"11:00\"");
        }
        time.map(FinishBy::TimeOfDay)
    })
}

/// `09:30`, or with seconds.
fn time_of_day(text: &str) -> Option<Time> {
    let mut parts = text.splitn(3, ':').map(|part| {
        let is_number = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| part.parse::<i8>().ok()).flatten()
    });
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    // 60 would be a leap second, which no clock of a computer shows.
    Time::new(hour, minute, second, 0).ok()
}

fn silence(report: &mut Report, value: &Value<'_>) -> Option<Limit<Silence>> {
    value.unless_none(report, SILENCE_EXAMPLE, |report, value| {
        let mut action = SilenceAction::default();
        if !value.is_table() {
            let after = quiet(report, value, SILENCE_EXAMPLE)?;
            return Some(Silence { after, action });
        }
        let table = value.table(report, SILENCE_EXAMPLE)?;
        let mut after = None;
        for entry in table.entries() {
            match entry.key {
                "after" => after = quiet(report, &entry.value, "after = \"10m\""),
                "action" => action = entry.value.choice(report, &ACTION).unwrap_or(action),
                _ => entry.unknown(report, "`silence`", SILENCE, &[]),
            }
        }
        if !table.has("after") {
            report.error(value.spot(), "`silence` does not say after how long").help(SILENCE_EXAMPLE);
        }
        after.map(|after| Silence { after, action })
    })
}

fn quiet(report: &mut Report, value: &Value<'_>, example: &str) -> Option<Duration> {
    let after = value.duration(report, example)?;
    if after < SILENCE_MIN {
        let message = format!("`{}` is shorter than a second: every job is silent so long", value.key());
        report.error(value.spot(), message).help("1s is the least");
        return None;
    }
    Some(after)
}

/// `true`, `false` or a table.
fn usual(report: &mut Report, value: &Value<'_>) -> Option<Limit<Usual>> {
    let mut usual = Usual::default();
    if !value.is_table() {
        let is_wanted = value.boolean(report, USUAL_EXAMPLE)?;
        return Some(if is_wanted { Limit::At(usual) } else { Limit::Endless });
    }
    for entry in value.table(report, USUAL_EXAMPLE)?.entries() {
        let value = &entry.value;
        match entry.key {
            "factor" => usual.factor = value.float(report, FACTORS, "factor = 3")?,
            "floor" => usual.floor = value.duration(report, "floor = \"1m\"")?,
            "min_runs" => {
                let most = i64::try_from(HISTORY_MAX).unwrap_or(i64::MAX);
                let runs = value.integer(report, 1..=most, "min_runs = 5")?;
                usual.min_runs = usize::try_from(runs).ok()?;
            }
            _ => entry.unknown(report, "`usual`", USUAL, &[]),
        }
    }
    Some(Limit::At(usual))
}

impl Draft {
    /// Warns of what is told only after the run's limit, when it is over.
    pub(super) fn warn(&self, report: &mut Report, limit: Duration) {
        let after =
            |placed: &Placed| placed.as_ref().and_then(|(at, spot)| Some((at.value()?, spot.clone())));
        let silence = self.silence.as_ref();
        let silence = silence.and_then(|(at, spot)| Some((at.value()?.after, spot.clone())));
        for (key, found) in [("warn_after", after(&self.warn_after)), ("silence", silence)] {
            if let Some((_, spot)) = found.filter(|(after, _)| *after >= limit) {
                report
                    .warning(spot, format!("`{key}` is never reached: `timeout` ends the run before"))
                    .help(format!("make `{key}` shorter than `timeout`"));
            }
        }
        if let Some((_, spot)) = after(&self.min_duration).filter(|(least, _)| *least >= limit) {
            report
                .warning(spot, "no success lasts as long as `min_duration`: `timeout` ends the run before")
                .help("make `min_duration` shorter than `timeout`");
        }
    }

    /// Puts into a job what it says, and what it does not say from the defaults.
    pub(super) fn resolve(self, defaults: &Self, spec: &mut JobSpec) {
        let all = defaults.clone();
        let duration = |own: Placed, all: Placed| own.or(all).and_then(|(limit, _)| limit.value());
        let watch = &mut spec.watch;
        watch.late_after = duration(self.late_after, all.late_after);
        watch.must_finish_by = self.must_finish_by.or(all.must_finish_by).and_then(Limit::value);
        watch.max_since_success = duration(self.max_since_success, all.max_since_success);
        watch.warn_after = duration(self.warn_after, all.warn_after);
        watch.min_duration = duration(self.min_duration, all.min_duration);
        watch.silence = self.silence.or(all.silence).and_then(|(silence, _)| silence.value());
        watch.usual = self.usual.or(all.usual).and_then(Limit::value);
    }
}
