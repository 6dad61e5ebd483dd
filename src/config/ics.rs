//! Holidays from an iCalendar file (RFC 5545): the days of its events.
//!
//! The lines are found here, so that each mistake has its place and no nesting is deeper than one can follow; what a
//! line says is read by the `icalendar` crate.

use std::ops::Range;

use icalendar::parser::Property;
use jiff::civil::Date;
use jiff::{Span, ToSpan};

use super::diagnostic::quoted;

/// The longest event, in days.
const EVENT_DAYS_MAX: usize = 366;
/// How many years an event may come back.
const YEARS_MAX: i16 = 200;

const WHOLE_DAYS: &str =
    "a holiday is whole days: DTSTART;VALUE=DATE:20260101, and DTEND the day after the last";
const YEARLY: &str = "write RRULE:FREQ=YEARLY;COUNT=5 or ;UNTIL=20301231, or an event for each day";

/// A day with its name.
pub(super) type Holiday = (Date, Option<String>);

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IcsError {
    /// The line, in bytes.
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: &'static str,
}

/// A content line: lines that begin with a blank continue the one before.
struct Line {
    span: Range<usize>,
    text: String,
}

/// What of an event counts.
#[derive(Default)]
struct Event {
    span: Range<usize>,
    start: Option<Date>,
    /// The day after its last.
    end: Option<Date>,
    name: Option<String>,
    years: Option<Years>,
    /// Whether it counts for nothing: it is cancelled, or a mistake of it has been reported.
    dropped: bool,
    /// How many parts of it are open: what stands in them is not its own.
    depth: usize,
}

/// How often an event comes back.
enum Years {
    Count(i16),
    Until(Date),
}

impl IcsError {
    fn new(span: &Range<usize>, message: impl Into<String>, help: &'static str) -> Self {
        Self { span: span.clone(), message: message.into(), help }
    }
}

/// The holidays of a file, or every mistake in it.
pub(super) fn holidays(text: &str) -> Result<Vec<Holiday>, Vec<IcsError>> {
    let lines = lines(text);
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    if !lines.first().is_some_and(|line| line.text.eq_ignore_ascii_case("BEGIN:VCALENDAR")) {
        let help = "its first line is BEGIN:VCALENDAR";
        return Err(vec![IcsError::new(&(0..0), "this is no iCalendar file", help)]);
    }
    let mut event: Option<Event> = None;
    for line in &lines {
        let result = match (&mut event, name_of(line)) {
            (None, "BEGIN") if is_event(line) => {
                event = Some(Event { span: line.span.clone(), ..Event::default() });
                Ok(())
            }
            (Some(open), "END") if open.depth == 0 && is_event(line) => {
                let done = event.take().unwrap_or_default();
                done.days().map(|days| found.extend(days))
            }
            (Some(open), _) => {
                let read = open.read(line);
                open.dropped |= read.is_err();
                read
            }
            (None, _) => Ok(()),
        };
        errors.extend(result.err());
    }
    if let Some(open) = event {
        errors.push(IcsError::new(&open.span, "this event has no end", "it ends with END:VEVENT"));
    }
    if found.is_empty() && errors.is_empty() {
        errors.push(IcsError::new(&(0..0), "this file has no event", "each holiday is a VEVENT"));
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

fn lines(text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut at = 0;
    for part in text.split_inclusive('\n') {
        let (span, bare) = (at..at + part.trim_end().len(), part.trim_end_matches(['\r', '\n']));
        at += part.len();
        match (bare.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(more), Some(last)) => last.text.push_str(more),
            _ if bare.trim().is_empty() => {}
            _ => lines.push(Line { span, text: bare.to_owned() }),
        }
    }
    lines
}

/// The name of a line's property.
fn name_of(line: &Line) -> &'static str {
    const NAMES: [&str; 11] = [
        "BEGIN",
        "END",
        "DTSTART",
        "DTEND",
        "DURATION",
        "SUMMARY",
        "RRULE",
        "RDATE",
        "EXDATE",
        "RECURRENCE-ID",
        "STATUS",
    ];
    let name = line.text.split([':', ';']).next().unwrap_or_default();
    NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name)).unwrap_or_default()
}

fn is_event(line: &Line) -> bool {
    line.text.split_once(':').is_some_and(|(_, what)| what.trim().eq_ignore_ascii_case("VEVENT"))
}

