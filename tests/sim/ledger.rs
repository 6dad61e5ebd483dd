//! The simulated store: the rules of the real one, in memory. `tests/store.rs` holds both to one suite.

use std::collections::BTreeMap;

use jobctl::engine::job::JobName;
use jobctl::engine::ledger::{
    Accounted, Answer, Batch, Change, KnownJob, Notice, OpenClaim, OpenIncident, Snapshot,
};
use jobctl::engine::record::RunRecord;
use jobctl::engine::run::{Claim, Exit, Report, RunId, Status, Trigger};
use jobctl::engine::time::Timestamp;

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
    pub claims: BTreeMap<RunId, OpenClaim>,
    pub jobs: BTreeMap<JobName, KnownJob>,
    pub incidents: BTreeMap<JobName, OpenIncident>,
    pub outbox: Vec<(String, Notice)>,
    /// Runs in the order in which they became final.
    pub finished: Vec<RunId>,
    /// MISSED rows that gave way to a run of the same fire.
    pub replaced: u64,
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
                Change::OpenIncident { job, .. } if self.incidents.contains_key(job) => {
                    return Err(format!("{job} has an open incident already"));
                }
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
            for change in &batch.changes {
                self.apply(change, batch.at);
            }
            self.last_batch = batch.number;
            self.last_seen = Some(batch.at);
        }
        Ok(batch.changes.iter().filter_map(|change| self.answer(change)).collect())
    }

    fn answer(&self, change: &Change) -> Option<(RunId, Answer)> {
        let Change::Claim { claim, .. } = change else { return None };
        let row = self.rows.get(&claim.run);
        Some((claim.run, row.map_or(Answer::Taken, |row| Answer::Granted { attempt: row.attempt })))
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
            let missed = |row: &RunRecord| row.status == Status::Missed && row.scheduled_until.is_none();
            let given_way = same_fire.extract_if(.., |run| missed(&rows[run])).collect::<Vec<_>>();
            self.replaced += given_way.len() as u64;
            for run in given_way {
                rows.remove(&run);
            }
            let tries = || same_fire.iter().map(|run| rows[run].attempt);
            if claim.trigger.may_repeat() {
                attempt = tries().max().unwrap_or(0) + 1;
            } else if tries().any(|tried| tried == attempt) {
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
        let claim = Claim { attempt, ..claim.clone() };
        self.claims.insert(claim.run, OpenClaim { claim, queued, noted: false });
    }

    fn start(&mut self, run: RunId, at: Timestamp) {
        if let Some(open) = self.claims.get_mut(&run) {
            open.queued = false;
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
        let same_fire = self.fires.entry((accounted.job.clone(), accounted.scheduled_at)).or_default();
        if !same_fire.is_empty() {
            return;
        }
        same_fire.push(accounted.run);
        let row = row(accounted.run, &accounted.job, accounted.status, accounted.scheduled_at);
        self.rows.insert(
            accounted.run,
            RunRecord {
                scheduled_at: Some(accounted.scheduled_at),
                scheduled_until: accounted.scheduled_until,
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

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            last_batch: self.last_batch,
            last_run: self.last_run,
            last_seen: self.last_seen,
            boot_id: self.boot_id.clone(),
            jobs: self.jobs.values().cloned().collect(),
            open: self.claims.values().cloned().collect(),
            incidents: self.incidents.values().cloned().collect(),
        }
    }
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
