//! `jobctl why`: what became of an instant of a job, or will, and why.

use std::iter;

use clap::Args;
use jiff::tz::TimeZone;

use super::Session;
use super::error::{CliError, exit};
use super::instant::{self, InstantError};
use super::show::pause_line;
use super::source::Source;
use super::table::{self, Table, cell};
use super::terminal::Terminal;
use super::text;
use crate::api::types::JobView;
use crate::api::why::{Asked, Verdict, Why, Whys};
use crate::engine::job::JobName;
use crate::engine::record::{Gap, PauseRecord, RunRecord};
use crate::engine::run::{Status, Trigger};
use crate::engine::time::Timestamp;

/// A run that began within this of its fire was on time, milliseconds.
const ON_TIME_MS: i128 = 1_000;
/// How many of the runs in the way are named.
const ACTIVE_MAX: usize = 3;

#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// The job
    job: String,
    /// An instant, in the job's zone, or a date for every fire of that day [default: the last fire]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

/// What an answer is told with: the clock of the job, and whether jobd is there.
struct Teller<'a> {
    job: &'a JobView,
    zone: TimeZone,
    now: Timestamp,
    is_offline: bool,
}

pub(crate) async fn why(session: &mut Session<'_>, args: WhyArgs) -> Result<u8, CliError> {
    let source = Source::open(session).await?;
    let job = source.job(&args.job).await?;
    let zone = TimeZone::get(&job.timezone).unwrap_or(TimeZone::UTC);
    let asked = asked(session, args.at.as_deref(), &zone)?;
    let mut whys = source.why(&args.job, asked).await?;
    if let (Asked::Span(from, _), true, false) = (asked, whys.answers.is_empty(), session.json) {
        // Of a day without a fire its beginning says why, and which fires are next to it.
        whys = source.why(&args.job, Asked::At(from)).await?;
    }
    if session.json {
        session.terminal.print_json(&whys)?;
        return Ok(exit::DONE);
    }
    let teller = Teller { job: &job, zone, now: session.terminal.now, is_offline: source.is_offline() };
    let text = match &whys.answers[..] {
        [one] => teller.block(one),
        many => teller.lines(&session.terminal, many),
    };
    session.terminal.print(&text)?;
    say_left_out(&mut session.terminal, &whys);
    Ok(exit::DONE)
}

/// What is asked about. A time that the clock leaves out or shows twice is no instant: its whole day is told.
fn asked(session: &mut Session<'_>, at: Option<&str>, zone: &TimeZone) -> Result<Asked, CliError> {
    let Some(text) = at else { return Ok(Asked::Last) };
    if let Some((from, until)) = instant::day(text, zone) {
        return Ok(Asked::Span(from, until));
    }
    let source = match instant::absolute(text, zone) {
        Ok(at) => return Ok(Asked::At(at)),
        Err(source) => source,
    };
    let day = text.get(..10).and_then(|date| instant::day(date, zone));
    match (&source, day) {
        (InstantError::Ambiguous(..), Some((from, until))) => {
            session.terminal.say(&format!("{source}; the fires of that day:"));
            Ok(Asked::Span(from, until))
        }
        _ => Err(CliError::Instant { option: "--at", source }),
    }
}

fn say_left_out(terminal: &mut Terminal, whys: &Whys) {
    if whys.left_out > 0 {
        terminal.say(&format!("{} later fires of that day are left out: name an instant", whys.left_out));
    }
}

