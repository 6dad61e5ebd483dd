//! The words for fires without a run: those of a downtime, and those that nothing accounts for.

use minijinja::context;

use super::quote;
use super::text::{LINE_CHARS_MAX, TextError, Wording, between};
use crate::engine::notice::MissedFires;
use crate::engine::reason::Reason;
use crate::engine::time::Timestamp;

/// How many jobs a message names; the others are counted.
const JOBS_MAX: usize = 15;

/// How much room the named jobs have together, in characters.
const JOBS_CHARS_MAX: usize = 2_500;

impl Wording {
    /// One downtime: what was missed, what the policies did about it, and what waits for a person.
    pub(super) fn missed(
        &self,
        reason: &Reason,
        since: Option<Timestamp>,
        until: Timestamp,
        jobs: &[MissedFires],
    ) -> Result<String, TextError> {
        let (why, in_the_way) = match reason {
            Reason::Down => ("down", None),
            Reason::Asleep => ("asleep", None),
            Reason::ClockMoved => ("clock_moved", None),
            Reason::Starved => ("starved", None),
            Reason::NeverStarted => ("never_started", None),
            Reason::PastWindow => ("past_window", None),
            Reason::Overlap { run } => ("overlap", Some(run.0)),
            _ => ("other", None),
        };
        let (lines, others) = self.lines("missed_job", jobs)?;
        let facts = context! {
            why, in_the_way, other => quote::line(&reason.to_string(), LINE_CHARS_MAX),
            host => self.host(), lines, fires => total(jobs, |missed| missed.fires),
            since => since.map(|since| self.time(since)), until => self.time(until),
            gap => since.map(|since| self.elapsed(between(since, until))),
            others => others.len(), other_fires => total(others, |missed| missed.fires),
            other_caught_up => total(others, |missed| missed.caught_up),
            by_hand => jobs.iter().find(|missed| missed.waiting > 0).map(|missed| self.fire(missed)),
        };
        self.render("missed", &facts)
    }

    /// What the auditor found.
    pub(super) fn unaccounted(&self, at: Timestamp, jobs: &[MissedFires]) -> Result<String, TextError> {
        let (lines, others) = self.lines("unaccounted_job", jobs)?;
        let facts = context! {
            at => self.time(at), host => self.host(), lines, fires => total(jobs, |missed| missed.fires),
            others => others.len(), other_fires => total(others, |missed| missed.fires),
        };
        self.render("unaccounted", &facts)
    }

    /// A line for each job that there is room for, and the others.
    fn lines<'j>(
        &self,
        template: &str,
        jobs: &'j [MissedFires],
    ) -> Result<(Vec<String>, &'j [MissedFires]), TextError> {
        let (mut lines, mut room) = (Vec::new(), JOBS_CHARS_MAX);
        for missed in jobs.iter().take(JOBS_MAX) {
            let facts = context! {
                job => missed.job.as_str(), fires => missed.fires, caught_up => missed.caught_up,
                folded => missed.folded, skipped => missed.skipped, waiting => missed.waiting,
                first => self.time(missed.first),
                last => (missed.last != missed.first).then(|| self.time(missed.last)),
            };
            let line = self.render(template, &facts)?;
            let Some(rest) = room.checked_sub(line.chars().count()) else { break };
            room = rest;
            lines.push(line);
        }
        let others = &jobs[lines.len()..];
        Ok((lines, others))
    }

    /// The newest fire, as `jobctl catchup` takes it.
    fn fire(&self, missed: &MissedFires) -> String {
        let at = missed.last.display_with_offset(self.zone().to_offset(missed.last));
        format!("{}@{at}", missed.job)
    }
}

fn total(jobs: &[MissedFires], count: impl Fn(&MissedFires) -> u64) -> u64 {
    jobs.iter().map(count).fold(0, u64::saturating_add)
}
