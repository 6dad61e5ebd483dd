//! The words of a message, from its facts: a template for each kind and language, under `templates/`.
//!
//! **Invariant:** a message is at most [`MESSAGE_CHARS_MAX`] characters, by construction: every part has a bound, and
//! what a bound leaves out is told. Everything that a job or an operating system wrote goes through [`quote`].

use std::time::Duration;

use jiff::tz::TimeZone;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};

use super::{ends, quote};
use crate::engine::job::JobName;
use crate::engine::notice::{BadRun, Notice};
use crate::engine::run::{LeftProcess, RunId, Status};
use crate::engine::time::Timestamp;

/// The longest message, in characters: Slack asks for at most 4,000.
pub const MESSAGE_CHARS_MAX: usize = 3_500;

/// How many lines of stderr are shown, and how many characters.
const TAIL_LINES_MAX: usize = 10;
const TAIL_CHARS_MAX: usize = 1_000;

/// The longest single line from outside, in characters.
pub(super) const LINE_CHARS_MAX: usize = 300;

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

/// The templates of a language, each by its name: all languages have the same ones.
macro_rules! templates {
    ($language:literal) => {
        templates!(
            $language,
            "timeout",
            "failed",
            "lost",
            "recovered",
            "missed",
            "missed_job",
            "unkillable",
            "concern",
            "no_success",
            "unaccounted",
            "unaccounted_job",
            "end",
            "failure",
        )
    };
    ($language:literal, $($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("templates/", $language, "/", $name, ".txt")))),+]
    };
}

impl Language {
    const fn units(self) -> Units {
        match self {
            Self::Ko => ["초", "분", "시간", "일"],
            Self::En => [" s", " min", " h", " d"],
        }
    }

    const fn templates(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Ko => &templates!("ko"),
            Self::En => &templates!("en"),
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
        for &(name, source) in language.templates() {
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
            Notice::Concern(run) => self.concern(run),
            Notice::NoSuccess { job, since, limit, removed } => self.no_success(job, *since, *limit, *removed),
            Notice::Unaccounted { at, jobs } => self.unaccounted(*at, jobs),
            Notice::Missed { reason, since, until, jobs } => self.missed(reason, *since, *until, jobs),
        }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) const fn zone(&self) -> &TimeZone {
        &self.zone
    }

    fn bad(&self, run: &BadRun) -> Result<String, TextError> {
        let template = match run.status {
            Status::Timeout => "timeout",
            Status::Lost => "lost",
            _ => "failed",
        };
        let tail = quote::tail(&run.error_tail, TAIL_LINES_MAX, TAIL_CHARS_MAX);
        let late = run.scheduled_at.filter(|due| between(*due, run.started_at) >= Duration::from_secs(1));
        let own = run.end.as_ref().filter(|_| self.language == Language::Ko).and_then(ends::korean);
        let facts = context! {
            job => run.job.as_str(), run => run.run.0, host => self.host.as_str(),
            started => self.time(run.started_at), ended => self.time(run.ended_at),
            due => late.map(|due| self.time(due)),
            elapsed => self.elapsed(run.duration), limit => run.timeout.map(|limit| self.exact(limit)),
            error => quote::line(own.as_deref().unwrap_or(&run.error), LINE_CHARS_MAX),
            remark => run.remark.as_deref().map(|remark| quote::line(remark, LINE_CHARS_MAX)),
            waited_for => run.waited_for.as_deref().map(|line| quote::line(line, LINE_CHARS_MAX)),
            tail => tail.text, tail_cut => tail.cut,
        };
        let beginning = self.render(template, &facts)?;
        Ok(format!("{beginning}\n{}", self.render("end", &facts)?))
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

    /// A template filled in, without a line end at its end.
    pub(super) fn render(&self, template: &str, facts: &minijinja::Value) -> Result<String, TextError> {
        let found = self.templates.get_template(template);
        let mut text = found.and_then(|found| found.render(facts)).map_err(TextError)?;
        text.truncate(text.trim_end().len());
        Ok(text)
    }

    pub(super) fn time(&self, instant: Timestamp) -> String {
        instant.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// A measured length of time, in the unit that reads best: `12.3초`, `31.2분`, `6.5시간`.
    pub(super) fn elapsed(&self, length: Duration) -> String {
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
    pub(super) fn exact(&self, length: Duration) -> String {
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
pub(super) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
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
