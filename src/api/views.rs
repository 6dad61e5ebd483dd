//! Answers made from specs and rows: the same ones, whether jobd gives them or `jobctl` reads for itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::rules::JobRules;
use super::types::{GroupLimitsView, Incident, JobView, NextFire};
use crate::engine::job::{JobName, JobSpec};
use crate::engine::occurrence;
use crate::engine::pause::Pause;
use crate::engine::record::RunRecord;
use crate::engine::time::Timestamp;

/// How alike two names must be for one to be offered in place of the other, from 0 to 1.
const LIKENESS_MIN: f64 = 0.7;

/// The first fire of a job after an instant that its own entry does not decide against.
#[must_use]
pub fn next_fire(spec: &JobSpec, after: Timestamp) -> Option<Timestamp> {
    occurrence::next_start(spec, after).map(|fire| fire.at)
}

/// The first fire of all jobs after an instant; of several at one instant, the first by name.
#[must_use]
pub fn next_of_all(specs: &BTreeMap<JobName, Arc<JobSpec>>, after: Timestamp) -> Option<NextFire> {
    let fires = specs.values().filter_map(|spec| {
        let at = next_fire(spec, after)?;
        Some(NextFire { job: spec.name.clone(), at })
    });
    fires.min_by_key(|fire| fire.at)
}

/// A job as the API shows it.
#[must_use]
pub fn job_view(
    spec: &JobSpec,
    now: Timestamp,
    last_run: Option<RunRecord>,
    incidents: &[Incident],
    pauses: &[Pause],
) -> JobView {
    JobView {
        name: spec.name.clone(),
        description: spec.description.clone(),
        schedules: spec.schedules.iter().map(|schedule| schedule.as_str().to_owned()).collect(),
        resolved: spec.schedules.iter().map(|schedule| schedule.resolved().to_owned()).collect(),
        timezone: spec.zone.iana_name().unwrap_or("UTC").to_owned(),
        command: spec.command.clone(),
        timeout_ms: spec.timeout.map(milliseconds),
        kill_grace_ms: milliseconds(spec.stop.grace()),
        stop_signals: spec.stop.to_string().split(' ').map(str::to_owned).collect(),
        leftover: spec.leftover,
        output_limit_bytes: spec.output_limit,
        overlap: spec.overlap,
        rules: JobRules::of(spec),
        catch_up: spec.catch_up,
        catch_up_window_ms: milliseconds(spec.catch_up_window),
        alert: spec.alert.clone(),
        cwd: spec.cwd.clone(),
        stdin: spec.stdin.clone(),
        user: spec.user.clone(),
        groups: spec.groups.clone(),
        no_new_privileges: spec.no_new_privileges,
        umask: format!("{:04o}", spec.umask),
        env: spec.env.keys().cloned().collect(),
        env_file: spec.env_file.clone(),
        nice: spec.resources.nice,
        ionice: spec.resources.io.map(|io| io.to_string()),
        rlimits: spec.resources.rlimits.clone(),
        limits: GroupLimitsView {
            memory_bytes: spec.resources.group.memory,
            cpu_percent: spec.resources.group.cpu_percent,
            pids: spec.resources.group.pids,
            required: spec.resources.group.required,
        },
        next_fire: next_fire(spec, now),
        last_run,
        incident_since: incidents.iter().find(|incident| incident.job == spec.name).map(|i| i.since),
        paused: pauses
            .iter()
            .filter(|pause| pause.covers(&spec.name, now))
            .max_by_key(|p| p.job.is_some())
            .cloned(),
    }
}

/// The pauses whose time is not over.
#[must_use]
pub fn in_force(pauses: Vec<Pause>, now: Timestamp) -> Vec<Pause> {
    pauses.into_iter().filter(|pause| pause.until.is_none_or(|until| now < until)).collect()
}

/// What a person should know of pauses: those that nothing but a person ends.
#[must_use]
pub fn endless_pauses(pauses: &[Pause], zone: &TimeZone) -> Vec<String> {
    let endless = pauses.iter().filter(|pause| pause.until.is_none());
    let sentence = |pause: &Pause| {
        let (whose, name) = match &pause.job {
            Some(job) => (format!("{job} has"), job.as_str()),
            None => ("all jobs have".to_owned(), "--all"),
        };
        let since = pause.since.to_zoned(zone.clone()).strftime("%F %T");
        let by = &pause.by;
        format!("{whose} been paused since {since} by {by}, without an end: 'jobctl resume {name}' ends it")
    };
    endless.map(sentence).collect()
}

/// What helps a person whose name for a job is no job's: the nearest one, or where the names are.
#[must_use]
pub fn suggestion<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> String {
    let likeness = |name: &&str| strsim::jaro_winkler(wrong, name);
    let nearest = names.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest.filter(|name| likeness(name) >= LIKENESS_MIN) {
        Some(name) => format!("did you mean '{name}'?"),
        None => "'jobctl list' shows every job".to_owned(),
    }
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        let names = ["attendance_notification", "backup", "invoice_generation"];
        let suggest = |wrong| suggestion(wrong, names.into_iter());
        assert_eq!(suggest("bakcup"), "did you mean 'backup'?");
        assert_eq!(suggest("invoice"), "did you mean 'invoice_generation'?");
        assert_eq!(suggest("zzz"), "'jobctl list' shows every job");
        assert_eq!(suggestion("x", std::iter::empty()), "'jobctl list' shows every job");
    }
}
