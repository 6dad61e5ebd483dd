//! Puts defaults and entries together.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use crate::engine::job::{ChannelName, JobName, JobSpec};

use super::diagnostic::quoted;
use super::fingerprint;
use super::job::Draft;
use super::loader::{Loader, Registered};
use super::nearest::nearest;
use super::report::{Report, Spot};
use super::value::Limit;

/// How many channels a report lists.
const SHOWN_MAX: usize = 10;

/// Reports the channels that alerts name and nobody configures.
pub(super) fn check_channels(loader: &mut Loader<'_>) {
    let Loader { report, channels, jobs, defaults, .. } = loader;
    for draft in jobs.values().map(|job| &job.draft).chain([&*defaults]) {
        for (name, spot) in draft.alert.iter().flatten() {
            if !channels.contains_key(name) && !report.is_full() {
                unknown_channel(report, channels.keys().map(String::as_str), name, spot);
            }
        }
    }
}

fn unknown_channel<'n>(
    report: &mut Report,
    names: impl Iterator<Item = &'n str> + Clone,
    name: &str,
    spot: &Spot,
) {
    let help = match nearest(name, names.clone()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => match names.take(SHOWN_MAX).collect::<Vec<_>>().join(", ") {
            names if names.is_empty() => "add a channel, for example [channels.ops]".to_owned(),
            names => format!("there are {names}"),
        },
    };
    report.error(spot.clone(), format!("there is no channel {}", quoted(name))).help(help);
}

/// The channels of the alerts of jobd itself.
pub(super) fn default_alert(defaults: &Draft) -> Vec<ChannelName> {
    defaults.alert.iter().flatten().map(|(name, _)| name.clone()).collect()
}

/// The specs of all jobs without mistakes.
pub(super) fn specs(
    jobs: BTreeMap<JobName, Registered>,
    defaults: &Draft,
    zone: &TimeZone,
) -> BTreeMap<JobName, JobSpec> {
    let resolve =
        |(name, job): (JobName, Registered)| spec(&name, job, defaults, zone).map(|spec| (name, spec));
    jobs.into_iter().filter_map(resolve).collect()
}

fn spec(name: &JobName, job: Registered, defaults: &Draft, zone: &TimeZone) -> Option<JobSpec> {
    let Registered { draft, folder, .. } = job;
    let mut env = defaults.env.clone();
    env.extend(draft.env);
    let own = draft.alert.map(|alert| alert.into_iter().map(|(name, _)| name).collect());
    let mut spec = JobSpec::new(name.clone(), draft.command?);
    spec.description = draft.description;
    spec.schedules = draft.schedules;
    spec.zone = draft.zone.or_else(|| defaults.zone.clone()).unwrap_or_else(|| zone.clone());
    spec.timeout = draft.timeout.or(defaults.timeout).map_or(spec.timeout, Limit::value);
    spec.stop = draft.stop.or_else(|| defaults.stop.clone()).unwrap_or(spec.stop);
    spec.leftover = draft.leftover.or(defaults.leftover).unwrap_or(spec.leftover);
    spec.output_limit = draft.output_limit.or(defaults.output_limit).map_or(spec.output_limit, Limit::value);
    spec.overlap = draft.overlap.or(defaults.overlap).unwrap_or(spec.overlap);
    spec.catch_up = draft.catch_up.or(defaults.catch_up).unwrap_or(spec.catch_up);
    spec.catch_up_window = draft.catch_up_window.or(defaults.catch_up_window).unwrap_or(spec.catch_up_window);
    spec.alert = own.unwrap_or_else(|| default_alert(defaults));
    spec.cwd = draft.cwd.or_else(|| defaults.cwd.clone()).unwrap_or(folder);
    spec.env = env;
    spec.env_file = draft.env_file.or_else(|| defaults.env_file.clone());
    spec.stdin = draft.stdin.or_else(|| defaults.stdin.clone());
    spec.user = draft.user.or_else(|| defaults.user.clone());
    spec.groups = draft.groups.or_else(|| defaults.groups.clone());
    spec.no_new_privileges =
        draft.no_new_privileges.or(defaults.no_new_privileges).unwrap_or(spec.no_new_privileges);
    spec.resources = draft.resources.resolve(&defaults.resources);
    spec.umask = draft.umask.or(defaults.umask).unwrap_or(spec.umask);
    spec.schedule_hash = fingerprint::of_schedule(&spec);
    spec.config_hash = fingerprint::of_job(&spec);
    Some(spec)
}
