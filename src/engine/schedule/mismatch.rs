//! Why an instant is no fire: which part of the expression says so.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::evaluate::Calendar;
use super::times::Bits;
use super::{Rule, Schedule, instant, second_of};

/// A part of a schedule that keeps an instant from being a fire: a closed set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// Fires lie on whole seconds.
    Fraction,
    /// It fires at boot, at no instant of the clock.
    Boot,
    /// `@every`: the instant lies between two of its own.
    Between {
        /// Seconds since the one before.
        past: i64,
        /// Seconds from one to the next.
        every: i64,
    },
    /// A field names other numbers.
    Field {
        /// The field as people call it.
        field: &'static str,
        /// What the clock shows.
        shown: i8,
        /// What the field names, as a list; of the day of month, in that month.
        named: String,
    },
    /// The day-of-week field names other days.
    Weekday {
        /// The day.
        shown: Weekday,
        /// The days of that month that the field names, as a list.
        named: String,
    },
    /// Neither of two day fields names the day, and either would do.
    Neither {
        /// The day of the month.
        day: i8,
        /// The days of that month that the day-of-month field names, as a list.
        named: String,
        /// The day of the week.
        weekday: Weekday,
        /// The days of that month that the day-of-week field names, as a list.
        weekdays: String,
    },
    /// The clock shows this time twice, and the job has fired at the first.
    Repeated,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fraction => f.write_str("fires lie on whole seconds"),
            Self::Boot => f.write_str("it fires at each boot, at no instant of the clock"),
            Self::Between { past, every } => write!(f, "it is {past} s past a multiple of {every} s"),
            Self::Field { field, shown, named } => write!(f, "{field} {shown} is not in {named}"),
            Self::Weekday { shown, named } => {
                write!(f, "{shown:?} is not in the day of week field (days of that month: {named})")
            }
            Self::Neither { day, named, weekday, weekdays } => write!(
                f,
                "day of month {day} is not in {named}, nor is {weekday:?} in the day of week field \
                 (days of that month: {weekdays})"
            ),
            Self::Repeated => f.write_str("the clock shows this time twice, and it fires at the first"),
        }
    }
}

impl Schedule {
    /// Why the instant is no fire of this schedule; empty when it is one.
    #[must_use]
    pub fn mismatches(&self, zone: &TimeZone, at: Timestamp) -> Vec<Mismatch> {
        if at.subsec_nanosecond() != 0 {
            return vec![Mismatch::Fraction];
        }
        let second = second_of(at);
        let is_fire = instant(second - 1).and_then(|before| self.next(zone, before)) == Some(at);
        match &self.rule {
            _ if is_fire => Vec::new(),
            Rule::Reboot => vec![Mismatch::Boot],
            Rule::Every(every) => vec![Mismatch::Between { past: second.rem_euclid(*every), every: *every }],
            Rule::Calendar(calendar) => calendar.mismatches(zone, at),
        }
    }
}

impl Calendar {
    /// What of an instant that is no fire does not match.
    fn mismatches(&self, zone: &TimeZone, at: Timestamp) -> Vec<Mismatch> {
        let civil = zone.to_datetime(at);
        let mut found = Vec::new();
        let mut look = |field, shown: i8, bits: Bits| {
            if !bits.contains(shown) {
                found.push(Mismatch::Field { field, shown, named: list(bits) });
            }
        };
        look("second", civil.second(), self.times.seconds);
        look("minute", civil.minute(), self.times.minutes);
        look("hour", civil.hour(), self.times.hours);
        look("month", civil.month(), self.days.months);
        let (days, weekdays) = self.days.fields_of_month(civil.year(), civil.month());
        let (day, weekday) = (civil.day(), civil.weekday());
        match (days.contains(day), weekdays.contains(day)) {
            (false, false) if !self.days.both => {
                let (named, weekdays) = (list(days), list(weekdays));
                found.push(Mismatch::Neither { day, named, weekday, weekdays });
            }
            (is_named, is_weekday) if self.days.both => {
                if !is_named {
                    found.push(Mismatch::Field { field: "day of month", shown: day, named: list(days) });
                }
                if !is_weekday {
                    found.push(Mismatch::Weekday { shown: weekday, named: list(weekdays) });
                }
            }
            _ => {}
        }
        if found.is_empty() {
            found.push(Mismatch::Repeated);
        }
        found
    }
}

