//! A job's stretch of trouble: opened by the first bad outcome, closed by the next good one.
//!
//! It is announced when it opens and once more for each new kind of bad outcome in it (a job that failed and now hangs
//! is news); exactly one recovery follows. A kill by a person opens nothing and heals nothing.

use std::collections::BTreeMap;

use super::job::JobName;
use super::ledger::{Change, OpenIncident};
use super::notice::{BadRun, End, Notice};
use super::run::{Claim, Report, Status};
use super::time::Timestamp;

/// The open incidents, by job.
#[derive(Debug, Default)]
pub(super) struct Incidents {
    open: BTreeMap<JobName, OpenIncident>,
}

impl Incidents {
    /// Takes up where the store left off.
    pub(super) fn new(open: Vec<OpenIncident>) -> Self {
        Self { open: open.into_iter().map(|incident| (incident.job.clone(), incident)).collect() }
    }

    /// What follows from a run's end, in the same batch as the end itself.
    pub(super) fn follow(&mut self, claim: &Claim, report: &Report, at: Timestamp) -> Vec<Change> {
        let status = report.status();
        if status.is_bad() {
            self.worsen(claim, report, at)
        } else if status == Status::Success {
            self.heal(claim, at)
        } else {
            Vec::new()
        }
    }

    fn worsen(&mut self, claim: &Claim, report: &Report, at: Timestamp) -> Vec<Change> {
        let (job, status) = (claim.job.clone(), report.status());
        let (change, is_news) = match self.open.get_mut(&claim.job) {
            None => {
                let incident = OpenIncident { job: job.clone(), since: at, kinds: vec![status], bad_runs: 1 };
                self.open.insert(job.clone(), incident);
                (Change::OpenIncident { job, run: claim.run, status, at }, true)
            }
            Some(incident) => {
                incident.bad_runs += 1;
                let is_news = !incident.kinds.contains(&status);
                if is_news {
                    incident.kinds.push(status);
                }
                (Change::JoinIncident { job, status }, is_news)
            }
        };
        let mut changes = vec![change];
        if is_news {
            changes.extend(notify(&claim.alert, &Notice::Bad(bad_run(claim, report))));
        }
        changes
    }

    fn heal(&mut self, claim: &Claim, at: Timestamp) -> Vec<Change> {
        let Some(incident) = self.open.remove(&claim.job) else { return Vec::new() };
        let mut changes = vec![Change::CloseIncident { job: claim.job.clone(), run: claim.run, at }];
        let notice = Notice::Recovered {
            job: claim.job.clone(),
            run: claim.run,
            since: incident.since,
            at,
            bad_runs: incident.bad_runs,
        };
        changes.extend(notify(&claim.alert, &notice));
        changes
    }
}

/// One outbox row a channel.
pub(super) fn notify<'a>(channels: &'a [String], notice: &'a Notice) -> impl Iterator<Item = Change> + 'a {
    channels.iter().map(|channel| Change::Notify { channel: channel.clone(), notice: notice.clone() })
}

fn bad_run(claim: &Claim, report: &Report) -> BadRun {
    BadRun {
        job: claim.job.clone(),
        run: claim.run,
        status: report.status(),
        scheduled_at: claim.scheduled_at,
        started_at: report.started_at.unwrap_or_else(|| claim.due_at()),
        ended_at: report.ended_at,
        duration: report.duration,
        timeout: claim.timeout,
        error: report.describe_end(claim.timeout),
        end: Some(End { exit: report.exit.clone(), stop: report.stop.clone(), oom: report.oom }),
        error_tail: report.error_tail.clone(),
        remark: report.remark.clone(),
        waited_for: report.waited_for.clone(),
    }
}
