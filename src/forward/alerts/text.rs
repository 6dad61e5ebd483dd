//! The words of a message, from its facts: a template for each kind and language, under `templates/`.
//!
//! **Invariant:** a message is at most [`MESSAGE_CHARS_MAX`] characters, by construction: every part has a bound, and
//! what a bound leaves out is told. Everything that a job or an operating system wrote goes through [`quote`].

use std::time::Duration;

use jiff::tz::TimeZone;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};

use super::quote;
use crate::engine::job::JobName;
use crate::engine::ledger::{BadRun, MissedFires, Notice, Reason};
use crate::engine::run::{LeftProcess, RunId, Status};
use crate::engine::time::Timestamp;

/// The longest message, in characters: Slack asks for at most 4,000.
pub const MESSAGE_CHARS_MAX: usize = 3_500;

/// How many jobs a message about missed fires names; the others are counted.
const JOBS_MAX: usize = 15;

/// How many lines of stderr are shown, and how many characters.
const TAIL_LINES_MAX: usize = 10;
const TAIL_CHARS_MAX: usize = 1_000;

/// The longest single line from outside, in characters.
const LINE_CHARS_MAX: usize = 300;

/// How many processes of a run that does not end a message names; the others are counted.
const PROCESSES_MAX: usize = 10;

/// The longest name of a process or of a place in the kernel, in characters.
const NAME_CHARS_MAX: usize = 64;

/// The longest host name shown, in characters; the kernel allows 64.
const HOST_CHARS_MAX: usize = 100;

/// The language of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Korean.
    Ko,
    /// English.
    En,
}

