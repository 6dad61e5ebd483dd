//! The keys of a job: of an entry under `[jobs]`, or of `[defaults]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::engine::job::{Command, JobName};
use crate::engine::policy::{CatchUp, Leftover};
use crate::engine::schedule::Schedule;
use crate::engine::stop::StopLadder;

use super::diagnostic::quoted;
use super::nearest::nearest_zone;
use super::report::{Report, Spot};
use super::stop::Timeout;
use super::value::{Choice, Entry, Limit, Table, Value};
use super::{days, follow, identity, order, resources, stop, watch};

/// The keys of a job.
const KEYS: &[&str] = &[
    "description",
    "schedule",
    "command",
    "shell",
    "after",
    "timeout",
    "kill_grace",
    "stop_signals",
    "leftover",
    "output_limit",
    "overlap",
    "queue_limit",
    "locks",
    "pools",
    "busy",
    "priority",
    "retry",
    "catch_up",
    "catch_up_window",
    "late_after",
    "must_finish_by",
    "max_since_success",
    "warn_after",
    "min_duration",
    "silence",
    "usual",
    "jitter",
    "calendar",
    "on_holiday",
    "weekends",
    "blackouts",
    "starts_on",
    "ends_on",
    "alert",
    "timezone",
    "cwd",
    "env",
    "env_file",
    "stdin",
    "user",
    "groups",
    "no_new_privileges",
    "umask",
    "nice",
    "ionice",
    "rlimits",
    "limits",
];

/// Keys that say what one job is, and can be no default.
const OWN: &[&str] = &["description", "schedule", "command", "shell", "after"];

/// Two ways to say how a run is made to end.
const STOPS: (&str, &str) = ("kill_grace", "stop_signals");

/// The catch-up policies.
const CATCH_UP: Choice<CatchUp> = Choice {
    built: &[("skip", CatchUp::Skip), ("latest", CatchUp::Latest), ("all", CatchUp::All)],
    planned: &[],
};

/// What becomes of processes that a job leaves behind.
const LEFTOVER: Choice<Leftover> = Choice {
    built: &[("kill", Leftover::Kill), ("warn", Leftover::Warn), ("allow", Leftover::Allow)],
    planned: &[],
};

/// The smallest `output_limit`, bytes: the beginning and the end of a page of text.
const OUTPUT_LIMIT_MIN: u64 = 64 * 1024;

/// What a job's `schedule` may look like.
const SCHEDULE_EXAMPLE: &str = "schedule = \"0 9 * * *\"";

/// What a job's `command` may look like.
const COMMAND_EXAMPLE: &str = "command = [\"python3\", \"report.py\"]";

/// What an entry says, before defaults.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) description: Option<String>,
    pub(super) schedules: Vec<Schedule>,
    pub(super) command: Option<Command>,
    pub(super) timeout: Option<Timeout>,
    /// What `stop_signals` or `kill_grace` says.
    pub(super) stop: Option<StopLadder>,
    pub(super) leftover: Option<Leftover>,
    pub(super) output_limit: Option<Limit<u64>>,
    pub(super) order: order::Draft,
    pub(super) follow: follow::Draft,
    pub(super) watch: watch::Draft,
    pub(super) catch_up: Option<CatchUp>,
    pub(super) catch_up_window: Option<Duration>,
    /// The channels with their places: whether they exist is known when all files are read.
    pub(super) alert: Option<Vec<(String, Spot)>>,
    pub(super) zone: Option<TimeZone>,
    pub(super) cwd: Option<PathBuf>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) env_file: Option<PathBuf>,
    pub(super) stdin: Option<PathBuf>,
    pub(super) user: Option<String>,
    pub(super) groups: Option<Vec<String>>,
    pub(super) no_new_privileges: Option<bool>,
    pub(super) umask: Option<u32>,
    pub(super) resources: resources::Draft,
    pub(super) days: days::Draft,
}

/// Reads the entry of a job.
pub(super) fn read(
    report: &mut Report,
    spot: &Spot,
    name: &str,
    table: Table<'_>,
    at: &Context<'_>,
) -> Draft {
    let mut draft = Draft::default();
    let at = &Context { job: JobName::new(name).ok(), ..*at };
    for entry in table.entries() {
        key(report, &mut draft, &entry, "a job", at);
    }
    if report.is_damaged(spot) {
        return draft;
    }
    if !table.has("schedule") && !table.has("after") {
        let message = format!("job {} has no schedule", quoted(name));
        let help = format!("add, for example, {SCHEDULE_EXAMPLE}, or `after` with the jobs that it follows");
        report.error(spot.clone(), message).help(help);
    }
    let of = format!("job {}", quoted(name));
    contradict(report, table, ("command", "shell"), &of);
    contradict(report, table, STOPS, &of);
    if !table.has("command") && !table.has("shell") {
        report
            .error(spot.clone(), format!("job {} has no command", quoted(name)))
            .help(format!("add, for example, {COMMAND_EXAMPLE} or shell = \"a | b\""));
    }
    draft
}

