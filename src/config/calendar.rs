//! `[calendars.*]`: named sets of holidays, from lists, ranges and iCalendar files.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::ToSpan;
use jiff::civil::Date;

use crate::engine::calendar::Calendar;
use crate::engine::job::JobName;

use super::diagnostic::quoted;
use super::file;
use super::fingerprint;
use super::ics;
use super::report::{Report, Spot};
use super::source::Source;
use super::value::{Entry, Table, Value};

/// The keys of a calendar.
const KEYS: &[&str] = &["dates", "files"];
/// The most holidays of a calendar: more than a century of them.
const DAYS_MAX: usize = 10_000;
/// The longest range, in days.
const RANGE_DAYS_MAX: i32 = 366;
/// The most files of a calendar.
const FILES_MAX: usize = 100;
/// How much of a holiday's name is kept, in characters: it stands in rows and messages.
const NAME_CHARS_MAX: usize = 80;

const DATES_EXAMPLE: &str =
    "dates = [2026-01-01, \"2026-02-16..2026-02-18\", { date = 2026-12-25, name = \"Christmas\" }]";
const FILES_EXAMPLE: &str = "files = [\"kr.ics\"]";

/// The holidays read so far.
type Holidays = BTreeMap<Date, Option<String>>;

/// Where a calendar is read from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'o> {
    /// The file that names it.
    pub(super) path: &'o Path,
    /// Whether its files are taken only if root alone can change them.
    pub(super) trust: bool,
}

/// Reads a calendar; `None` when it has mistakes, which are reported.
pub(super) fn read(report: &mut Report, entry: &Entry<'_>, origin: Origin<'_>) -> Option<Arc<Calendar>> {
    let mut sound = JobName::new(entry.key).is_ok();
    if !sound {
        report
            .error(entry.spot.clone(), format!("{} can't be the name of a calendar", quoted(entry.key)))
            .help("a name is 1 to 64 of a-z, 0-9, '.', '_' and '-': [calendars.kr]");
    }
    let table = entry.value.table(report, "[calendars.kr]")?;
    for key in table.entries().filter(|key| !KEYS.contains(&key.key)) {
        key.unknown(report, "a calendar", KEYS, &[]);
        sound = false;
    }
    if !report.is_damaged(&entry.spot) && !KEYS.iter().any(|key| table.has(key)) {
        report
            .error(entry.spot.clone(), format!("calendar {} has no dates", quoted(entry.key)))
            .help(format!("add, for example, {DATES_EXAMPLE} or {FILES_EXAMPLE}"));
        return None;
    }
    let mut holidays = Holidays::new();
    if let Some(dates) = table.get("dates") {
        sound &= read_dates(report, &dates.value, &mut holidays).is_some();
    }
    if let Some(files) = table.get("files") {
        sound &= read_files(report, &files.value, origin, &mut holidays).is_some();
    }
    if holidays.len() > DAYS_MAX {
        let message = format!("calendar {} has {} days", quoted(entry.key), holidays.len());
        report.error(entry.spot.clone(), message).help(format!("{DAYS_MAX} are the most"));
        return None;
    }
    let hash = fingerprint::of_days(holidays.keys());
    sound.then(|| Arc::new(Calendar { name: entry.key.to_owned(), holidays, hash }))
}

/// Each mistake is reported; `None` if there was one.
fn read_dates(report: &mut Report, value: &Value<'_>, holidays: &mut Holidays) -> Option<()> {
    let mut sound = Some(());
    for item in value.list(report, DATES_EXAMPLE)? {
        if report.is_full() {
            return None;
        }
        let days = if item.is_table() {
            named(report, &item)
        } else {
            range(report, &item).map(|range| (range, None))
        };
        match days {
            Some(((first, last), name)) => add(holidays, first, last, name.as_deref()),
            None => sound = None,
        }
    }
    sound
}

fn add(holidays: &mut Holidays, first: Date, last: Date, name: Option<&str>) {
    for day in first.series(1.day()).take_while(|day| *day <= last) {
        insert(holidays, day, name);
    }
}

/// Of several names the first counts.
fn insert(holidays: &mut Holidays, day: Date, name: Option<&str>) {
    let known = holidays.entry(day).or_default();
    if known.is_none() {
        *known = name.map(clean).filter(|name| !name.is_empty());
    }
}

/// A name on one line of bounded length.
fn clean(name: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    name.chars().take(NAME_CHARS_MAX).map(plain).collect::<String>().trim().to_owned()
}

/// `{ date = …, name = "…" }`.
fn named(report: &mut Report, item: &Value<'_>) -> Option<((Date, Date), Option<String>)> {
    let table: Table<'_> = item.table(report, DATES_EXAMPLE)?;
    for key in table.entries().filter(|key| !["date", "name"].contains(&key.key)) {
        key.unknown(report, "a date", &["date", "name"], &[]);
    }
    let Some(date) = table.get("date") else {
        report.error(item.spot(), "a holiday has no `date`").help(DATES_EXAMPLE);
        return None;
    };
    let days = range(report, &date.value);
    let name = match table.get("name") {
        Some(name) => Some(name.value.string(report, "name = \"Christmas\"")?.to_owned()),
        None => None,
    };
    Some((days?, name))
}

/// A day, or `"first..last"`, both included.
fn range(report: &mut Report, item: &Value<'_>) -> Option<(Date, Date)> {
    if !item.is_string() {
        return item.date(report, DATES_EXAMPLE).map(|day| (day, day));
    }
    let text = item.string(report, DATES_EXAMPLE)?;
    let Some((first, last)) = text.split_once("..") else {
        return item.date(report, DATES_EXAMPLE).map(|day| (day, day));
    };
    let first = item.read_date(report, first, item.part(0..first.len()), DATES_EXAMPLE)?;
    let last = item.read_date(report, last, item.part(text.len() - last.len()..text.len()), DATES_EXAMPLE)?;
    let length = first.until(last).map_or(-1, |span| span.get_days());
    if !(0..RANGE_DAYS_MAX).contains(&length) {
        let message = format!("{} is no range of 1 to {RANGE_DAYS_MAX} days", quoted(text));
        report
            .error(item.spot(), message)
            .help("write the first day, then the last: \"2026-02-16..2026-02-18\"");
        return None;
    }
    Some((first, last))
}

fn read_files(
    report: &mut Report,
    value: &Value<'_>,
    origin: Origin<'_>,
    holidays: &mut Holidays,
) -> Option<()> {
    let files = value.strings(report, FILES_EXAMPLE)?;
    if files.len() > FILES_MAX {
        report.error(value.spot(), format!("a calendar has at most {FILES_MAX} files"));
        return None;
    }
    let mut sound = Some(());
    for (name, value) in files {
        let path = file::beside(origin.path, name);
        match file::read(&path, origin.trust) {
            Ok(text) => match ics::holidays(&text.text) {
                Ok(days) => days.iter().for_each(|(day, name)| insert(holidays, *day, name.as_deref())),
                Err(errors) => {
                    refuse(report, &path, text.text, errors);
                    sound = None;
                }
            },
            Err(error) => {
                let note = report.error(value.spot(), error.to_string());
                if let Some(help) = error.help() {
                    note.help(help);
                }
                sound = None;
            }
        }
    }
    sound
}

/// Reports the mistakes of a file at their lines.
fn refuse(report: &mut Report, path: &Path, text: String, errors: Vec<ics::IcsError>) {
    let source = report.next_source();
    report.add_source(Source::new(path.to_owned(), text, Vec::new(), Vec::new()));
    for error in errors {
        report.error(Spot::new(source, error.span), error.message).help(error.help);
    }
}
