//! A second pair of eyes: whether the store has what the schedules name.
//!
//! **Invariant:** nothing here is shared with what fires jobs: not the engine, its cursors or its timer. The auditor
//! walks through the schedules for itself, reads the rows for itself, and what it finds it writes into the outbox for
//! itself, so that a loop that stands still, or a timer that never comes, is told of all the same.
//!
//! What came before this jobd is the recovery's, which decides about it before anything else happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tracing::{error, warn};

use super::causes;
use crate::api::supervisor::Facts;
use crate::engine::job::{ChannelName, JobName, JobSpec};
use crate::engine::notice::{MissedFires, Notice};
use crate::engine::occurrence::{Fire, next_fire};
use crate::engine::record::AccountedFire;
use crate::engine::time::{Now, Timestamp};
use crate::store::{Reader, Store, StoreError};

/// How long a fire has to be accounted for before anybody asks: a busy host is no fault.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many looks in a row have to miss a fire: the first may come between a decision and its row.
const LOOKS: u8 = 2;
/// The most fires of one job that are looked for at once; the rest waits until some are found.
const FIRES_MAX: usize = 1_000;
/// A difference between the clocks' paces that says that the wall clock was set or the host slept: the engine then
/// has as much to decide as after a start.
const CLOCK_STEP: Duration = Duration::from_secs(1);

/// Looks now and then, and tells.
pub(super) struct Auditor {
    audit: Audit,
    store: Store,
    facts: watch::Sender<Arc<Facts>>,
    /// Told that a message waits.
    outbox: Arc<Notify>,
    alert: Vec<ChannelName>,
    /// What it has put among the problems.
    problem: Option<String>,
}

impl Auditor {
    /// An auditor of every fire after `now`.
    pub(super) fn new(
        store: Store,
        facts: watch::Sender<Arc<Facts>>,
        outbox: Arc<Notify>,
        alert: Vec<ChannelName>,
        now: Now,
    ) -> Self {
        let specs = Arc::clone(&facts.borrow().specs);
        Self { audit: Audit::new(specs, now), store, facts, outbox, alert, problem: None }
    }

    /// Looks once. A store that cannot be asked is told of elsewhere.
    pub(super) async fn look(&mut self, now: Now) {
        let found = match self.audit.look(now, &self.store.reader()).await {
            Ok(found) => found,
            Err(problem) => {
                warn!("the fires of late could not be audited: {}", causes(&problem));
                return;
            }
        };
        if !found.is_empty() {
            self.tell(found, now.wall).await;
        }
        self.show_problem();
    }

    async fn tell(&self, jobs: Vec<MissedFires>, at: Timestamp) {
        for missing in &jobs {
            let MissedFires { job, fires, first, last, .. } = missing;
            error!(%job, fires, %first, %last, "due, and neither started nor accounted for");
        }
        let notice = Notice::Unaccounted { at, jobs };
        if let Err(problem) = self.store.outbox_put(&self.alert, &notice, at).await {
            error!("that fires are not accounted for could not be told: {}", causes(&problem));
        }
        self.outbox.notify_one();
    }

    /// `jobctl status` shows what is missing for as long as it is.
    fn show_problem(&mut self) {
        let problem = self.audit.problem();
        if problem == self.problem {
            return;
        }
        let (old, new) = (self.problem.take(), problem.clone());
        self.facts.send_modify(|facts| {
            let problems = &mut Arc::make_mut(facts).problems;
            problems.retain(|known| Some(known) != old.as_ref());
            problems.extend(new);
        });
        self.problem = problem;
    }
}

/// What is to be accounted for, and what is not.
struct Audit {
    specs: Arc<BTreeMap<JobName, Arc<JobSpec>>>,
    /// Each job's next fire, by the instant at which its run starts: a job costs nothing until then.
    coming: BTreeSet<(Timestamp, JobName, Timestamp)>,
    /// Fires that no row was found for, with the number of looks that found none.
    open: BTreeMap<JobName, BTreeMap<Timestamp, u8>>,
    /// The jobs whose missing fires have been told: more of them are no news.
    told: BTreeSet<JobName>,
    seen: Now,
}