/// Reports two keys of which there can be only one.
fn contradict(report: &mut Report, table: Table<'_>, (one, other): (&str, &str), of: &str) {
    let (Some(a), Some(b)) = (table.get(one), table.get(other)) else { return };
    report
        .error(a.spot.clone().max(b.spot.clone()), format!("{of} has both `{one}` and `{other}`"))
        .help("keep the one that is meant")
        .first(a.spot.min(b.spot));
}

/// Reads `[defaults]`.
pub(super) fn read_defaults(report: &mut Report, table: Table<'_>, at: &Context<'_>) -> Draft {
    let mut draft = Draft::default();
    for entry in table.entries() {
        if OWN.contains(&entry.key) {
            report
                .error(entry.spot.clone(), format!("`{}` can't be a default", entry.key))
                .help("write it into each job");
        } else {
            key(report, &mut draft, &entry, "[defaults]", at);
        }
    }
    contradict(report, table, STOPS, "[defaults]");
    draft
}

/// What the values of a file depend on.
#[derive(Debug)]
pub(super) struct Context<'c> {
    /// The folder of the file, absolute.
    pub(super) folder: &'c Path,
    /// The user that jobd runs as, where that is known.
    pub(super) uid: Option<u32>,
    /// The job whose entry it is.
    pub(super) job: Option<JobName>,
}

fn key(report: &mut Report, draft: &mut Draft, entry: &Entry<'_>, of: &str, at: &Context<'_>) {
    let value = &entry.value;
    match entry.key {
        "description" => {
            draft.description = value.string(report, "description = \"nightly backup\"").map(str::to_owned);
        }
        "schedule" => draft.schedules = schedules(report, value, at.job.as_ref()),
        "command" => draft.command = argv(report, value).or(draft.command.take()),
        "shell" => draft.command = shell(report, value).or(draft.command.take()),
        "timeout" => draft.timeout = stop::timeout(report, value),
        "kill_grace" => draft.stop = stop::kill_grace(report, value).or(draft.stop.take()),
        "stop_signals" => draft.stop = stop::ladder(report, value).or(draft.stop.take()),
        "leftover" => draft.leftover = value.choice(report, &LEFTOVER),
        "output_limit" => draft.output_limit = output_limit(report, value),
        "catch_up" => draft.catch_up = value.choice(report, &CATCH_UP),
        "catch_up_window" => {
            let example = "catch_up_window = \"1d\"";
            draft.catch_up_window =
                value.positive(report, example, "to catch up nothing, catch_up = \"skip\"");
        }
        "alert" => draft.alert = alert(report, value),
        "timezone" => draft.zone = zone(report, value),
        "cwd" => draft.cwd = path(report, value, "cwd = \"/srv/academy\"", at.folder),
        "env" => draft.env = env(report, value),
        "env_file" => draft.env_file = path(report, value, "env_file = \"academy.env\"", at.folder),
        "stdin" => draft.stdin = path(report, value, "stdin = \"answers.txt\"", at.folder),
        "user" => draft.user = identity::user(report, value, at.uid),
        "groups" => draft.groups = identity::groups(report, value, at.uid),
        "no_new_privileges" => {
            draft.no_new_privileges = value.boolean(report, "no_new_privileges = true");
        }
        "umask" => draft.umask = identity::umask(report, value),
        "nice" => draft.resources.nice = resources::nice(report, value, at.uid),
        "ionice" => draft.resources.io = resources::ionice(report, value, at.uid),
        "rlimits" => draft.resources.rlimits = resources::rlimits(report, value),
        "limits" => draft.resources.group = resources::limits(report, value),
        key if days::KEYS.contains(&key) => days::key(report, &mut draft.days, entry),
        _ if order::key(report, &mut draft.order, entry)
            || follow::key(report, &mut draft.follow, entry)
            || watch::key(report, &mut draft.watch, entry) => {}
        _ => entry.unknown(report, of, if of == "a job" { KEYS } else { &KEYS[OWN.len()..] }, &[]),
    }
}

/// A schedule or a list of them.
fn schedules(report: &mut Report, value: &Value<'_>, job: Option<&JobName>) -> Vec<Schedule> {
    let texts = if value.is_string() {
        value.string(report, SCHEDULE_EXAMPLE).map(|text| vec![(text, *value)])
    } else {
        value.strings(report, SCHEDULE_EXAMPLE)
    };
    let texts = texts.unwrap_or_default();
    let mut seen: BTreeMap<Vec<&str>, Spot> = BTreeMap::new();
    let mut schedules = Vec::new();
    for (text, value) in &texts {
        let words: Vec<&str> = text.split_whitespace().collect();
        if let Some(first) = seen.get(&words) {
            let message = format!("schedule {} is given twice", quoted(text));
            report.error(value.spot(), message).help("leave it out").first(first.clone());
            continue;
        }
        seen.insert(words, value.spot());
        schedules.extend(schedule(report, value, text, job));
    }
    if value.is_empty_list() {
        report.error(value.spot(), "`schedule` is an empty list").help(SCHEDULE_EXAMPLE);
    }
    schedules
}

