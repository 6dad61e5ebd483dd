//! Which runs may be active together: `overlap`, `queue_limit`, `locks`, `pools`, `busy`, `priority` of a job, and
//! `max_running`, `[pools]` and `[catch_up]` for all.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::engine::admission::{Admission, LockName};
use crate::engine::job::{JobName, JobSpec};
use crate::engine::policy::{Busy, Overlap};

use super::diagnostic::quoted;
use super::nearest::unknown;
use super::report::{Report, Spot};
use super::value::{Choice, Entry, Table, Value};

/// The overlap policies.
const OVERLAP: Choice<Overlap> = Choice {
    built: &[
        ("skip", Overlap::Skip),
        ("queue", Overlap::Queue),
        ("replace", Overlap::Replace),
        ("allow", Overlap::Allow),
    ],
    planned: &[],
};

/// What a fire does while a lock or a pool is taken.
const BUSY: Choice<Busy> = Choice { built: &[("wait", Busy::Wait), ("skip", Busy::Skip)], planned: &[] };

/// The most runs of one job that may wait.
const QUEUE_LIMITS: RangeInclusive<i64> = 1..=100_000;
/// The priorities, from the last to the first.
const PRIORITIES: RangeInclusive<i64> = -1000..=1000;
/// The places of a pool, and how many of them a run may take.
const PLACES: RangeInclusive<i64> = 1..=1_000_000;
/// The most pools of a configuration.
const POOLS_MAX: usize = 10_000;
/// The most locks, and the most pools, that one run holds.
const HELD_MAX: usize = 100;
/// How many runs may be active at once.
const RUNNING: RangeInclusive<i64> = 1..=1_000_000;
/// How many catch-up runs are started a second.
const RATES: RangeInclusive<i64> = 1..=10_000;
/// The longest time that a host is given to settle.
const SETTLE_MAX: Duration = Duration::from_hours(24);

/// The keys of `[catch_up]`.
const CATCH_UP: &[&str] = &["rate", "settle"];

/// What `locks` may look like.
const LOCKS_EXAMPLE: &str = "locks = [\"db\"]";
/// What a job's `pools` may look like.
const POOLS_EXAMPLE: &str = "pools = [\"etl\"], or pools = { etl = 2 }";

/// What an entry says of them, before defaults.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    overlap: Option<Overlap>,
    queue_limit: Option<(usize, Spot)>,
    locks: Option<Vec<LockName>>,
    /// The pools with their places: whether they exist is known when all files are read.
    pools: Option<Vec<(String, u32, Spot)>>,
    busy: Option<(Busy, Spot)>,
    priority: Option<i32>,
}

/// Reads a key of a job; false if it is none of these.
pub(super) fn key(report: &mut Report, draft: &mut Draft, entry: &Entry<'_>) -> bool {
    let value = &entry.value;
    match entry.key {
        "overlap" => draft.overlap = value.choice(report, &OVERLAP),
        "queue_limit" => {
            let limit = value.integer(report, QUEUE_LIMITS, "queue_limit = 10");
            let limit = limit.and_then(|limit| usize::try_from(limit).ok());
            draft.queue_limit = limit.map(|limit| (limit, entry.spot.clone()));
        }
        "locks" => draft.locks = locks(report, value),
        "pools" => draft.pools = places(report, value),
        "busy" => draft.busy = value.choice(report, &BUSY).map(|busy| (busy, entry.spot.clone())),
        "priority" => {
            let priority = value.integer(report, PRIORITIES, "priority = 10");
            draft.priority = priority.and_then(|priority| i32::try_from(priority).ok());
        }
        _ => return false,
    }
    true
}

fn locks(report: &mut Report, value: &Value<'_>) -> Option<Vec<LockName>> {
    let names = value.distinct(report, "lock", LOCKS_EXAMPLE)?;
    if let Some((_, value)) = names.get(HELD_MAX) {
        report.error(value.spot(), format!("a run holds at most {HELD_MAX} locks"));
        return None;
    }
    let name = |(name, value): (&str, Value<'_>)| {
        is_name(report, "a lock", name, value.spot()).then(|| name.to_owned())
    };
    names.into_iter().map(name).collect()
}

/// One place in each pool of a list, or as many as a table says.
fn places(report: &mut Report, value: &Value<'_>) -> Option<Vec<(String, u32, Spot)>> {
    let places: Option<Vec<_>> = if value.is_table() {
        let table = value.table(report, POOLS_EXAMPLE)?;
        let places = table.entries().map(|entry| {
            let places = entry.value.integer(report, PLACES, &format!("{} = 1", entry.key))?;
            Some((entry.key.to_owned(), u32::try_from(places).ok()?, entry.spot))
        });
        places.collect()
    } else {
        let names = value.distinct(report, "pool", POOLS_EXAMPLE)?;
        Some(names.into_iter().map(|(name, value)| (name.to_owned(), 1, value.spot())).collect())
    };
    if let Some((_, _, spot)) = places.as_ref().and_then(|places| places.get(HELD_MAX)) {
        report.error(spot.clone(), format!("a run holds places in at most {HELD_MAX} pools"));
        return None;
    }
    places
}

