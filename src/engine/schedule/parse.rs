//! A text becomes a rule, or an error that names the place, the reason and the remedy.

use super::days::{Dates, Days, Weekdays};
use super::evaluate::Calendar;
use super::field::{Entry, Field, Parsed, Piece};
use super::times::{Bits, Times};
use super::{Rule, ScheduleError, hashed};

/// The longest expression, in bytes. Every minute, hour, day and month written out is 360.
const LONGEST: usize = 1000;
/// The longest `@every`, in seconds: a hundred years.
const LONGEST_EVERY: i64 = 36_525 * 24 * 60 * 60;
/// The fields without seconds, in their order.
const FIELDS: [Field; 5] = [Field::Minute, Field::Hour, Field::DayOfMonth, Field::Month, Field::DayOfWeek];
const FIELDS_HELP: &str =
    "write minute, hour, day of month, month and day of week; seconds may go ahead of them";
/// The nicknames of five fields.
const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];
const EVERY: &str = "@every";
const EVERY_HELP: &str = "write a duration of at least a second: `@every 90s`, `10m`, `1h30m` or `1d`";
const REBOOT: &str = "@reboot";

/// Reads an expression of the job of this name. With the rule goes the text in which each `H` has its number, if it has
/// any.
pub(super) fn rule(text: &str, name: Option<&str>) -> Result<(Rule, Option<String>), ScheduleError> {
    let whole = Piece { text, at: 0 };
    if text.len() > LONGEST {
        let message = format!("the schedule has {} bytes, more than {LONGEST}", text.len());
        return Err(whole.error(message).with_help("write steps and ranges in place of long lists"));
    }
    let words = words(whole);
    match words.first() {
        None => Err(whole.error("the schedule is empty".to_owned()).with_help(FIELDS_HELP)),
        Some(first) if first.text.starts_with('@') => Ok((nickname(*first, &words[1..])?, None)),
        Some(_) => fields(&words, name),
    }
}

/// The words of an expression: what lies between spaces and tabs, as for Debian's cron.
fn words(whole: Piece<'_>) -> Vec<Piece<'_>> {
    let mut at = 0;
    let pieces = whole.text.split([' ', '\t']).map(|text| {
        let piece = Piece { text, at };
        at += text.len() + 1;
        piece
    });
    pieces.filter(|piece| !piece.text.is_empty()).collect()
}

fn nickname(name: Piece<'_>, rest: &[Piece<'_>]) -> Result<Rule, ScheduleError> {
    if name.text.eq_ignore_ascii_case(EVERY) {
        return every(name, rest).map(Rule::Every);
    }
    if let Some(surplus) = rest.first() {
        let message = format!("{} stands alone, but {} follows it", name.quoted(), surplus.quoted());
        return Err(surplus.error(message).with_help(format!("write just {}", name.quoted())));
    }
    if name.text.eq_ignore_ascii_case(REBOOT) {
        return Ok(Rule::Reboot);
    }
    match NICKNAMES.iter().find(|(known, _)| name.text.eq_ignore_ascii_case(known)) {
        Some((_, fields)) => calendar(&words(Piece { text: fields, at: 0 })).map(Rule::Calendar),
        None => Err(unknown_nickname(name)),
    }
}

fn unknown_nickname(name: Piece<'_>) -> ScheduleError {
    let known = NICKNAMES.iter().map(|(known, _)| *known).chain([EVERY, REBOOT]);
    let typed = name.text.to_ascii_lowercase();
    // What is far longer than any nickname is not compared: the cost of it grows with both lengths.
    let nearest = known
        .clone()
        .filter(|_| typed.len() <= 16)
        .map(|known| (strsim::damerau_levenshtein(&typed, known), known))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    let help = match nearest {
        Some((_, nearest)) => format!("did you mean {nearest}?"),
        None => format!("the nicknames are {}", known.collect::<Vec<_>>().join(", ")),
    };
    name.error(format!("{} is not a nickname", name.quoted())).with_help(help)
}

/// Reads what follows `@every`; in seconds.
fn every(name: Piece<'_>, rest: &[Piece<'_>]) -> Result<i64, ScheduleError> {
    let [duration] = rest else {
        let wrong = rest.get(1).copied().unwrap_or(name);
        return Err(wrong.error(format!("{} takes one duration", name.quoted())).with_help(EVERY_HELP));
    };
    let wrong = |why: &str| {
        let message = format!("{} {}: {why}", name.quoted(), duration.quoted());
        duration.error(message).with_help(EVERY_HELP)
    };
    let seconds = seconds(duration.text).ok_or_else(|| wrong("this is not a duration"))?;
    match seconds {
        0 => Err(wrong("it must be at least a second")),
        1..=LONGEST_EVERY => Ok(seconds),
        _ => Err(wrong("it must be at most 36525 days")),
    }
}

/// A duration of days, hours, minutes and seconds, each at most once and in this order; in seconds.
///
/// One that is too long for the number is the largest number.
fn seconds(text: &str) -> Option<i64> {
    let mut units = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)].into_iter();
    let (mut rest, mut total) = (text, 0_i64);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let unit = rest[end..].chars().next()?;
        let (_, length) = units.find(|(letter, _)| *letter == unit)?;
        let count = match &rest[..end] {
            "" => return None,
            digits => digits.parse::<i64>().unwrap_or(i64::MAX),
        };
        total = total.saturating_add(count.saturating_mul(length));
        rest = &rest[end + 1..];
    }
    (!text.is_empty()).then_some(total)
}