/// One schedule; `H` in it needs the job's name.
pub(super) fn schedule(
    report: &mut Report,
    value: &Value<'_>,
    text: &str,
    job: Option<&JobName>,
) -> Option<Schedule> {
    match job.map_or_else(|| Schedule::parse(text), |job| Schedule::parse_for(job, text)) {
        Ok(schedule) => Some(schedule),
        Err(error) => {
            let note = report.error(value.part(error.span), format!("schedule: {}", error.message));
            if let Some(help) = error.help {
                note.help(help);
            }
            None
        }
    }
}

fn argv(report: &mut Report, value: &Value<'_>) -> Option<Command> {
    if value.is_string() {
        report
            .error(value.spot(), "`command`: expected a list, found a string")
            .help(format!("{COMMAND_EXAMPLE}, or shell = \"…\" for a line that a shell reads"));
        return None;
    }
    let words = value.strings(report, COMMAND_EXAMPLE)?;
    match words.first() {
        None => {
            report.error(value.spot(), "`command` is an empty list").help(COMMAND_EXAMPLE);
            None
        }
        Some((program, first)) if program.trim().is_empty() => {
            report.error(first.spot(), "the program of `command` is empty").help(COMMAND_EXAMPLE);
            None
        }
        Some(_) => Some(Command::Argv(words.iter().map(|(word, _)| (*word).to_owned()).collect())),
    }
}

fn shell(report: &mut Report, value: &Value<'_>) -> Option<Command> {
    let line = value.string(report, "shell = \"a | b\"")?;
    if line.trim().is_empty() {
        report.error(value.spot(), "`shell` is empty").help("shell = \"a | b\"");
        return None;
    }
    Some(Command::Shell(line.to_owned()))
}

/// How much of the output is kept.
fn output_limit(report: &mut Report, value: &Value<'_>) -> Option<Limit<u64>> {
    const EXAMPLE: &str = "output_limit = \"100MB\"";
    if value.is_string() && value.string(report, EXAMPLE)? == "none" {
        return Some(Limit::Endless);
    }
    value.size_from(report, OUTPUT_LIMIT_MIN, "64KiB", EXAMPLE).map(Limit::At)
}

fn alert(report: &mut Report, value: &Value<'_>) -> Option<Vec<(String, Spot)>> {
    let names = value.distinct(report, "channel", "alert = [\"ops\"]")?;
    Some(names.into_iter().map(|(name, value)| (name.to_owned(), value.spot())).collect())
}

/// A time zone by its IANA name.
pub(super) fn zone(report: &mut Report, value: &Value<'_>) -> Option<TimeZone> {
    let name = value.string(report, "timezone = \"Asia/Seoul\"")?;
    match TimeZone::get(name) {
        Ok(zone) if !zone.is_unknown() => Some(zone),
        _ => {
            let help = match nearest_zone(name) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "write an IANA name, such as \"Asia/Seoul\" or \"UTC\"".to_owned(),
            };
            report.error(value.spot(), format!("{} is not a time zone", quoted(name))).help(help);
            None
        }
    }
}

fn path(report: &mut Report, value: &Value<'_>, example: &str, folder: &Path) -> Option<PathBuf> {
    let text = value.string(report, example)?;
    if text.is_empty() {
        report.error(value.spot(), "the path is empty").help(format!("for example: {example}"));
        return None;
    }
    Some(folder.join(text))
}

fn env(report: &mut Report, value: &Value<'_>) -> BTreeMap<String, String> {
    const EXAMPLE: &str = "env = { LANG = \"ko_KR.UTF-8\" }";
    let Some(table) = value.table(report, EXAMPLE) else { return BTreeMap::new() };
    let mut env = BTreeMap::new();
    for entry in table.entries() {
        let text = entry.value.string(report, &format!("{} = \"1\"", entry.key));
        let name = entry.key;
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.starts_with("JOBD_") {
            report
                .error(entry.spot, format!("{} is reserved: jobd itself sets JOBD_*", quoted(name)))
                .help("give the variable another name");
        } else if name.is_empty() || !name.bytes().all(word) || name.as_bytes()[0].is_ascii_digit() {
            report
                .error(entry.spot, format!("{} can't be the name of a variable", quoted(name)))
                .help("a name is letters, digits and '_', and begins with no digit");
        } else if let Some(text) = text {
            env.insert(name.to_owned(), text.to_owned());
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use super::{KEYS, OWN};

    #[test]
    fn the_keys_of_one_job_come_first() {
        assert_eq!(&KEYS[..OWN.len()], OWN);
    }
}
