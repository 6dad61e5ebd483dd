//! What follows what: `retry` after a bad end, and `after` for jobs that wait for others.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::engine::after::{After, AfterEnd, Same};
use crate::engine::job::{JobName, JobSpec};
use crate::engine::retry::Retry;
use crate::engine::run::Status;

use super::diagnostic::quoted;
use super::nearest::{nearest, unknown};
use super::report::{Report, Spot};
use super::value::{Choice, Entry, Value};

/// How many tries a fire may have; one is no retry.
const ATTEMPTS: RangeInclusive<i64> = 1..=100;
/// The most that a delay may grow by from one try to the next.
const BACKOFF: RangeInclusive<f64> = 1.0..=100.0;
/// The most jobs that one job waits for.
const AFTER_MAX: usize = 100;
/// How many jobs of a circle a report names.
const CIRCLE_SHOWN_MAX: usize = 20;

/// How long after its fire a job waits for others where nothing else is said.
const WITHIN: Duration = Duration::from_hours(6);

/// The keys of `retry`.
const RETRY: &[&str] = &["attempts", "delay", "backoff", "max_delay", "jitter", "on"];
/// The keys of `after`.
const AFTER: &[&str] = &["jobs", "on", "same", "within"];

/// The outcomes that may be tried again, as `retry` names them.
const OUTCOMES: [(&str, Status); 3] =
    [("failed", Status::Failed), ("timeout", Status::Timeout), ("lost", Status::Lost)];

const AFTER_END: Choice<AfterEnd> = Choice {
    built: &[("success", AfterEnd::Success), ("failure", AfterEnd::Failure), ("always", AfterEnd::Always)],
    planned: &[],
};

const SAME: Choice<Same> = Choice { built: &[("day", Same::Day), ("fire", Same::Fire)], planned: &[] };

/// What `retry` may look like.
const RETRY_EXAMPLE: &str = "retry = 3, or retry = { attempts = 3, delay = \"1m\" }";
/// What `retry`'s `on` may look like.
const ON_EXAMPLE: &str = "on = [\"failed\", \"timeout\"]";
/// What `after` may look like.
const AFTER_EXAMPLE: &str =
    "after = [\"statistics\"], or after = { jobs = [\"statistics\"], within = \"6h\" }";

/// What an entry says of them, before defaults.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    retry: Option<Retry>,
    after: Option<AfterDraft>,
}

/// What an entry says under `after`.
#[derive(Debug, Clone)]
struct AfterDraft {
    /// The jobs with their places: whether they exist is known when all files are read.
    jobs: Vec<(String, Spot)>,
    on: AfterEnd,
    same: Same,
    within: Duration,
}

/// Reads a key of a job; false if it is none of these.
pub(super) fn key(report: &mut Report, draft: &mut Draft, entry: &Entry<'_>) -> bool {
    match entry.key {
        "retry" => draft.retry = retry(report, &entry.value),
        "after" => draft.after = after(report, &entry.value),
        _ => return false,
    }
    true
}

/// A number of tries, or a table.
fn retry(report: &mut Report, value: &Value<'_>) -> Option<Retry> {
    let mut retry = Retry::default();
    if value.is_integer() {
        retry.attempts = attempts(report, value)?;
        return Some(retry);
    }
    for entry in value.table(report, RETRY_EXAMPLE)?.entries() {
        let value = &entry.value;
        match entry.key {
            "attempts" => retry.attempts = attempts(report, value)?,
            "delay" => retry.delay = value.duration(report, "delay = \"1m\"")?,
            "backoff" => retry.backoff = value.float(report, BACKOFF, "backoff = 2.0")?,
            "max_delay" => retry.max_delay = value.duration(report, "max_delay = \"1h\"")?,
            "jitter" => retry.jitter = value.duration(report, "jitter = \"10s\"")?,
            "on" => retry.on = outcomes(report, value)?,
            _ => entry.unknown(report, "`retry`", RETRY, &[]),
        }
    }
    if retry.max_delay < retry.delay {
        let message = "`retry`: `delay` is longer than `max_delay`";
        report.error(value.spot(), message).help("the longest delay is 1h unless `max_delay` says more");
    }
    Some(retry)
}

fn attempts(report: &mut Report, value: &Value<'_>) -> Option<u32> {
    let attempts = value.integer(report, ATTEMPTS, "attempts = 3")?;
    u32::try_from(attempts).ok()
}

fn outcomes(report: &mut Report, value: &Value<'_>) -> Option<BTreeSet<Status>> {
    let words = value.distinct(report, "outcome", ON_EXAMPLE)?;
    if words.is_empty() {
        report.error(value.spot(), "`on` is an empty list").help("for no retry write retry = 1");
        return None;
    }
    let outcome = |(word, value): (&str, Value<'_>)| {
        let known = OUTCOMES.iter().find(|(name, _)| *name == word);
        if known.is_none() {
            let help = match nearest(word, OUTCOMES.map(|(name, _)| name)) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "it can be \"failed\", \"timeout\" and \"lost\"".to_owned(),
            };
            let message = format!("{} is no outcome that is tried again", quoted(word));
            report.error(value.spot(), message).help(help);
        }
        known.map(|(_, status)| *status)
    };
    words.into_iter().map(outcome).collect()
}

