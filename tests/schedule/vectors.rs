//! `tests/data/schedule-vectors.jsonl`: what other parsers and two real crons answer, a thousand rows.
//!
//! A row passes when the schedule names the expected instants, or is refused where the row says `error`; a row that
//! expects no instants passes on either. All `core` rows pass. In the others are syntaxes that we refuse and readings
//! that we do not share; each such row is told apart by a rule or by name, with what we answer instead, so that none
//! fails unnoticed and none passes by chance. `docs/schedule.md` gives the reasons.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use jobctl::engine::schedule::Schedule;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Row {
    id: String,
    expr: String,
    tz: String,
    after: Timestamp,
    n: usize,
    expect: Option<Vec<Timestamp>>,
    #[serde(default)]
    error: bool,
    level: String,
}

impl Row {
    /// The instants that the schedule names, or `None` when it is refused.
    fn answer(&self) -> Option<Vec<Timestamp>> {
        let schedule = Schedule::parse(&self.expr).ok()?;
        let zone = TimeZone::get(&self.tz).unwrap();
        let mut fires = Vec::new();
        let mut after = self.after;
        while fires.len() < self.n
            && let Some(fire) = schedule.next(&zone, after)
        {
            fires.push(fire);
            after = fire;
        }
        Some(fires)
    }

    fn passes(&self) -> bool {
        match (self.answer(), &self.expect) {
            (answer, _) if self.error => answer.is_none(),
            (answer, Some(expect)) if expect.is_empty() => answer.is_none_or(|fires| fires.is_empty()),
            (answer, expect) => answer == *expect,
        }
    }

    /// The syntax in the row that we refuse, if it has one.
    fn refused_syntax(&self) -> Option<&'static str> {
        let fields: Vec<&str> = self.expr.split_whitespace().collect();
        if fields.len() == 7 {
            return Some("a year field");
        }
        fields.iter().flat_map(|field| field.split(',')).find_map(refused_entry)
    }
}

/// The syntax in an entry of a field that we refuse, if it has one.
fn refused_entry(entry: &str) -> Option<&'static str> {
    let entry = entry.to_ascii_lowercase();
    let (base, step) = entry.split_once('/').map_or((&*entry, None), |(base, step)| (base, Some(step)));
    let range = base.split_once('-');
    match (base, range) {
        (_, Some(("l", _))) => Some("days before the last"),
        (_, Some((_, "l"))) => Some("a range to the last day"),
        (_, Some((_, to))) if to.contains('#') => Some("a range of counted weekdays"),
        ("friday", _) => Some("a name written out"),
        (_, Some((from, to))) if rank(from) > rank(to) => Some("a range that runs backwards"),
        (_, None) if step.is_some() && base != "*" => Some("a step without a range"),
        _ if base.starts_with('l') && base.len() > 1 && base != "lw" => Some("the mark L ahead of a weekday"),
        _ => None,
    }
}

/// Where a number or name stands in its field; names of months and of weekdays do not meet in one range.
fn rank(value: &str) -> Option<usize> {
    let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let weekdays = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    let place = |names: &[&str]| names.iter().position(|name| *name == value);
    value.parse().ok().or_else(|| place(&months).map(|month| month + 1)).or_else(|| place(&weekdays))
}

/// Rows of the level `ext` that we read otherwise than their one source, and the first instant that we name in place
/// of theirs; no instant means that we refuse.
const OTHER_READINGS: &[(&str, &str, &str)] = &[
    // A shielded jump makes up fixed jobs and runs them in the first pass only, with a seconds field as without.
    ("8419053508", "11,22 30 1,2,3,4 * * *", "2021-03-28T02:30:11+02:00"),
    ("ed80128b0d", "33 30 1-10 * * *", "2021-03-28T02:30:33+02:00"),
    ("0a22d5a2c2", "0 30 1-10 * * *", "2021-03-28T02:30:00+02:00"),
    ("381e139e0b", "0-30 0 1 * * *", "2016-11-07T01:00:00-05:00"),
    ("09ca545f6d", "*/30 30 1 * * *", "2017-04-03T01:30:00+10:30"),
    ("bc523c0fb4", "30 2 11 Mar ?", "2012-03-11T03:00:00-04:00"),
    ("60339ce080", "0 2 * * ?", "2012-03-11T03:00:00-04:00"),
    ("3c1f193d74", "30 1 04 Nov ?", "2013-11-04T01:30:00-05:00"),
    ("884ed74561", "0 1 * * ?", "2012-11-05T01:00:00-05:00"),
    // Day of month and day of week are OR-ed.
    ("1a922f96af", "50-56 40-50 15-20 5-10 11,12 5,6,7", "2016-12-02T15:40:50-05:00"),
    ("16d2ce01b5", "* * 1 * SUN#4", "1970-01-01T00:00:00-05:00"),
    ("1a467dca17", "* * 1-28 * SUN#5", "1970-01-01T00:00:00-05:00"),
    ("1732ac157d", "* * 8 * MON#1", "1970-01-05T00:00:00-05:00"),
    ("0d52d46277", "* * 11 * 0L", "1970-01-11T00:00:00-05:00"),
    ("0fc84e4942", "* * 21W * 0L", "1970-01-21T00:00:00-05:00"),
    ("00a01ef7e7", "* * 5W * 5L", "1970-01-05T00:00:00-05:00"),
    // A month without a 31st has no working day near it.
    ("0f24a376f9", "0 9 31W * *", "2024-12-31T09:00:00Z"),
    // Engines that refuse these take others of the same form.
    ("11034e6f65", "0 0 0 15W 7 *", "2025-07-15T00:00:00Z"),
    ("31232fc92c", "0 0 0 20W 7 *", "2025-07-21T00:00:00Z"),
    ("41b0cc42fd", "0,0 0 0 1 1 0", "2025-01-01T00:00:00Z"),
    // The sixth field is ahead of the others and holds seconds, not years.
    ("8028e766a7", "* * * * * 2012", ""),
    ("9f097402a6", "0 0 28 02 * *", ""),
    ("dfb0b46d29", "0 0 28 02 * *", ""),
];

