//! Puts defaults and entries together.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::engine::job::{ChannelName, JobName, JobSpec};
use crate::engine::watch::Usual;

use super::days::Calendars;
use super::job::Draft;
use super::loader::{Loader, Registered};
use super::nearest::unknown;
use super::stop::Timeout;
use super::value::Limit;
use super::{fingerprint, follow};

/// Reports what shows only when all files are read: names that nobody has, circles, and keys that say nothing beside
/// others.
pub(super) fn check(loader: &mut Loader<'_>) {
    let Loader { report, channels, jobs, defaults, admission, .. } = loader;
    for draft in jobs.values().map(|job| &job.draft).chain([&*defaults]) {
        for (name, spot) in draft.alert.iter().flatten() {
            if !channels.contains_key(name) && !report.is_full() {
                let add = "add a channel, for example [channels.ops]";
                unknown(report, "channel", channels.keys().map(String::as_str), name, spot, add);
            }
        }
        draft.order.check_pools(report, &admission.pools);
        if let Some(limit) = draft.timeout.or(defaults.timeout).unwrap_or_default().limit(defaults.timeout) {
            draft.watch.warn(report, limit);
        }
    }
    for job in jobs.values() {
        job.draft.order.warn(report, &defaults.order);
    }
    follow::check(report, &jobs.iter().map(|(name, job)| (name.as_str(), &job.draft.follow)).collect());
}

/// The channels of the alerts of jobd itself.
pub(super) fn default_alert(defaults: &Draft) -> Vec<ChannelName> {
    defaults.alert.iter().flatten().map(|(name, _)| name.clone()).collect()
}

/// The specs of all jobs without mistakes.
pub(super) fn specs(
    jobs: BTreeMap<JobName, Registered>,
    defaults: &Draft,
    calendars: &Calendars,
    zone: &TimeZone,
) -> BTreeMap<JobName, Arc<JobSpec>> {
    let resolve = |(name, job): (JobName, Registered)| {
        let spec = spec(&name, job, defaults, calendars, zone)?;
        Some((name, Arc::new(spec)))
    };
    jobs.into_iter().filter_map(resolve).collect()
}

fn spec(
    name: &JobName,
    job: Registered,
    defaults: &Draft,
    calendars: &Calendars,
    zone: &TimeZone,
) -> Option<JobSpec> {
    let Registered { draft, folder, .. } = job;
    let mut env = defaults.env.clone();
    env.extend(draft.env);
    let own = draft.alert.map(|alert| alert.into_iter().map(|(name, _)| name).collect());
    let mut spec = JobSpec::new(name.clone(), draft.command?);
    spec.description = draft.description;
    spec.schedules = draft.schedules;
    spec.zone = draft.zone.or_else(|| defaults.zone.clone()).unwrap_or_else(|| zone.clone());
    let timeout = draft.timeout.or(defaults.timeout).unwrap_or_default();
    spec.timeout = timeout.limit(defaults.timeout);
    spec.auto_timeout = (timeout == Timeout::Auto).then(Usual::default);
    spec.stop = draft.stop.or_else(|| defaults.stop.clone()).unwrap_or(spec.stop);
    spec.leftover = draft.leftover.or(defaults.leftover).unwrap_or(spec.leftover);
    spec.output_limit = draft.output_limit.or(defaults.output_limit).map_or(spec.output_limit, Limit::value);
    draft.order.resolve(&defaults.order, &mut spec);
    draft.follow.resolve(&defaults.follow, &mut spec);
    draft.watch.resolve(&defaults.watch, &mut spec);
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
    draft.days.resolve(&defaults.days, calendars, &mut spec);
    spec.schedule_hash = fingerprint::of_schedule(&spec);
    spec.config_hash = fingerprint::of_job(&spec);
    Some(spec)
}