/// Reads five or six fields in which `H` may stand.
fn fields(words: &[Piece<'_>], name: Option<&str>) -> Result<(Rule, Option<String>), ScheduleError> {
    let all = [Field::Second].into_iter().chain(FIELDS).skip(usize::from(words.len() == FIELDS.len()));
    let resolved = all.zip(words).map(|(field, word)| hashed::resolve(field, *word, name));
    let resolved: Vec<Option<String>> = resolved.collect::<Result<_, _>>()?;
    if words.len() > resolved.len() || resolved.iter().all(Option::is_none) {
        return Ok((Rule::Calendar(calendar(words)?), None));
    }
    let texts: Vec<&str> = resolved.iter().zip(words).map(|(r, w)| r.as_deref().unwrap_or(w.text)).collect();
    let text = texts.join(" ");
    let rule =
        calendar(&self::words(Piece { text: &text, at: 0 })).map_err(|error| placed(error, &texts, words))?;
    Ok((Rule::Calendar(rule), Some(text)))
}

/// An error in the resolved text, at the words that were written.
fn placed(error: ScheduleError, resolved: &[&str], written: &[Piece<'_>]) -> ScheduleError {
    let mut at = 0;
    let mut touched = Vec::new();
    for (text, word) in resolved.iter().zip(written) {
        if at < error.span.end.max(error.span.start + 1) && error.span.start < at + text.len() + 1 {
            touched.push(*word);
        }
        at += text.len() + 1;
    }
    ScheduleError { span: across(&touched, String::new()).span, ..error }
}

/// Reads five or six fields.
fn calendar(words: &[Piece<'_>]) -> Result<Calendar, ScheduleError> {
    let (seconds, words) = match words.len() {
        5 => (None, words),
        6 => (Some(words[0]), &words[1..]),
        _ => return Err(wrong_count(words)),
    };
    let second = seconds.map(|word| Field::Second.parse(word)).transpose()?;
    let mut parsed = Vec::with_capacity(FIELDS.len());
    for (field, word) in FIELDS.into_iter().zip(words) {
        parsed.push(field.parse(*word)?);
    }
    let [minute, hour, day_of_month, month, day_of_week] = &parsed[..] else {
        return Err(wrong_count(words));
    };
    let days = Days {
        months: values(month),
        dates: dates(day_of_month),
        weekdays: weekdays(day_of_week),
        both: day_of_month.starred || day_of_week.starred,
    };
    if !days.ever_match() {
        return Err(never_fires(words));
    }
    let seconds = second.as_ref().map_or(Bits::one(0), values);
    let times = Times { seconds, minutes: values(minute), hours: values(hour) };
    Ok(Calendar { days, times, wild: minute.starred || hour.starred })
}

fn wrong_count(words: &[Piece<'_>]) -> ScheduleError {
    let count = words.len();
    let error = match words {
        [word] => word.error(format!("{} is neither five fields nor a nickname", word.quoted())),
        [.., year] if count == 7 => {
            year.error(format!("{}: a seventh field, for years, is not supported", year.quoted()))
        }
        _ => across(words, format!("the schedule has {count} fields; it takes 5, or 6 with seconds ahead")),
    };
    error.with_help(FIELDS_HELP)
}

/// An error at all of these words.
fn across(words: &[Piece<'_>], message: String) -> ScheduleError {
    let begin = words.first().map_or(0, |word| word.at);
    let end = words.last().map_or(begin, |word| word.at + word.text.len());
    ScheduleError { span: begin..end, message, help: None }
}

fn values(field: &Parsed) -> Bits {
    field.entries.iter().fold(Bits::default(), |all, entry| match entry {
        Entry::Values(bits) => all.union(*bits),
        _ => all,
    })
}

fn dates(field: &Parsed) -> Dates {
    let mut dates = Dates { days: values(field), ..Dates::default() };
    for entry in &field.entries {
        match *entry {
            Entry::Last => dates.last = true,
            Entry::LastWorkday => dates.last_workday = true,
            Entry::NearestWorkday(day) => {
                dates.nearest_workdays = dates.nearest_workdays.union(Bits::one(day));
            }
            Entry::Values(_) | Entry::LastWeekday(_) | Entry::NthWeekday(..) => {}
        }
    }
    dates
}

fn weekdays(field: &Parsed) -> Weekdays {
    // 7 is Sunday as 0 is.
    let plain = (0..7).filter(|&day| values(field).contains(day) || (day == 0 && values(field).contains(7)));
    let mut weekdays = Weekdays::every(plain.fold(0, |set, day| set | 1 << day));
    for entry in &field.entries {
        match *entry {
            Entry::LastWeekday(day) => weekdays.last |= 1 << day,
            Entry::NthWeekday(day, count) => weekdays.weeks[usize::from(count) - 1] |= 1 << day,
            Entry::Values(_) | Entry::Last | Entry::LastWorkday | Entry::NearestWorkday(_) => {}
        }
    }
    weekdays
}

/// The error of a schedule that Debian's cron would take, and then never fire.
fn never_fires(words: &[Piece<'_>]) -> ScheduleError {
    let [_, _, day, month, weekday] = words else {
        return wrong_count(words);
    };
    let (day, month) = (day.quoted(), month.quoted());
    if matches!(weekday.text, "*" | "?") {
        let message = format!("this never fires: month {month} has no day of month {day}");
        return across(&words[2..4], message).with_help("`L` is the last day of each month");
    }
    let weekday = weekday.quoted();
    let message =
        format!("this never fires: no day of month {day} in month {month} is a day of week {weekday}");
    across(&words[2..], message).with_help("a day must fit both day fields, as one of them begins with *")
}
