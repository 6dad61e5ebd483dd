//! The simulated store: the rules of the real one, in memory. `tests/store` holds both to one suite.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jobctl::engine::job::JobName;
use jobctl::engine::ledger::{
    Accounted, Answer, Batch, Change, ClaimState, HISTORY_MAX, JobHistory, KnownJob, OpenClaim, OpenIncident,
    Snapshot,
};
use jobctl::engine::notice::Notice;
use jobctl::engine::pause::Pause;
use jobctl::engine::reason::Reason;
use jobctl::engine::record::RunRecord;
use jobctl::engine::run::{Claim, Exit, Report, RunId, Status, Trigger};
use jobctl::engine::time::Timestamp;
use jobctl::engine::watch::SuccessWatch;

/// The store.
#[derive(Debug, Clone, Default)]
pub struct SimLedger {
    pub rows: BTreeMap<RunId, RunRecord>,
    /// When each run was decided upon.
    pub claimed_at: BTreeMap<RunId, Timestamp>,
    /// From when each job owes its fires.
    pub known_since: BTreeMap<JobName, Timestamp>,
    /// The rows of each fire.
    fires: BTreeMap<(JobName, Timestamp), Vec<RunId>>,
    /// The rows of many fires, by the first.
    many: BTreeMap<(JobName, Timestamp), Vec<RunId>>,
    pub claims: BTreeMap<RunId, OpenClaim>,
    pub jobs: BTreeMap<JobName, KnownJob>,
    pub incidents: BTreeMap<JobName, OpenIncident>,
    pub outbox: Vec<(String, Notice)>,
    pub gaps: Vec<(Timestamp, Timestamp, Reason)>,
    pub pauses: Vec<Pause>,
    pub watches: BTreeMap<JobName, SuccessWatch>,
    /// Runs in the order in which they became final.
    pub finished: Vec<RunId>,
    /// MISSED rows that gave way to a run of the same fire.
    pub replaced: u64,
    /// The next try of each run that has one, claimed in the batch of its end.
    pub next_try: BTreeMap<RunId, RunId>,
    /// The run that ended last in the batch that is being applied.
    last_end: Option<RunId>,
    pub last_batch: u64,
    pub last_run: u64,
    pub last_seen: Option<Timestamp>,
    pub boot_id: Option<String>,
    /// How many boots were decided about: one in which jobd died before anything was durable is none.
    pub boots: u64,
}