impl Teller<'_> {
    /// A line for each instant of a day.
    fn lines(&self, terminal: &Terminal, answers: &[Why]) -> String {
        let mut table = Table::new(terminal, &["FIRE", "VERDICT"]);
        for why in answers {
            let words: Vec<String> = iter::once(self.verdict(why)).chain(why.remarks.clone()).collect();
            table.row(vec![cell(&self.zoned(why.at)), cell(&words.join("; "))]);
        }
        table.render()
    }

    /// The verdict, and whatever is known below it.
    fn block(&self, why: &Why) -> String {
        let title = format!("{}, {}: {}", self.job.name, self.zoned(why.at), text::inert(&self.verdict(why)));
        let utc = text::local(why.at, &TimeZone::UTC);
        let mut facts = vec![("instant", format!("{} {}, {utc} UTC", self.local(why.at), self.job.timezone))];
        facts.push(("schedule", self.schedule(why)));
        facts.push(("fires around", self.around(why)));
        facts.extend(why.remarks.iter().map(|remark| ("remark", text::inert(remark).into_owned())));
        if !why.after.is_empty() {
            let jobs: Vec<&str> = why.after.iter().map(JobName::as_str).collect();
            facts.push(("comes after", jobs.join(", ")));
        }
        facts.extend(why.rows.iter().map(|row| ("recorded", self.row(row))));
        if why.rows.is_empty() {
            facts.push((
                "recorded",
                why.covered_by.as_ref().map_or("nothing".to_owned(), |row| self.row(row)),
            ));
        }
        facts.extend(why.active.iter().take(ACTIVE_MAX).map(|run| ("also active", self.row(run))));
        facts.push(("accounted for", self.account(why)));
        facts.extend(why.gaps.iter().map(|gap| ("jobd away", self.gap(gap, why.at))));
        facts.extend(why.pauses.iter().map(|pause| ("paused", self.pause(pause))));
        table::facts(&title, &facts)
    }

    /// What became of it, or will, in a sentence.
    fn verdict(&self, why: &Why) -> String {
        let row = why.rows.last().or(why.covered_by.as_ref());
        match (why.verdict, row) {
            (Verdict::Ran, Some(row)) => ran(row, why),
            (Verdict::Active, Some(row)) => self.active(row),
            (Verdict::Missed | Verdict::Skipped, Some(row)) => self.without_a_run(row, why),
            (Verdict::NoFire, _) => match &why.objections[..] {
                [] => "no fire".to_owned(),
                objections => format!("no fire: {}", objections.join("; ")),
            },
            (Verdict::NotOwed, _) => "not accounted for: jobd did not know this schedule then".to_owned(),
            (Verdict::Undecided, _) if self.is_offline => {
                "not decided yet: jobd is down, and decides when it is back".to_owned()
            }
            (Verdict::Undecided, _) => match why.starts.filter(|starts| *starts > self.now) {
                Some(starts) => format!("its start is spread to {}", self.local(starts)),
                None => "due, and not decided yet".to_owned(),
            },
            (Verdict::Unaccounted, _) => "UNACCOUNTED: it was due, and nothing is recorded of it".to_owned(),
            (Verdict::WillSkip, _) => {
                format!("will be SKIPPED: {}", why.reason.as_deref().unwrap_or("as things are"))
            }
            (Verdict::WillRun, _) => self.will_run(why),
            (Verdict::Ran | Verdict::Active | Verdict::Missed | Verdict::Skipped, None) => {
                "recorded".to_owned()
            }
        }
    }

    fn active(&self, row: &RunRecord) -> String {
        if row.status == Status::Queued {
            return format!("QUEUED: run {} waits; 'jobctl ps' says for what", row.run_id);
        }
        format!("RUNNING: run {}, for {}", row.run_id, text::between(row.started_at, self.now))
    }

    /// The reason; of a run in the way also from when to when it was.
    fn without_a_run(&self, row: &RunRecord, why: &Why) -> String {
        let reason = row.reason.as_deref().unwrap_or("no reason is recorded");
        let named = |run: &&RunRecord| {
            let mut words = reason.split(|c: char| !c.is_alphanumeric());
            words.any(|word| word.parse() == Ok(run.run_id.0))
        };
        let span = why.active.iter().find(named).map(|run| format!(" ({})", self.span(run)));
        format!("{}: {reason}{}", row.status, span.unwrap_or_default())
    }

    fn will_run(&self, why: &Why) -> String {
        let starts = why.starts.unwrap_or(why.at);
        let wait = text::between(self.now, starts);
        match why.after.first() {
            Some(first) => format!("will run in {wait}, once {first} has ended as it has to"),
            None => format!("will run in {wait}"),
        }
    }

    fn schedule(&self, why: &Why) -> String {
        let written = self.job.schedules.join(" | ");
        match (why.is_fire, &why.objections[..]) {
            (true, _) => format!("{written}: names it"),
            (false, []) => format!("{written}: does not name it"),
            (false, objections) => format!("{written}: {}", text::inert(&objections.join("; "))),
        }
    }

    fn around(&self, why: &Why) -> String {
        let local = |at: Option<Timestamp>| at.map_or_else(|| "none".to_owned(), |at| self.local(at));
        format!("{} before, {} after", local(why.previous_fire), local(why.next_fire))
    }

    /// A row in a line.
    fn row(&self, row: &RunRecord) -> String {
        let reason = row.reason.as_ref().map(|why| format!(": {}", text::inert(why))).unwrap_or_default();
        let id = row.run_id;
        match (row.status, row.scheduled_until) {
            (Status::Missed | Status::Skipped, Some(until)) => {
                let first = self.local(row.scheduled_at.unwrap_or(row.started_at));
                let until = self.local(until);
                format!("row {id} {} for {} fires, {first} to {until}{reason}", row.status, row.fires)
            }
            (Status::Missed | Status::Skipped, None) => format!("row {id} {}{reason}", row.status),
            _ => format!("run {id} {} {}, {}{reason}", row.status, self.span(row), row.triggered_by),
        }
    }

    /// From when to when it was active, on the clock; with the date where that is another one.
    fn span(&self, run: &RunRecord) -> String {
        if run.status == Status::Queued {
            return "waiting".to_owned();
        }
        let started = self.local(run.started_at);
        let Some(ended) = run.completed_at.map(|at| self.local(at)) else {
            return format!("since {started}");
        };
        let same_day = started.get(..10) == ended.get(..10);
        format!("{started} to {}", if same_day { ended.get(11..).unwrap_or_default() } else { &ended })
    }

    /// From when on, and up to when, the job's fires have rows.
    fn account(&self, why: &Why) -> String {
        let (Some(since), Some(until)) = (why.known_since, why.accounted_until) else {
            return "jobd has not taken up this job yet".to_owned();
        };
        let changed = why.schedule_since.filter(|changed| *changed > since);
        let changed = changed.map(|at| format!(", with this schedule since {}", self.local(at)));
        format!("from {} to {}{}", self.local(since), self.local(until), changed.unwrap_or_default())
    }

    fn gap(&self, gap: &Gap, at: Timestamp) -> String {
        let here = if gap.from <= at && at <= gap.until { ", and it lies in this" } else { "" };
        format!("{} to {}: {}{here}", self.local(gap.from), self.local(gap.until), gap.reason)
    }

    fn pause(&self, record: &PauseRecord) -> String {
        let ended = record.ended_at.map(|at| {
            let by = record.ended_by.as_ref().map(|by| format!(" by {}", text::inert(by)));
            format!("; ended at {}{}", self.local(at), by.unwrap_or_default())
        });
        format!("{}{}", pause_line(&record.pause, &self.zone), ended.unwrap_or_default())
    }

    fn local(&self, at: Timestamp) -> String {
        text::local(at, &self.zone)
    }

    /// `2026-11-01 10:00 KST`; with seconds where there are any.
    fn zoned(&self, at: Timestamp) -> String {
        let zoned = at.to_zoned(self.zone.clone());
        let format = if zoned.second() == 0 { "%F %H:%M %Z" } else { "%F %T %Z" };
        zoned.strftime(format).to_string()
    }
}