impl Audit {
    fn new(specs: Arc<BTreeMap<JobName, Arc<JobSpec>>>, now: Now) -> Self {
        let mut audit =
            Self { specs, coming: BTreeSet::new(), open: BTreeMap::new(), told: BTreeSet::new(), seen: now };
        let names: Vec<JobName> = audit.specs.keys().cloned().collect();
        for name in names {
            audit.await_next(&name, now.wall);
        }
        audit
    }

    fn await_next(&mut self, name: &JobName, after: Timestamp) {
        if let Some(fire) = self.specs.get(name).and_then(|spec| next_fire(spec, after)) {
            self.coming.insert((fire.starts, name.clone(), fire.at));
        }
    }

    /// What this look finds missing for the last time needed.
    async fn look(&mut self, now: Now, reader: &Reader) -> Result<Vec<MissedFires>, StoreError> {
        self.forgive_a_step(now);
        self.take_in(now.wall);
        let mut found = Vec::new();
        let jobs: Vec<JobName> = self.open.keys().cloned().collect();
        for job in jobs {
            let Some(open) = self.open.get(&job) else { continue };
            let (Some((&first, _)), Some((&last, _))) = (open.first_key_value(), open.last_key_value())
            else {
                continue;
            };
            let rows = reader.accounted(&job, first..=last).await?;
            found.extend(self.judge(&job, &rows));
        }
        self.open.retain(|_, fires| !fires.is_empty());
        self.told.retain(|job| self.open.contains_key(job));
        Ok(found)
    }

    /// After a step of the clock or a sleep, what is due is decided anew: nobody is late until then.
    fn forgive_a_step(&mut self, now: Now) {
        let real = now.monotonic.since(self.seen.monotonic);
        let shown = Duration::try_from(now.wall.duration_since(self.seen.wall)).unwrap_or_default();
        if shown.abs_diff(real) > CLOCK_STEP {
            let looks = self.open.values_mut().flat_map(BTreeMap::values_mut);
            looks.filter(|looks| **looks < LOOKS).for_each(|looks| *looks = 0);
        }
        self.seen = now;
    }

    /// Moves what has come by now from the jobs' next fires to what a row is looked for.
    fn take_in(&mut self, now: Timestamp) {
        let limit = now.saturating_sub(PATIENCE).unwrap_or(now);
        let is_due = |(starts, ..): &(Timestamp, JobName, Timestamp)| *starts <= limit;
        let mut later = Vec::new();
        while let Some(next) = self.coming.pop_first() {
            if !is_due(&next) {
                self.coming.insert(next);
                break;
            }
            let open = self.open.entry(next.1.clone()).or_default();
            if open.len() == FIRES_MAX {
                later.push(next);
                continue;
            }
            let (_, name, at) = next;
            open.insert(at, 0);
            self.await_next(&name, at);
        }
        self.coming.extend(later);
    }

    /// Strikes out what has a row; what has not been found often enough is missing.
    fn judge(&mut self, job: &JobName, rows: &[AccountedFire]) -> Option<MissedFires> {
        let open = self.open.get_mut(job)?;
        open.retain(|at, _| {
            !rows
                .iter()
                .any(|row| row.scheduled_at <= *at && *at <= row.scheduled_until.unwrap_or(row.scheduled_at))
        });
        for looks in open.values_mut() {
            *looks = looks.saturating_add(1).min(LOOKS + 1);
        }
        let missing = open.iter().filter(|(_, looks)| **looks == LOOKS);
        let missing: Vec<Fire> = missing.map(|(&at, _)| Fire { at, starts: at }).collect();
        let is_news = !missing.is_empty() && self.told.insert(job.clone());
        is_news.then(|| MissedFires::of(job, &missing))
    }

    fn problem(&self) -> Option<String> {
        let is_missing = |fires: &&BTreeMap<Timestamp, u8>| fires.values().any(|looks| *looks >= LOOKS);
        let jobs: Vec<&str> =
            self.open.iter().filter(|(_, fires)| is_missing(fires)).map(|(job, _)| job.as_str()).collect();
        let (first, others) = jobs.split_first()?;
        let and = if others.is_empty() { String::new() } else { format!(" and {} others", others.len()) };
        Some(format!("fires of {first}{and} are due and neither started nor accounted for; restart jobd"))
    }
}