impl SimLedger {
    /// What a sound engine never asks for. A ledger lets it pass without effect, so that it can be sent twice; the
    /// simulation does not.
    pub fn object_to(&self, batch: &Batch) -> Result<(), String> {
        if batch.number <= self.last_batch {
            return Ok(());
        }
        let mut in_trouble: BTreeSet<&JobName> = self.incidents.keys().collect();
        for change in &batch.changes {
            match change {
                Change::Advance { job, cursor }
                    if self.jobs.get(job).is_some_and(|job| *cursor < job.cursor) =>
                {
                    return Err(format!("the cursor of {job} goes back"));
                }
                Change::Account(Accounted { job, status: Status::Missed, scheduled_at, .. })
                    if self.jobs.get(job).is_some_and(|job| *scheduled_at <= job.cursor) =>
                {
                    return Err(format!(
                        "{scheduled_at} of {job} is accounted for already, and missed again"
                    ));
                }
                Change::OpenIncident { job, .. } if !in_trouble.insert(job) => {
                    return Err(format!("{job} has an open incident already"));
                }
                Change::CloseIncident { job, .. } => drop(in_trouble.remove(job)),
                Change::Finish { run, .. } if self.rows.get(run).is_some_and(|row| row.status.is_final()) => {
                    return Err(format!("run {run} is over and would end again"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Applies a batch, or answers again if it has been applied.
    pub fn commit(&mut self, batch: &Batch) -> Result<Vec<(RunId, Answer)>, String> {
        if batch.number > self.last_batch + 1 {
            return Err(format!("batch {} after {}", batch.number, self.last_batch));
        }
        if batch.number == self.last_batch + 1 {
            self.last_end = None;
            for change in &batch.changes {
                self.apply(change, batch.at);
            }
            self.last_batch = batch.number;
            self.last_seen = Some(batch.at);
        }
        Ok(batch.changes.iter().filter_map(|change| self.answer(change)).collect())
    }

    fn answer(&self, change: &Change) -> Option<(RunId, Answer)> {
        match change {
            Change::Claim { claim, .. } => {
                let row = self.rows.get(&claim.run);
                Some((claim.run, row.map_or(Answer::Taken, |row| Answer::Granted { attempt: row.attempt })))
            }
            Change::Ahead { claim } => {
                let granted = self.claims.contains_key(&claim.run) || self.rows.contains_key(&claim.run);
                let attempt = claim.attempt;
                Some((claim.run, if granted { Answer::Granted { attempt } } else { Answer::Taken }))
            }
            _ => None,
        }
    }

    fn apply(&mut self, change: &Change, at: Timestamp) {
        match change {
            Change::Know { job, schedule_hash, cursor } => {
                let (job, schedule_hash, cursor) = (job.clone(), schedule_hash.clone(), *cursor);
                self.known_since.insert(job.clone(), cursor);
                self.jobs.insert(job.clone(), KnownJob { job, schedule_hash, cursor });
            }
            Change::Forget { job } => drop(self.jobs.remove(job)),
            Change::Advance { job, cursor } => {
                if let Some(known) = self.jobs.get_mut(job) {
                    known.cursor = known.cursor.max(*cursor);
                }
            }
            Change::Booted { boot_id } => {
                self.boots += u64::from(self.boot_id.replace(boot_id.clone()).as_ref() != Some(boot_id));
            }
            Change::Claim { claim, queued } => self.claim(claim, *queued, at),
            Change::Ahead { claim } => self.ahead(claim),
            Change::Begin { run, at } => self.begin(*run, *at),
            Change::Withdraw { run } => {
                if self.claims.get(run).is_some_and(|open| open.state == ClaimState::Ahead) {
                    self.claims.remove(run);
                }
            }
            Change::Gap { from, until, reason } => self.gaps.push((*from, *until, reason.clone())),
            Change::Pause(pause) => {
                self.pauses.retain(|known| known.job != pause.job);
                self.pauses.push(pause.clone());
            }
            Change::Resume { job, .. } => self.pauses.retain(|pause| pause.job != *job),
            Change::KeepWatch(watch) => drop(self.watches.insert(watch.job.clone(), watch.clone())),
            Change::DropWatch { job } => drop(self.watches.remove(job)),
            Change::Extend { run, until, fires } => {
                if let Some(row) = self.rows.get_mut(run).filter(|row| row.scheduled_until.is_some()) {
                    row.scheduled_until = row.scheduled_until.max(Some(*until));
                    row.fires += fires;
                }
            }
            Change::Told { run, concern } => {
                if let Some(open) = self.claims.get_mut(run) {
                    open.told.insert(*concern);
                }
            }
            Change::Start { run, at } => self.start(*run, *at),
            Change::Account(accounted) => self.account(accounted, at),
            Change::Note { run, reason } => self.note(*run, reason),
            Change::Finish { run, status, reason, report, at } => {
                self.finish(*run, *status, reason.clone(), report.as_deref(), *at);
            }
            Change::OpenIncident { job, status, at, .. } => {
                let incident =
                    OpenIncident { job: job.clone(), since: *at, kinds: vec![*status], bad_runs: 1 };
                self.incidents.insert(job.clone(), incident);
            }
            Change::JoinIncident { job, status } => {
                if let Some(incident) = self.incidents.get_mut(job) {
                    incident.bad_runs += 1;
                    if !incident.kinds.contains(status) {
                        incident.kinds.push(*status);
                    }
                }
            }
            Change::CloseIncident { job, .. } => drop(self.incidents.remove(job)),
            Change::Notify { channel, notice } => self.outbox.push((channel.clone(), notice.clone())),
        }
    }

    fn claim(&mut self, claim: &Claim, queued: bool, at: Timestamp) {
        self.last_run = self.last_run.max(claim.run.0);
        let mut attempt = claim.attempt;
        if let Some(at) = claim.scheduled_at {
            let rows = &mut self.rows;
            let same_fire = self.fires.entry((claim.job.clone(), at)).or_default();
            let gives_way = |row: &RunRecord| {
                let is_undone = match row.status {
                    Status::Missed => true,
                    Status::Skipped => claim.trigger.may_undo_skip(),
                    _ => false,
                };
                is_undone && (row.attempt == attempt || claim.trigger.may_repeat())
            };
            let given_way = same_fire.extract_if(.., |run| gives_way(&rows[run])).collect::<Vec<_>>();
            let missed = given_way.iter().filter(|run| rows[run].status == Status::Missed).count();
            self.replaced += missed as u64;
            for run in given_way {
                rows.remove(&run);
            }
            let of_fire =
                |open: &&OpenClaim| open.claim.job == claim.job && open.claim.scheduled_at == Some(at);
            let promised = self.claims.values().filter(of_fire).map(|open| open.claim.attempt);
            let mut tries = same_fire.iter().map(|run| rows[run].attempt).chain(promised);
            if claim.trigger.may_repeat() {
                attempt = tries.max().unwrap_or(0) + 1;
            } else if tries.any(|tried| tried == attempt) {
                return;
            }
            same_fire.push(claim.run);
        }
        let (status, started_at) =
            if queued { (Status::Queued, claim.due_at()) } else { (Status::Running, at) };
        let row = row(claim.run, &claim.job, status, started_at);
        self.rows.insert(
            claim.run,
            RunRecord {
                scheduled_at: claim.scheduled_at,
                attempt,
                triggered_by: claim.trigger,
                config_hash: Some(claim.config_hash.clone()),
                ..row
            },
        );
        self.claimed_at.insert(claim.run, claim.claimed_at);
        if claim.trigger == Trigger::Retry
            && let Some(ended) = self.last_end.take()
        {
            self.next_try.insert(ended, claim.run);
        }
        let claim = Claim { attempt, ..claim.clone() };
        let state = if queued { ClaimState::Queued } else { ClaimState::Due };
        self.claims.insert(claim.run, open(claim, state));
    }

    fn ahead(&mut self, claim: &Claim) {
        self.last_run = self.last_run.max(claim.run.0);
        let fire = claim.scheduled_at.map(|at| (claim.job.clone(), at));
        let has_row = fire.and_then(|fire| self.fires.get(&fire)).is_some_and(|rows| !rows.is_empty());
        let is_claimed = self
            .claims
            .values()
            .any(|other| other.claim.job == claim.job && other.claim.scheduled_at == claim.scheduled_at);
        if !has_row && !is_claimed {
            self.claims.insert(claim.run, open(claim.clone(), ClaimState::Ahead));
        }
    }

    fn begin(&mut self, run: RunId, at: Timestamp) {
        let Some(open) = self.claims.get(&run).filter(|open| open.state == ClaimState::Ahead) else { return };
        let former = open.clone();
        self.claims.remove(&run);
        self.claim(&former.claim, false, at);
        if let Some(open) = self.claims.get_mut(&run) {
            (open.skips, open.told) = (former.skips, former.told);
        }
    }

    fn start(&mut self, run: RunId, at: Timestamp) {
        if let Some(open) = self.claims.get_mut(&run) {
            open.state = ClaimState::Due;
        }
        if let Some(row) = self.rows.get_mut(&run).filter(|row| row.status == Status::Queued) {
            (row.status, row.started_at) = (Status::Running, at);
        }
    }

    fn note(&mut self, run: RunId, reason: &str) {
        if let Some(row) = self.rows.get_mut(&run).filter(|row| !row.status.is_final()) {
            row.reason = Some(reason.to_owned());
        }
        if let Some(open) = self.claims.get_mut(&run) {
            open.noted = true;
        }
    }

    fn account(&mut self, accounted: &Accounted, at: Timestamp) {
        self.last_run = self.last_run.max(accounted.run.0);
        // A row of many is no try of any of its fires, and is in the way of none.
        let fires = if accounted.scheduled_until.is_none() { &mut self.fires } else { &mut self.many };
        let same_fire = fires.entry((accounted.job.clone(), accounted.scheduled_at)).or_default();
        if !same_fire.is_empty() {
            return;
        }
        same_fire.push(accounted.run);
        if let Reason::Overlap { run } = accounted.reason
            && let Some(open) = self.claims.get_mut(&run)
        {
            open.skips += accounted.fires;
        }
        let row = row(accounted.run, &accounted.job, accounted.status, accounted.scheduled_at);
        self.rows.insert(
            accounted.run,
            RunRecord {
                scheduled_at: Some(accounted.scheduled_at),
                scheduled_until: accounted.scheduled_until,
                attempt: u32::from(accounted.scheduled_until.is_none()),
                fires: accounted.fires,
                completed_at: Some(at),
                reason: Some(accounted.reason.to_string()),
                config_hash: Some(accounted.config_hash.clone()),
                ..row
            },
        );
    }

    fn finish(
        &mut self,
        run: RunId,
        status: Status,
        reason: Option<String>,
        report: Option<&Report>,
        at: Timestamp,
    ) {
        let Some(open) = self.claims.remove(&run) else { return };
        self.last_end = Some(run);
        let Some(row) = self.rows.get_mut(&run) else { return };
        self.finished.push(run);
        row.status = status;
        row.reason = reason;
        row.completed_at = Some(at);
        row.started_at = report.and_then(|report| report.started_at).unwrap_or_else(|| open.claim.due_at());
        let Some(report) = report else { return };
        row.exit_code = if let Exit::Code(code) = report.exit { Some(code) } else { None };
        row.term_signal = if let Exit::Signal(signal) = report.exit { Some(signal) } else { None };
        row.pid = report.pid;
        row.message.clone_from(&report.message);
        row.duration_ms = u64::try_from(report.duration.as_millis()).ok();
        row.cpu_ms = u64::try_from(report.cpu.as_millis()).ok();
        row.max_rss_kib = Some(report.max_rss_kib);
        row.output_bytes = Some(report.output_bytes);
    }

    fn history(&self, job: &JobName) -> JobHistory {
        // In the order of their numbers: by the clock, which may have been set, a further try may seem the earlier one.
        let ended: Vec<_> = self.rows.values().filter(|row| row.task_name == *job && is_end(row)).collect();
        let successes: Vec<_> = ended.iter().filter(|row| row.status == Status::Success).collect();
        let took = successes.iter().filter_map(|row| row.duration_ms).map(Duration::from_millis);
        let ends = ended.iter().filter(|row| !self.is_tried_again(row));
        JobHistory {
            successes: last(took.collect()),
            ends: last(ends.filter_map(|row| Some((row.scheduled_at?, row.status))).collect()),
            last_success: successes.last().and_then(|row| row.completed_at),
        }
    }

    /// Whether a later try of the same fire has ended, or is still to come without anybody's asking.
    fn is_tried_again(&self, row: &RunRecord) -> bool {
        let fire = row.scheduled_at.and_then(|at| self.fires.get(&(row.task_name.clone(), at)));
        let mut later = fire.into_iter().flatten().map(|run| &self.rows[run]);
        later.any(|later| {
            let is_to_come = later.triggered_by == Trigger::Retry && !later.status.is_final();
            later.attempt > row.attempt && (is_to_come || is_end(later))
        })
    }

    fn with_start(&self, open: &OpenClaim) -> OpenClaim {
        let row = self.rows.get(&open.claim.run).filter(|row| row.status == Status::Running);
        OpenClaim { running_since: row.map(|row| row.started_at), ..open.clone() }
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            last_batch: self.last_batch,
            last_run: self.last_run,
            last_seen: self.last_seen,
            boot_id: self.boot_id.clone(),
            jobs: self.jobs.values().cloned().collect(),
            open: self.claims.values().map(|open| self.with_start(open)).collect(),
            incidents: self.incidents.values().cloned().collect(),
            pauses: self.pauses.clone(),
            watches: self.watches.values().cloned().collect(),
            history: self.jobs.keys().map(|job| (job.clone(), self.history(job))).collect(),
        }
    }
}

/// Whether the row is that of a run that is over; of one killed before it began there is nothing to end.
fn is_end(row: &RunRecord) -> bool {
    match row.status {
        Status::Missed | Status::Skipped => false,
        Status::Killed => row.duration_ms.is_some(),
        status => status.is_final(),
    }
}

/// A claim of which nothing has been told.
fn open(claim: Claim, state: ClaimState) -> OpenClaim {
    OpenClaim { claim, state, skips: 0, told: BTreeSet::new(), running_since: None, noted: false }
}

/// A row with nothing in it but what every row has.
fn row(run_id: RunId, job: &JobName, status: Status, started_at: Timestamp) -> RunRecord {
    RunRecord {
        run_id,
        task_name: job.clone(),
        status,
        triggered_by: Trigger::Schedule,
        attempt: 1,
        scheduled_at: None,
        scheduled_until: None,
        fires: 1,
        started_at,
        completed_at: None,
        reason: None,
        message: None,
        error_message: None,
        exit_code: None,
        term_signal: None,
        pid: None,
        duration_ms: None,
        cpu_ms: None,
        max_rss_kib: None,
        output_bytes: None,
        config_hash: None,
        host: "sim".to_owned(),
    }
}

fn last<T>(mut of: Vec<T>) -> Vec<T> {
    of.drain(..of.len().saturating_sub(HISTORY_MAX));
    of
}
