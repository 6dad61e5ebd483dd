//! What two entries of a job say differently, field by field, in the words of `jobs.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::text;
use crate::engine::after::After;
use crate::engine::calendar::{Blackout, CalendarRule};
use crate::engine::job::{Command, JobName, JobSpec};
use crate::engine::resources::{Resources, RlimitPair};
use crate::engine::retry::Retry;
use crate::engine::schedule::Schedule;
use crate::engine::time::{Timestamp, describe_duration};
use crate::engine::watch::{FinishBy, Silence, Usual, Watch};

/// A field that has changed. The values of a job's variables may be secrets, and are never in here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    pub(crate) field: String,
    pub(crate) old: String,
    pub(crate) new: String,
}

/// A key of `jobs.toml` and what it says.
type Field = (&'static str, String);

/// The differences between two entries, in the order of the fields.
pub(crate) fn differences(old: &JobSpec, new: &JobSpec) -> Vec<Difference> {
    let pairs = fields(old).into_iter().zip(fields(new));
    let changed = pairs.filter(|((_, old), (_, new))| old != new);
    let changed = changed.map(|((field, old), (_, new))| Difference { field: field.to_owned(), old, new });
    let mut all: Vec<Difference> = changed.chain(variables(&old.env, &new.env)).collect();
    if all.is_empty() && (&old.config_hash, &old.schedule_hash) != (&new.config_hash, &new.schedule_hash) {
        // As when the dates of a calendar change and their number does not.
        all.push(difference("entry", "as it was", "other than it was"));
    }
    all
}

pub(crate) fn difference(field: &str, old: impl Into<String>, new: impl Into<String>) -> Difference {
    Difference { field: field.to_owned(), old: old.into(), new: new.into() }
}

/// Every field of an entry but its variables, always the same ones in the same order. One that is not here shows by the
/// entry's fingerprint.
fn fields(spec: &JobSpec) -> Vec<Field> {
    let mut fields = vec![
        ("description", optional(spec.description.as_deref())),
        ("command", command_line(&spec.command)),
        ("timeout", limit(spec.timeout)),
        ("timeout learned by", spec.auto_timeout.as_ref().map_or_else(none, usual)),
        ("stop_signals", spec.stop.to_string()),
        ("leftover", word(&spec.leftover)),
        ("output_limit", spec.output_limit.map_or_else(none, text::exact_size)),
        ("alert", list(&spec.alert, " ")),
    ];
    fields.extend(instants(spec));
    fields.extend(order(spec));
    fields.extend(identity(spec));
    fields.extend(watched(&spec.watch));
    fields.extend(used(&spec.resources));
    fields
}

/// When it fires.
fn instants(spec: &JobSpec) -> [Field; 7] {
    let schedules: Vec<&str> = spec.schedules.iter().map(Schedule::as_str).collect();
    let blackouts: Vec<String> = spec.blackouts.iter().map(blackout).collect();
    [
        ("schedule", list(&schedules, " | ")),
        ("timezone", spec.zone.iana_name().unwrap_or("the system's").to_owned()),
        ("jitter", describe_duration(spec.jitter)),
        ("calendar", spec.calendar.as_ref().map_or_else(none, calendar_rule)),
        ("blackouts", list(&blackouts, ", ")),
        ("starts_on", instant(spec.from)),
        ("ends_on", instant(spec.until)),
    ]
}

/// What it waits for, and what follows an end or a fire that was missed.
fn order(spec: &JobSpec) -> [Field; 10] {
    let pools = spec.holds.pools.iter().map(|(pool, places)| format!("{pool}={places}"));
    [
        ("overlap", word(&spec.overlap)),
        ("queue_limit", spec.queue_limit.to_string()),
        ("locks", list(&spec.holds.locks, " ")),
        ("pools", list(&pools.collect::<Vec<_>>(), " ")),
        ("busy", word(&spec.busy)),
        ("priority", spec.priority.to_string()),
        ("retry", spec.retry.as_ref().map_or_else(none, retries)),
        ("after", spec.after.as_ref().map_or_else(none, follows)),
        ("catch_up", word(&spec.catch_up)),
        ("catch_up_window", describe_duration(spec.catch_up_window)),
    ]
}

/// Where, as whom and with what it runs.
fn identity(spec: &JobSpec) -> [Field; 7] {
    let groups = spec.groups.as_ref();
    [
        ("cwd", path(&spec.cwd)),
        ("env_file", spec.env_file.as_deref().map_or_else(none, path)),
        ("stdin", spec.stdin.as_deref().map_or_else(|| "/dev/null".to_owned(), path)),
        ("user", spec.user.clone().unwrap_or_else(|| "jobd's own".to_owned())),
        ("groups", groups.map_or_else(|| "the user's".to_owned(), |groups| list(groups, " "))),
        ("no_new_privileges", spec.no_new_privileges.to_string()),
        ("umask", format!("{:04o}", spec.umask)),
    ]
}

/// What it is watched for.
fn watched(watch: &Watch) -> [Field; 7] {
    let Watch {
        late_after,
        must_finish_by,
        max_since_success,
        warn_after,
        min_duration,
        silence,
        usual: bound,
    } = watch;
    let by = |by: &FinishBy| match by {
        FinishBy::TimeOfDay(time) => time.strftime("%H:%M:%S").to_string(),
        FinishBy::After(duration) => describe_duration(*duration),
    };
    let quiet =
        |silence: &Silence| format!("{}, then {}", describe_duration(silence.after), word(&silence.action));
    [
        ("late_after", limit(*late_after)),
        ("must_finish_by", must_finish_by.as_ref().map_or_else(none, by)),
        ("max_since_success", limit(*max_since_success)),
        ("warn_after", limit(*warn_after)),
        ("min_duration", limit(*min_duration)),
        ("silence", silence.as_ref().map_or_else(none, quiet)),
        ("usual", bound.as_ref().map_or_else(none, usual)),
    ]
}

/// What it may use of the host.
fn used(resources: &Resources) -> [Field; 7] {
    let Resources { nice, io, rlimits, group } = resources;
    let bound = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let pair = |RlimitPair { soft, hard }: &RlimitPair| format!("{}:{}", bound(*soft), bound(*hard));
    let rlimits: Vec<String> =
        rlimits.iter().map(|(name, limits)| format!("{}={}", name.as_str(), pair(limits))).collect();
    [
        ("nice", nice.map_or_else(|| "jobd's own".to_owned(), |nice| nice.to_string())),
        ("ionice", io.map_or_else(|| "jobd's own".to_owned(), |io| io.to_string())),
        ("rlimits", list(&rlimits, " ")),
        ("limits.memory", group.memory.map_or_else(none, text::exact_size)),
        ("limits.cpu", group.cpu_percent.map_or_else(none, |percent| format!("{percent}%"))),
        ("limits.pids", group.pids.map_or_else(none, |pids| pids.to_string())),
        ("limits.required", group.required.to_string()),
    ]
}

/// Variables that are new, gone, or have another value, by name alone.
fn variables(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<Difference> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let told = |name: &&String| {
        let (before, after) = (old.get(*name), new.get(*name));
        let (old, new) = match (before, after) {
            (None, _) => ("not set", "set"),
            (_, None) => ("set", "not set"),
            _ if before == after => return None,
            _ => ("set", "set to another value"),
        };
        Some(difference(&format!("env.{name}"), old, new))
    };
    names.iter().filter_map(told).collect()
}

fn command_line(command: &Command) -> String {
    match command {
        Command::Argv(words) => words.iter().map(|word| text::shell_word(word)).collect::<Vec<_>>().join(" "),
        Command::Shell(line) => format!("/bin/sh -c {}", text::shell_word(line)),
    }
}

fn calendar_rule(rule: &CalendarRule) -> String {
    let (name, days) = (&rule.calendar.name, rule.calendar.holidays.len());
    let weekends = if rule.weekends { ", weekends off" } else { "" };
    format!("{name} ({days} days), on_holiday {}{weekends}", word(&rule.on_holiday))
}

fn blackout(blackout: &Blackout) -> String {
    format!("{} for {}", blackout.schedule.as_str(), describe_duration(blackout.duration))
}

fn retries(retry: &Retry) -> String {
    let on: Vec<&str> = retry.on.iter().map(|status| status.as_str()).collect();
    let [delay, most, jitter] = [retry.delay, retry.max_delay, retry.jitter].map(describe_duration);
    let (attempts, factor, on) = (retry.attempts, retry.backoff, on.join(" "));
    format!("{attempts} attempts, delay {delay} times {factor} up to {most}, jitter {jitter}, on {on}")
}

fn follows(after: &After) -> String {
    let jobs: Vec<&str> = after.jobs.iter().map(JobName::as_str).collect();
    let (jobs, on, same) = (jobs.join(" "), word(&after.on), word(&after.same));
    format!("{jobs}, on {on}, same {same}, within {}", describe_duration(after.within))
}

fn usual(usual: &Usual) -> String {
    let Usual { factor, floor, min_runs } = usual;
    format!("{factor} times the usual, at least {}, from {min_runs} runs on", describe_duration(*floor))
}

/// A word of a closed set as `jobs.toml` has it.
fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn none() -> String {
    "none".to_owned()
}

fn optional(text: Option<&str>) -> String {
    text.map_or_else(none, |text| text::inert(text).into_owned())
}

fn limit(duration: Option<Duration>) -> String {
    duration.map_or_else(none, describe_duration)
}

fn instant(at: Option<Timestamp>) -> String {
    at.map_or_else(none, |at| at.to_string())
}

fn path(path: &Path) -> String {
    text::inert(&path.to_string_lossy()).into_owned()
}

fn list(words: &[impl AsRef<str>], between: &str) -> String {
    if words.is_empty() {
        return none();
    }
    words.iter().map(|word| text::inert(word.as_ref())).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::super::testing::spec;
    use super::*;
    use crate::engine::policy::Overlap;

    #[test]
    fn what_differs_is_told_in_the_words_of_the_file() {
        let old = spec("backup", "0 3 * * *");
        let mut new = spec("backup", "30 3 * * *");
        (new.timeout, new.overlap) = (Some(Duration::from_mins(90)), Overlap::Queue);
        let expected = [
            difference("timeout", "1h", "1h30m"),
            difference("schedule", "0 3 * * *", "30 3 * * *"),
            difference("overlap", "skip", "queue"),
        ];
        assert_eq!(differences(&old, &new), expected);
        assert_eq!(differences(&old, &old), []);
    }

    #[test]
    fn values_of_variables_are_never_told() {
        let (mut old, mut new) = (spec("backup", "@daily"), spec("backup", "@daily"));
        old.env = [("GONE", "hunter1"), ("KEY", "hunter2")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        new.env = [("KEY", "hunter3"), ("NEW", "hunter4")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let found = differences(&old, &new);
        let names: Vec<&str> = found.iter().map(|difference| difference.field.as_str()).collect();
        assert_eq!(names, ["env.GONE", "env.KEY", "env.NEW"]);
        assert!(!format!("{found:?}").contains("hunter"), "{found:?}");
    }

    #[test]
    fn an_entry_of_another_fingerprint_is_never_the_same() {
        let (old, mut new) = (spec("backup", "@daily"), spec("backup", "@daily"));
        new.config_hash = "other".to_owned();
        assert_eq!(differences(&old, &new).len(), 1);
    }
}