impl Event {
    /// Takes in a line that stands in the event.
    fn read(&mut self, line: &Line) -> Result<(), IcsError> {
        let error = |message: String, help| Err(IcsError::new(&line.span, message, help));
        match name_of(line) {
            "BEGIN" if is_event(line) => {
                return error("an event begins in another".to_owned(), "END:VEVENT comes first");
            }
            "BEGIN" => self.depth += 1,
            "END" if self.depth == 0 => {
                return error("an event is open here".to_owned(), "END:VEVENT comes first");
            }
            "END" => self.depth -= 1,
            _ if self.depth > 0 => {}
            "DTSTART" => self.start = Some(day(line)?),
            "DTEND" => self.end = Some(day(line)?),
            "SUMMARY" => self.name = Some(value(line)?),
            "STATUS" => self.dropped |= value(line)?.eq_ignore_ascii_case("CANCELLED"),
            "RRULE" => self.years = Some(years(line)?),
            "DURATION" => return error("a DURATION is not supported".to_owned(), WHOLE_DAYS),
            name @ ("RDATE" | "EXDATE" | "RECURRENCE-ID") => {
                return error(format!("{name} is not supported"), "write an event for each day");
            }
            _ => {}
        }
        Ok(())
    }

    /// Its days.
    fn days(self) -> Result<Vec<Holiday>, IcsError> {
        if self.dropped {
            return Ok(Vec::new());
        }
        let error = |message: String| Err(IcsError::new(&self.span, message, WHOLE_DAYS));
        let Some(start) = self.start else { return error("this event has no DTSTART".to_owned()) };
        let end = self.end.map_or_else(|| start.tomorrow(), Ok);
        let length = end.and_then(|end| start.until(end)).map_or(0, |span| span.get_days());
        let length = usize::try_from(length).unwrap_or(0);
        if !(1..=EVENT_DAYS_MAX).contains(&length) {
            return error(format!("this event does not last 1 to {EVENT_DAYS_MAX} days"));
        }
        let (count, until) = match self.years {
            None => (1, Date::MAX),
            Some(Years::Count(count)) => (count, Date::MAX),
            Some(Years::Until(last)) => (YEARS_MAX, last),
        };
        // A 29th of February comes back in leap years alone.
        let starts =
            (0..YEARS_MAX).filter_map(|year| comes_back(start, year)).take_while(|day| *day <= until);
        let days = starts.take(usize::try_from(count).unwrap_or(0));
        let name = self.name;
        Ok(days.flat_map(|day| day.series(1.day()).take(length)).map(|day| (day, name.clone())).collect())
    }
}

/// The day so many years later, if that year has it.
fn comes_back(start: Date, years: i16) -> Option<Date> {
    start.checked_add(Span::new().years(years)).ok().filter(|day| day.day() == start.day())
}

/// What a line says.
fn value(line: &Line) -> Result<String, IcsError> {
    match Property::try_from(line.text.as_str()) {
        Ok(property) => Ok(property.val.as_str().to_owned()),
        Err(_) => Err(IcsError::new(&line.span, "this line can't be read", "a line is NAME:value")),
    }
}

fn day(line: &Line) -> Result<Date, IcsError> {
    let text = value(line)?;
    date(&text).ok_or_else(|| {
        let message = format!("{} is no day", quoted(&text));
        IcsError::new(&line.span, message, WHOLE_DAYS)
    })
}

/// A date of eight digits.
fn date(text: &str) -> Option<Date> {
    let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Date::strptime("%Y%m%d", text).ok()).flatten()
}