/// Whether a text may name a lock or a pool.
fn is_name(report: &mut Report, of: &str, name: &str, spot: Spot) -> bool {
    let is_name = JobName::new(name).is_ok();
    if !is_name {
        report
            .error(spot, format!("{} can't be the name of {of}", quoted(name)))
            .help("a name is 1 to 64 of a-z, 0-9, '.', '_' and '-', first a letter or digit");
    }
    is_name
}

/// Reads a key of the main file that holds for all runs together; false if it is none of these.
pub(super) fn key_for_all(report: &mut Report, admission: &mut Admission, entry: &Entry<'_>) -> bool {
    let value = &entry.value;
    match entry.key {
        "max_running" => {
            let most = value.integer(report, RUNNING, "max_running = 64");
            admission.max_running =
                most.and_then(|most| usize::try_from(most).ok()).unwrap_or(admission.max_running);
        }
        "pools" => {
            if let Some(table) = value.table(report, "[pools]\netl = 4") {
                admission.pools = pools(report, table);
            }
        }
        "catch_up" => {
            if let Some(table) = value.table(report, "[catch_up]\nrate = 20") {
                catch_up(report, admission, table);
            }
        }
        _ => return false,
    }
    true
}

/// A pool with a mistake is known by name all the same: those who use it have made none.
fn pools(report: &mut Report, table: Table<'_>) -> BTreeMap<String, u32> {
    let mut pools = BTreeMap::new();
    for entry in table.entries() {
        if pools.len() >= POOLS_MAX {
            report.error(entry.spot, format!("a configuration has at most {POOLS_MAX} pools"));
            break;
        }
        is_name(report, "a pool", entry.key, entry.spot.clone());
        let places = entry.value.integer(report, PLACES, &format!("{} = 4", entry.key));
        let places = places.and_then(|places| u32::try_from(places).ok());
        pools.insert(entry.key.to_owned(), places.unwrap_or(u32::MAX));
    }
    pools
}

fn catch_up(report: &mut Report, admission: &mut Admission, table: Table<'_>) {
    for entry in table.entries() {
        let value = &entry.value;
        match entry.key {
            "rate" => {
                let rate = value.integer(report, RATES, "rate = 20");
                admission.rate = rate.and_then(|rate| u32::try_from(rate).ok()).unwrap_or(admission.rate);
            }
            "settle" => {
                let settle = value.duration(report, "settle = \"30s\"");
                if settle.is_some_and(|settle| settle > SETTLE_MAX) {
                    report.error(value.spot(), "`settle` is longer than 1d").help("1d is the most");
                }
                admission.settle = settle.unwrap_or(admission.settle);
            }
            _ => entry.unknown(report, "[catch_up]", CATCH_UP, &[]),
        }
    }
}

impl Draft {
    /// Reports pools that nobody configures, and more places than a pool has.
    pub(super) fn check_pools(&self, report: &mut Report, pools: &BTreeMap<String, u32>) {
        for (name, wanted, spot) in self.pools.iter().flatten() {
            match pools.get(name) {
                _ if report.is_full() => return,
                None => unknown(
                    report,
                    "pool",
                    pools.keys().map(String::as_str),
                    name,
                    spot,
                    "add it, for example [pools]\netl = 4",
                ),
                Some(places) if wanted > places => {
                    let message =
                        format!("a run that takes {wanted} places in {} never starts", quoted(name));
                    let help = format!("the pool has {places}: take fewer, or enlarge it under [pools]");
                    report.error(spot.clone(), message).help(help);
                }
                Some(_) => {}
            }
        }
    }

    /// Warns of what a job says and nothing comes of.
    pub(super) fn warn(&self, report: &mut Report, defaults: &Self) {
        let overlap = self.overlap.or(defaults.overlap).unwrap_or_default();
        if let Some((_, spot)) = self.queue_limit.as_ref().filter(|_| overlap != Overlap::Queue) {
            report
                .warning(spot.clone(), "`queue_limit` says nothing without overlap = \"queue\"")
                .help("add overlap = \"queue\", or leave it out");
        }
        let locks = self.locks.as_ref().or(defaults.locks.as_ref());
        let pools = self.pools.as_ref().or(defaults.pools.as_ref());
        let holds_nothing = locks.is_none_or(Vec::is_empty) && pools.is_none_or(Vec::is_empty);
        if let Some((_, spot)) = self.busy.as_ref().filter(|_| holds_nothing) {
            report
                .warning(spot.clone(), "`busy` says nothing without `locks` or `pools`")
                .help("add the lock or pool that is meant, or leave it out");
        }
    }

    /// Puts into a job what it says, and what it does not say from the defaults.
    pub(super) fn resolve(self, defaults: &Self, spec: &mut JobSpec) {
        let all = defaults.clone();
        spec.overlap = self.overlap.or(all.overlap).unwrap_or(spec.overlap);
        spec.queue_limit = self.queue_limit.or(all.queue_limit).map_or(spec.queue_limit, |(limit, _)| limit);
        spec.holds.locks = self.locks.or(all.locks).unwrap_or_default();
        let pools = self.pools.or(all.pools).unwrap_or_default();
        spec.holds.pools = pools.into_iter().map(|(name, places, _)| (name, places)).collect();
        spec.busy = self.busy.or(all.busy).map_or(spec.busy, |(busy, _)| busy);
        spec.priority = self.priority.or(all.priority).unwrap_or(spec.priority);
    }
}
