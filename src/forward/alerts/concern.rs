//! The words for what no run's end tells: a run that is late, long, short, silent or in the way, and a job without a
//! success.

use std::time::Duration;

use minijinja::{Value, context};

use super::quote;
use super::text::{LINE_CHARS_MAX, TextError, Wording, between};
use crate::engine::job::JobName;
use crate::engine::time::Timestamp;
use crate::engine::watch::{Concern, RunConcern};

impl Wording {
    /// A run that one should look at.
    pub(super) fn concern(&self, run: &RunConcern) -> Result<String, TextError> {
        let is_active = run.started_at.is_some() && !matches!(run.concern, Concern::Short { .. });
        let facts = context! {
            job => run.job.as_str(), run => run.run.0, host => self.host(), is_active,
            due => run.scheduled_at.map(|due| self.time(due)),
            started => run.started_at.map(|started| self.time(started)),
            elapsed => run.started_at.map(|started| self.elapsed(between(started, run.at))),
            ..self.numbers(&run.concern)
        };
        self.render("concern", &facts)
    }

    /// Its kind, and the numbers that go with it.
    fn numbers(&self, concern: &Concern) -> Value {
        let line = |text: &str| quote::line(text, LINE_CHARS_MAX);
        match concern {
            Concern::NotStarted { limit, waits_for } => {
                context! { kind => "not_started", limit => self.exact(*limit), waits_for => line(waits_for) }
            }
            Concern::NotFinished { by } => context! { kind => "not_finished", by => self.time(*by) },
            Concern::Long { limit } => context! { kind => "long", limit => self.exact(*limit) },
            Concern::Unusual { usual, runs, limit } => context! {
                kind => "unusual", usual => self.elapsed(*usual), runs, limit => self.elapsed(*limit),
            },
            Concern::Short { took, least } => {
                context! { kind => "short", took => self.elapsed(*took), least => self.exact(*least) }
            }
            Concern::Silent { for_, waits_for } => context! {
                kind => "silent", length => self.elapsed(*for_), waits_for => waits_for.as_deref().map(line),
            },
            Concern::InTheWay { skipped } => context! { kind => "in_the_way", skipped },
        }
    }

    /// A job that has not succeeded for too long, configured or not.
    pub(super) fn no_success(
        &self,
        job: &JobName,
        since: Timestamp,
        limit: Duration,
        removed: bool,
    ) -> Result<String, TextError> {
        let facts = context! {
            job => job.as_str(), host => self.host(), since => self.time(since), limit => self.exact(limit), removed,
        };
        self.render("no_success", &facts)
    }
}