/// The words for lengths of time: seconds, minutes, hours, days.
type Units = [&'static str; 4];

impl Language {
    const fn units(self) -> Units {
        match self {
            Self::Ko => ["초", "분", "시간", "일"],
            Self::En => [" s", " min", " h", " d"],
        }
    }

    const fn templates(self) -> [(&'static str, &'static str); 8] {
        match self {
            Self::Ko => [
                ("timeout", include_str!("templates/ko/timeout.txt")),
                ("failed", include_str!("templates/ko/failed.txt")),
                ("lost", include_str!("templates/ko/lost.txt")),
                ("recovered", include_str!("templates/ko/recovered.txt")),
                ("missed", include_str!("templates/ko/missed.txt")),
                ("unkillable", include_str!("templates/ko/unkillable.txt")),
                ("end", include_str!("templates/ko/end.txt")),
                ("failure", include_str!("templates/ko/failure.txt")),
            ],
            Self::En => [
                ("timeout", include_str!("templates/en/timeout.txt")),
                ("failed", include_str!("templates/en/failed.txt")),
                ("lost", include_str!("templates/en/lost.txt")),
                ("recovered", include_str!("templates/en/recovered.txt")),
                ("missed", include_str!("templates/en/missed.txt")),
                ("unkillable", include_str!("templates/en/unkillable.txt")),
                ("end", include_str!("templates/en/end.txt")),
                ("failure", include_str!("templates/en/failure.txt")),
            ],
        }
    }
}

/// A message could not be put into words: a template and the facts given to it do not fit.
#[derive(Debug, thiserror::Error)]
#[error("the words of the message could not be made")]
pub struct TextError(#[source] minijinja::Error);

/// Puts facts into words, in one language, zone and host.
#[derive(Debug)]
pub struct Wording {
    language: Language,
    zone: TimeZone,
    host: String,
    templates: Environment<'static>,
}

impl Wording {
    /// Words in the language, times in the zone, signed with the host's name.
    ///
    /// # Errors
    /// When a template is malformed, which a test rules out.
    pub fn new(language: Language, zone: TimeZone, host: &str) -> Result<Self, TextError> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.set_auto_escape_callback(|_| AutoEscape::None);
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        templates.set_syntax(syntax.map_err(TextError)?);
        for (name, source) in language.templates() {
            templates.add_template(name, source).map_err(TextError)?;
        }
        Ok(Self { language, zone, host: quote::line(host, HOST_CHARS_MAX), templates })
    }

    /// The whole message.
    ///
    /// # Errors
    /// When a template asks for a fact that there is not, which a test rules out.
    pub fn message(&self, notice: &Notice) -> Result<String, TextError> {
        match notice {
            Notice::Bad(run) => self.bad(run),
            Notice::Recovered { job, run, since, at, bad_runs } => self.render(
                "recovered",
                &context! {
                    job => job.as_str(), run => run.0, host => self.host.as_str(), bad_runs,
                    since => self.time(*since), at => self.time(*at), broken => self.elapsed(between(*since, *at)),
                },
            ),
            Notice::Unkillable { job, run, since, left } => self.unkillable(job, *run, *since, left),
            Notice::Missed { reason, since, until, jobs } => self.missed(reason, *since, *until, jobs),
        }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    fn bad(&self, run: &BadRun) -> Result<String, TextError> {
        let template = match run.status {
            Status::Timeout => "timeout",
            Status::Lost => "lost",
            _ => "failed",
        };
        let tail = quote::tail(&run.error_tail, TAIL_LINES_MAX, TAIL_CHARS_MAX);
        let late = run.scheduled_at.filter(|due| between(*due, run.started_at) >= Duration::from_secs(1));
        let facts = context! {
            job => run.job.as_str(), run => run.run.0, host => self.host.as_str(),
            started => self.time(run.started_at), ended => self.time(run.ended_at),
            due => late.map(|due| self.time(due)),
            elapsed => self.elapsed(run.duration), limit => run.timeout.map(|limit| self.exact(limit)),
            error => quote::line(&run.error, LINE_CHARS_MAX),
            remark => run.remark.as_deref().map(|remark| quote::line(remark, LINE_CHARS_MAX)),
            waited_for => run.waited_for.as_deref().map(|line| quote::line(line, LINE_CHARS_MAX)),
            tail => tail.text, tail_cut => tail.cut,
        };
        let beginning = self.render(template, &facts)?;
        Ok(format!("{}\n{}", beginning.trim_end(), self.render("end", &facts)?))
    }

    fn unkillable(
        &self,
        job: &JobName,
        run: RunId,
        since: Timestamp,
        left: &[LeftProcess],
    ) -> Result<String, TextError> {
        let (named, others) = left.split_at(left.len().min(PROCESSES_MAX));
        let named: Vec<_> = named
            .iter()
            .map(|process| {
                context! {
                    pid => process.pid, name => quote::line(&process.name, NAME_CHARS_MAX),
                    state => process.state.to_string(),
                    place => process.sleeps_in.as_deref().map(|place| quote::line(place, NAME_CHARS_MAX)),
                }
            })
            .collect();
        let facts = context! {
            job => job.as_str(), run => run.0, host => self.host.as_str(), since => self.time(since),
            left => named, others => others.len(),
        };
        self.render("unkillable", &facts)
    }

    fn missed(
        &self,
        reason: &Reason,
        since: Option<Timestamp>,
        until: Timestamp,
        jobs: &[MissedFires],
    ) -> Result<String, TextError> {
        let (why, in_the_way) = match reason {
            Reason::Down => ("down", None),
            Reason::ClockMoved => ("clock_moved", None),
            Reason::Starved => ("starved", None),
            Reason::NeverStarted => ("never_started", None),
            Reason::Overlap { run } => ("overlap", Some(run.0)),
        };
        let (named, others) = jobs.split_at(jobs.len().min(JOBS_MAX));
        let named: Vec<_> = named
            .iter()
            .map(|missed| {
                context! {
                    job => missed.job.as_str(), fires => missed.fires, caught_up => missed.caught_up,
                    first => self.time(missed.first),
                    last => (missed.last != missed.first).then(|| self.time(missed.last)),
                }
            })
            .collect();
        let facts = context! {
            why, in_the_way, host => self.host.as_str(), jobs => named, fires => total(jobs, |missed| missed.fires),
            since => since.map(|since| self.time(since)), until => self.time(until),
            gap => since.map(|since| self.elapsed(between(since, until))),
            others => others.len(), other_fires => total(others, |missed| missed.fires),
            other_caught_up => total(others, |missed| missed.caught_up),
        };
        self.render("missed", &facts)
    }

    pub(super) fn render(&self, template: &str, facts: &minijinja::Value) -> Result<String, TextError> {
        self.templates.get_template(template).and_then(|found| found.render(facts)).map_err(TextError)
    }

    pub(super) fn time(&self, instant: Timestamp) -> String {
        instant.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// A measured length of time, in the unit that reads best: `12.3초`, `31.2분`, `6.5시간`.
    fn elapsed(&self, length: Duration) -> String {
        let [second, minute, hour, day] = self.language.units();
        let seconds = length.as_secs_f64();
        let (amount, unit) = match length.as_secs() {
            0..60 => (seconds, second),
            60..18_000 => (seconds / 60.0, minute),
            18_000..172_800 => (seconds / 3_600.0, hour),
            _ => (seconds / 86_400.0, day),
        };
        format!("{amount:.1}{unit}")
    }

    /// A configured length of time, exactly: `30분`, `1시간 30분`, `0.5초`.
    fn exact(&self, length: Duration) -> String {
        let [second, minute, hour, day] = self.language.units();
        let whole = length.as_secs();
        let mut parts: Vec<String> =
            [(whole / 86_400, day), (whole / 3_600 % 24, hour), (whole / 60 % 60, minute)]
                .into_iter()
                .filter(|&(amount, _)| amount > 0)
                .map(|(amount, unit)| format!("{amount}{unit}"))
                .collect();
        let rest = Duration::new(whole % 60, length.subsec_nanos());
        if !rest.is_zero() || parts.is_empty() {
            parts.push(format!("{}{second}", rest.as_secs_f64()));
        }
        parts.join(" ")
    }
}

/// The time from one instant to a later one; zero where the clock was set back between them.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

fn total(jobs: &[MissedFires], count: impl Fn(&MissedFires) -> u64) -> u64 {
    jobs.iter().map(count).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wording(language: Language) -> Wording {
        Wording::new(language, TimeZone::UTC, "erp-1").unwrap()
    }

    #[test]
    fn lengths_of_time_read_well() {
        let (ko, en) = (wording(Language::Ko), wording(Language::En));
        let cases = [
            (0, "0.0초", "0초"),
            (59_900, "59.9초", "59.9초"),
            (60_000, "1.0분", "1분"),
            (1_872_000, "31.2분", "31분 12초"),
            (5_400_000, "90.0분", "1시간 30분"),
            (23_400_000, "6.5시간", "6시간 30분"),
            (259_200_500, "3.0일", "3일 0.5초"),
        ];
        for (ms, elapsed, exact) in cases {
            let length = Duration::from_millis(ms);
            assert_eq!(ko.elapsed(length), elapsed);
            assert_eq!(ko.exact(length), exact);
        }
        assert_eq!(en.elapsed(Duration::from_secs(1872)), "31.2 min");
        assert_eq!(en.exact(Duration::from_mins(90)), "1 h 30 min");
    }

    #[test]
    fn no_time_passes_when_the_clock_goes_back() {
        assert_eq!(between(Timestamp::UNIX_EPOCH, Timestamp::MIN), Duration::ZERO);
    }
}