/// How long after it was due a run began, and at whose word.
fn lateness(row: &RunRecord, due: Timestamp) -> String {
    let late = row.started_at.duration_since(due).as_millis();
    let by = text::between(due, row.started_at);
    match row.triggered_by {
        Trigger::CatchUp => format!("made up for {by} later"),
        Trigger::Manual => format!("by hand, {by} later"),
        _ if late < ON_TIME_MS => "on time".to_owned(),
        _ => format!("{by} late"),
    }
}

fn ran(row: &RunRecord, why: &Why) -> String {
    let took = row.duration_ms.map(|ms| format!(" after {}", text::took(ms))).unwrap_or_default();
    let tries = if row.attempt > 1 { format!(", at try {}", row.attempt) } else { String::new() };
    let late = lateness(row, why.starts.unwrap_or(why.at));
    let reason = row.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{}{took}: run {}{tries}, {late}{reason}", row.status, row.run_id)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{job, record};
    use super::*;
    use crate::engine::pause::Pause;
    use crate::engine::reason::Reason;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn teller(job: &JobView) -> Teller<'_> {
        let zone = TimeZone::get("Asia/Seoul").unwrap();
        Teller { job, zone, now: at("2026-11-02T01:00:00Z"), is_offline: false }
    }

    /// Nothing is known of 10:00 on the first of November, a fire.
    fn fire(verdict: Verdict) -> Why {
        Why {
            at: at("2026-11-01T01:00:00Z"),
            verdict,
            reason: None,
            is_fire: true,
            starts: Some(at("2026-11-01T01:00:00Z")),
            objections: Vec::new(),
            remarks: Vec::new(),
            previous_fire: Some(at("2026-10-01T01:00:00Z")),
            next_fire: Some(at("2026-12-01T01:00:00Z")),
            after: Vec::new(),
            rows: Vec::new(),
            covered_by: None,
            active: Vec::new(),
            known_since: Some(at("2026-09-01T00:00:00Z")),
            schedule_since: Some(at("2026-09-01T00:00:00Z")),
            accounted_until: Some(at("2026-11-01T01:00:00Z")),
            gaps: Vec::new(),
            pauses: Vec::new(),
        }
    }

    #[test]
    fn the_verdict_comes_first_and_what_is_known_below_it() {
        let job = job("invoice_generation");
        let mut why = fire(Verdict::Skipped);
        let mut skipped = record(57, "invoice_generation", Status::Skipped);
        skipped.reason = Some("run 41 was still active".to_owned());
        let mut blocking = record(41, "invoice_generation", Status::Success);
        blocking.completed_at = Some(at("2026-11-01T04:12:07Z"));
        (why.rows, why.active) = (vec![skipped], vec![blocking]);
        why.gaps = vec![Gap {
            from: at("2026-11-01T05:00:00Z"),
            until: at("2026-11-01T06:00:00Z"),
            reason: Reason::Down,
        }];
        let expected = "\
invoice_generation, 2026-11-01 10:00 KST: SKIPPED: run 41 was still active (2026-11-01 10:00:00 to 13:12:07)
  instant        2026-11-01 10:00:00 Asia/Seoul, 2026-11-01 01:00:00 UTC
  schedule       0 10 1 * *: names it
  fires around   2026-10-01 10:00:00 before, 2026-12-01 10:00:00 after
  recorded       row 57 SKIPPED: run 41 was still active
  also active    run 41 SUCCESS 2026-11-01 10:00:00 to 13:12:07, schedule
  accounted for  from 2026-09-01 09:00:00 to 2026-11-01 10:00:00
  jobd away      2026-11-01 14:00:00 to 2026-11-01 15:00:00: jobd was not running
";
        assert_eq!(teller(&job).block(&why), expected);
    }

    #[test]
    fn each_verdict_has_its_sentence() {
        let job = job("backup");
        let teller = teller(&job);
        let with = |verdict, row: Option<RunRecord>| {
            let mut why = fire(verdict);
            why.rows = row.into_iter().collect();
            teller.verdict(&why)
        };
        let mut late = record(7, "backup", Status::Success);
        late.started_at = at("2026-11-01T01:00:42Z");
        assert_eq!(with(Verdict::Ran, Some(late)), "SUCCESS after 31m 12s: run 7, 42.0s late");
        let mut retried = record(8, "backup", Status::Failed);
        (retried.attempt, retried.triggered_by) = (3, Trigger::CatchUp);
        retried.started_at = at("2026-11-01T04:00:00Z");
        let told = "FAILED after 31m 12s: run 8, at try 3, made up for 3h 0m later";
        assert_eq!(with(Verdict::Ran, Some(retried)), told);
        let mut missed = record(9, "backup", Status::Missed);
        missed.reason = Some("jobd was not running".to_owned());
        assert_eq!(with(Verdict::Missed, Some(missed)), "MISSED: jobd was not running");
        assert_eq!(
            with(Verdict::Active, Some(record(9, "backup", Status::Running))),
            "RUNNING: run 9, for 1d 0h"
        );
        assert_eq!(
            with(Verdict::Unaccounted, None),
            "UNACCOUNTED: it was due, and nothing is recorded of it"
        );
        let mut none = fire(Verdict::NoFire);
        none.objections = vec!["minute 30 is not in 0".to_owned()];
        assert_eq!(teller.verdict(&none), "no fire: minute 30 is not in 0");
        let mut future = fire(Verdict::WillRun);
        future.starts = Some(at("2026-11-05T01:00:00Z"));
        assert_eq!(teller.verdict(&future), "will run in 3d 0h");
        (future.verdict, future.reason) = (Verdict::WillSkip, Some("paused by uid 0 (root)".to_owned()));
        assert_eq!(teller.verdict(&future), "will be SKIPPED: paused by uid 0 (root)");
    }

    #[test]
    fn a_pause_says_who_and_how_it_ended() {
        let job = job("backup");
        let pause = PauseRecord {
            pause: Pause {
                job: None,
                by: "uid 0 (root)".to_owned(),
                since: at("2026-11-01T00:00:00Z"),
                until: None,
                why: Some("moving house\u{1b}".to_owned()),
            },
            ended_at: Some(at("2026-11-01T02:00:00Z")),
            ended_by: Some("uid 1000 (mina)".to_owned()),
        };
        assert_eq!(
            teller(&job).pause(&pause),
            "since 2026-11-01 09:00:00 by uid 0 (root), without an end, with all jobs: moving house\\u{1b}; \
             ended at 2026-11-01 11:00:00 by uid 1000 (mina)"
        );
    }
}