/// What we do with each expression of the level `policy`; both would be right.
const CHOICES: &[(&str, Choice)] = &[
    ("@every Xm", Choice::Refuse),
    ("*/100 * * * *", Choice::Accept),
    ("45 4 *  *  6-7", Choice::Accept),
    ("11 1 31 2 *", Choice::Refuse),
    ("1/60 * * * *", Choice::Refuse),
    ("* ,1 * * *", Choice::Refuse),
    ("* * 1/32 * *", Choice::Refuse),
    ("* * 1,2w * *", Choice::Extend("2024-03-01T00:00:00Z")),
    ("1 1 */100,1-7 * MON", Choice::Accept),
    ("59 23 31 2 *", Choice::Refuse),
    ("0 0 31W 8 *", Choice::Extend("2024-08-30T00:00:00Z")),
    ("0 0 LW 2 *", Choice::Extend("2024-02-29T00:00:00Z")),
    ("0 0 31W * *", Choice::Extend("2024-03-29T00:00:00Z")),
    ("@reboot", Choice::Accept),
    ("  @yearly  ", Choice::Accept),
    ("0 12 1 * +MON#1", Choice::Refuse),
    ("0 0 * * fril", Choice::Extend("2024-03-29T00:00:00Z")),
    ("0 0 * * 0,7", Choice::Accept),
    ("0 0 * * 7,0", Choice::Accept),
    ("0 0 * * */8", Choice::Accept),
    ("0 0 * * 5L", Choice::Extend("2024-03-29T00:00:00Z")),
    ("0 0 * */13 *", Choice::Accept),
    ("0 0 */32 * *", Choice::Accept),
    ("58/5 * * * *", Choice::Refuse),
    ("@hourly", Choice::Accept),
    ("@every 5m", Choice::Extend("2024-01-01T00:05:00Z")),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Choice {
    /// It is an error.
    Refuse,
    /// It is taken, with the instants that the row expects.
    Accept,
    /// Debian's cron refuses it; we take it, and this is its first fire.
    Extend(&'static str),
}

fn rows(level: &str) -> Vec<Row> {
    let text = include_str!("../data/schedule-vectors.jsonl");
    let rows = text.lines().map(|line| serde_json::from_str::<Row>(line).unwrap());
    rows.filter(|row| row.level == level).collect()
}

#[test]
fn every_core_row_passes() {
    let rows = rows("core");
    assert_eq!(rows.len(), 487);
    for row in rows {
        assert!(row.passes(), "{row:?}: {:?}", row.answer());
    }
}

#[test]
fn every_ext_row_passes_or_is_accounted_for() {
    let others: BTreeMap<_, _> =
        OTHER_READINGS.iter().map(|(id, expr, first)| (*id, (*expr, *first))).collect();
    let (mut passed, mut refused, mut other) = (0, 0, 0);
    for row in rows("ext") {
        let answer = row.answer();
        if let Some((expr, first)) = others.get(&*row.id) {
            let first = (!first.is_empty()).then(|| first.parse::<Timestamp>().unwrap());
            assert_eq!((row.expr.as_str(), answer.as_ref().map(|fires| fires[0])), (*expr, first), "{row:?}");
            assert!(!row.passes(), "no other reading any more: {row:?}");
            other += 1;
        } else if let Some(syntax) = row.refused_syntax() {
            assert_eq!(answer, None, "{syntax}: {row:?}");
            refused += usize::from(!row.passes());
            passed += usize::from(row.passes());
        } else {
            assert!(row.passes(), "{row:?}: {answer:?}");
            passed += 1;
        }
    }
    assert_eq!((passed, refused, other), (399, 118, 23));
}

#[test]
fn every_policy_row_is_answered_as_documented() {
    let choices: BTreeMap<_, _> = CHOICES.iter().copied().collect();
    assert_eq!(choices.len(), CHOICES.len());
    let rows = rows("policy");
    assert_eq!(rows.len(), 27);
    for row in rows {
        let answer = row.answer();
        match choices[&*row.expr] {
            Choice::Refuse => assert_eq!(answer, None, "{row:?}"),
            Choice::Accept => assert_eq!(answer, row.expect, "{row:?}"),
            Choice::Extend(first) => {
                assert!(row.error, "{row:?}");
                assert_eq!(answer.unwrap()[0], first.parse().unwrap(), "{row:?}");
            }
        }
    }
}