/// A list of jobs, or a table.
fn after(report: &mut Report, value: &Value<'_>) -> Option<AfterDraft> {
    let mut after =
        AfterDraft { jobs: Vec::new(), on: AfterEnd::default(), same: Same::default(), within: WITHIN };
    if !value.is_table() {
        after.jobs = jobs(report, value)?;
        return Some(after);
    }
    let table = value.table(report, AFTER_EXAMPLE)?;
    for entry in table.entries() {
        let value = &entry.value;
        match entry.key {
            "jobs" => after.jobs = jobs(report, value)?,
            "on" => after.on = value.choice(report, &AFTER_END)?,
            "same" => after.same = value.choice(report, &SAME)?,
            "within" => {
                after.within =
                    value.positive(report, "within = \"6h\"", "a job waits for some time at least")?;
            }
            _ => entry.unknown(report, "`after`", AFTER, &[]),
        }
    }
    if !table.has("jobs") {
        report.error(value.spot(), "`after` names no jobs").help(AFTER_EXAMPLE);
    }
    Some(after)
}

fn jobs(report: &mut Report, value: &Value<'_>) -> Option<Vec<(String, Spot)>> {
    let names = value.distinct(report, "job", AFTER_EXAMPLE)?;
    if names.is_empty() {
        report.error(value.spot(), "`after` is an empty list").help(AFTER_EXAMPLE);
    }
    if let Some((_, value)) = names.get(AFTER_MAX) {
        report.error(value.spot(), format!("a job waits for at most {AFTER_MAX} others"));
        return None;
    }
    Some(names.into_iter().map(|(name, value)| (name.to_owned(), value.spot())).collect())
}

impl Draft {
    /// The jobs that come first, each with where it is named.
    fn before(&self) -> &[(String, Spot)] {
        self.after.as_ref().map_or(&[], |after| &after.jobs)
    }

    /// Puts into a job what it says, and what it does not say from the defaults.
    pub(super) fn resolve(self, defaults: &Self, spec: &mut JobSpec) {
        let retry = self.retry.or_else(|| defaults.retry.clone());
        spec.retry = retry.filter(|retry| retry.attempts > 1);
        spec.after = self.after.map(|AfterDraft { jobs, on, same, within }| After {
            jobs: jobs.iter().filter_map(|(name, _)| JobName::new(name).ok()).collect(),
            on,
            same,
            within,
        });
    }
}

/// Reports jobs that wait for one that is not there, and those that wait for each other.
pub(super) fn check(report: &mut Report, jobs: &BTreeMap<&str, &Draft>) {
    for (name, spot) in jobs.values().flat_map(|draft| draft.before()) {
        if report.is_full() {
            return;
        }
        if !jobs.contains_key(name.as_str()) {
            let names = jobs.keys().copied();
            unknown(report, "job", names, name, spot, "add the job, or leave it out of `after`");
        }
    }
    find_circles(report, jobs);
}

/// Walks from job to job against the order in which they run; whoever meets a job of its own way is in a circle.
fn find_circles(report: &mut Report, jobs: &BTreeMap<&str, &Draft>) {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for (start, draft) in jobs {
        if draft.before().is_empty() || done.contains(start) {
            continue;
        }
        // The way from the start, each job with those before it that are still to be looked at.
        let mut way = vec![(*start, draft.before().iter())];
        let mut on_way = BTreeMap::from([(*start, 0)]);
        while let Some((name, rest)) = way.last_mut() {
            let Some((before, spot)) = rest.next() else {
                on_way.remove(name);
                done.insert(name);
                way.pop();
                continue;
            };
            if let Some(&at) = on_way.get(before.as_str()) {
                let circle: Vec<&str> = way[at..].iter().map(|(name, _)| *name).collect();
                report_circle(report, &circle, spot);
            } else if let Some(draft) = jobs.get(before.as_str()).filter(|_| !done.contains(before.as_str()))
            {
                on_way.insert(before, way.len());
                way.push((before, draft.before().iter()));
            }
        }
    }
}

fn report_circle(report: &mut Report, circle: &[&str], spot: &Spot) {
    let message = if let [alone] = circle {
        format!("job {} waits for itself", quoted(alone))
    } else {
        let named: Vec<&str> = circle.iter().copied().take(CIRCLE_SHOWN_MAX).collect();
        let rest = if named.len() < circle.len() { " -> …" } else { "" };
        format!("jobs wait for each other: {}{rest} -> {}", named.join(" -> "), circle[0])
    };
    report.error(spot.clone(), message).help("none of them could ever start: leave this one out of `after`");
}