/// Numbers as a person would write the field: `0`, `1-5,9`, `0-55/5`.
fn list(bits: Bits) -> String {
    let numbers: Vec<i8> = (0..64).filter(|&number| bits.contains(number)).collect();
    let [first, second, .., last] = numbers[..] else {
        let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        return if words.is_empty() { "none".to_owned() } else { words.join(",") };
    };
    let step = second - first;
    if step > 1 && numbers.len() > 5 && numbers.windows(2).all(|pair| pair[1] - pair[0] == step) {
        return format!("{first}-{last}/{step}");
    }
    let mut words: Vec<String> = Vec::new();
    for row in numbers.chunk_by(|a, b| b - a == 1) {
        match row {
            [from, _, .., to] => words.push(format!("{from}-{to}")),
            _ => words.extend(row.iter().map(ToString::to_string)),
        }
    }
    words.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(schedule: &str, zone: &str, at: &str) -> Vec<String> {
        let zone = TimeZone::get(zone).unwrap();
        let schedule = Schedule::parse(schedule).unwrap();
        schedule.mismatches(&zone, at.parse().unwrap()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_field_that_says_no_is_named() {
        let told = |schedule, at| told(schedule, "Asia/Seoul", at);
        assert_eq!(told("0 10 1 * *", "2026-11-01T10:00:00+09:00"), [""; 0]);
        assert_eq!(told("0 10 1 * *", "2026-11-01T10:30:00+09:00"), ["minute 30 is not in 0"]);
        assert_eq!(
            told("*/15 9-17 * 1,4,7,10 *", "2026-11-01T08:01:05+09:00"),
            [
                "second 5 is not in 0",
                "minute 1 is not in 0,15,30,45",
                "hour 8 is not in 9-17",
                "month 11 is not in 1,4,7,10"
            ]
        );
        assert_eq!(told("0 10 1 * *", "2026-11-01T01:00:00.5Z"), ["fires lie on whole seconds"]);
    }

    #[test]
    fn days_are_told_as_their_fields_join_them() {
        let told = |schedule, at| told(schedule, "UTC", at);
        // A Monday.
        let at = "2026-11-02T10:00:00Z";
        assert_eq!(told("0 10 1,2,3,9 * *", at), [""; 0]);
        assert_eq!(told("0 10 1,15 * *", at), ["day of month 2 is not in 1,15"]);
        assert_eq!(
            told("0 10 * * 5", at),
            ["Monday is not in the day of week field (days of that month: 6,13,20,27)"]
        );
        assert_eq!(
            told("0 10 1,15 * 5L", at),
            [
                "day of month 2 is not in 1,15, nor is Monday in the day of week field (days of that month: 27)"
            ]
        );
    }

    #[test]
    fn what_has_no_fields_says_why_all_the_same() {
        assert_eq!(told("@every 90s", "UTC", "1970-01-01T00:02:00Z"), ["it is 30 s past a multiple of 90 s"]);
        assert_eq!(
            told("@reboot", "UTC", "2026-11-01T00:00:00Z"),
            ["it fires at each boot, at no instant of the clock"]
        );
    }

    #[test]
    fn a_jump_of_the_clock_is_told() {
        let told = |at| told("30 1 * * *", "America/New_York", at);
        assert_eq!(told("2026-11-01T01:30:00-04:00"), [""; 0]);
        assert_eq!(
            told("2026-11-01T01:30:00-05:00"),
            ["the clock shows this time twice, and it fires at the first"]
        );
        let zone = TimeZone::get("America/New_York").unwrap();
        let made_up = "2026-03-08T03:00:00-04:00".parse().unwrap();
        let schedule = Schedule::parse("30 2 * * *").unwrap();
        assert_eq!(schedule.mismatches(&zone, made_up), [], "what the gap left out fires right after it");
    }
}