/// A rule that comes to its end.
fn years(line: &Line) -> Result<Years, IcsError> {
    let text = value(line)?;
    let refuse = || IcsError::new(&line.span, format!("the rule {} is not supported", quoted(&text)), YEARLY);
    let (mut yearly, mut years) = (false, None);
    for part in text.split(';') {
        match part.split_once('=').ok_or_else(refuse)? {
            ("FREQ", "YEARLY") => yearly = true,
            ("INTERVAL", "1") | ("WKST", _) => {}
            ("COUNT", count) => {
                let count = count.parse().ok().filter(|count| (1..=YEARS_MAX).contains(count));
                years = Some(Years::Count(count.ok_or_else(refuse)?));
            }
            // Of an instant its day counts.
            ("UNTIL", until) => {
                let until = until.get(..8).and_then(date);
                years = Some(Years::Until(until.ok_or_else(refuse)?));
            }
            _ => return Err(refuse()),
        }
    }
    years.filter(|_| yearly).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(events: &str) -> Result<Vec<Holiday>, Vec<IcsError>> {
        holidays(&format!("BEGIN:VCALENDAR\r\n{events}END:VCALENDAR\r\n"))
    }

    fn days(events: &str) -> Vec<String> {
        read(events).unwrap().into_iter().map(|(day, _)| day.to_string()).collect()
    }

    fn refusal(line: &str) -> (String, String) {
        let events = format!("BEGIN:VEVENT\nDTSTART;VALUE=DATE:20260101\n{line}\nEND:VEVENT\n");
        let whole = format!("BEGIN:VCALENDAR\r\n{events}END:VCALENDAR\r\n");
        let error = holidays(&whole).unwrap_err().remove(0);
        (error.message, whole[error.span].to_owned())
    }

    #[test]
    fn an_event_is_each_of_its_days_with_its_name() {
        let text = "BEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20260216\r\nDTEND;VALUE=DATE:20260219\r\n\
                    SUMMARY;LANGUAGE=ko:설날\\, 연\r\n 휴\r\nBEGIN:VALARM\r\nDTSTART:20200101T000000\r\nEND:VALARM\r\n\
                    END:VEVENT\r\n";
        let found = read(text).unwrap();
        let names: Vec<_> = found.iter().map(|(_, name)| name.as_deref()).collect();
        assert_eq!(names, [Some("설날, 연휴"); 3]);
        assert_eq!(days(text), ["2026-02-16", "2026-02-17", "2026-02-18"]);
    }

    #[test]
    fn an_event_without_an_end_is_a_day_and_a_cancelled_one_none() {
        let text = "BEGIN:VEVENT\nDTSTART:20261225\nEND:VEVENT\n\
                    BEGIN:VEVENT\nDTSTART:20261226\nSTATUS:CANCELLED\nEND:VEVENT\n";
        assert_eq!(days(text), ["2026-12-25"]);
    }

    #[test]
    fn a_yearly_event_comes_back_until_its_end() {
        let yearly = |start: &str, rule: &str| {
            days(&format!("BEGIN:VEVENT\nDTSTART:{start}\nRRULE:FREQ=YEARLY;{rule}\nEND:VEVENT\n"))
        };
        assert_eq!(yearly("20260301", "COUNT=2"), ["2026-03-01", "2027-03-01"]);
        assert_eq!(yearly("20260301", "UNTIL=20280301T000000Z").len(), 3);
        assert_eq!(yearly("20240229", "COUNT=2;INTERVAL=1"), ["2024-02-29", "2028-02-29"]);
    }

    #[test]
    fn what_is_no_whole_day_is_refused_with_its_line() {
        for (line, message) in [
            ("DTEND:20260101", "does not last"),
            ("DTEND:20280101", "does not last"),
            ("DTSTART:20260101T090000Z", "is no day"),
            ("DTSTART:20260230", "is no day"),
            ("RRULE:FREQ=YEARLY", "not supported"),
            ("RRULE:FREQ=DAILY;COUNT=3", "not supported"),
            ("RRULE:FREQ=YEARLY;COUNT=0", "not supported"),
            ("EXDATE:20260101", "EXDATE"),
            ("DURATION:P1D", "DURATION"),
            ("BEGIN:VEVENT", "begins in another"),
        ] {
            let (found, span) = refusal(line);
            assert!(found.contains(message), "{line}: {found}");
            assert!(span == line || span == "BEGIN:VEVENT", "{line}: {span}");
        }
        assert!(read("BEGIN:VEVENT\nDTSTART:20260101\n").is_err());
        assert!(read("").is_err());
        assert!(holidays("").is_err());
        assert!(holidays("<html>").is_err());
    }

    #[test]
    fn deep_nesting_and_endless_lines_are_read_to_their_end() {
        let deep = "BEGIN:X\n".repeat(100_000);
        assert!(read(&format!("BEGIN:VEVENT\nDTSTART:20260101\n{deep}END:VEVENT\n")).is_err());
        let long = "x".repeat(1_000_000);
        let text = format!("BEGIN:VEVENT\nDTSTART:20260101\nSUMMARY:{long}\nX-{long};{long}\nEND:VEVENT\n");
        assert_eq!(days(&text), ["2026-01-01"]);
    }
}
