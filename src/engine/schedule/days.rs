//! Which days match: a bit a day, worked out month by month.

use jiff::civil::{Date, date};

use super::times::Bits;

/// The last year of the calendar.
const LAST_YEAR: i16 = 9999;
/// The first year of the calendar.
const FIRST_YEAR: i16 = -9999;

/// The days of a month that its day-of-month field names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Dates {
    /// Days by number, 1 to 31.
    pub(super) days: Bits,
    /// `nW`: for each day by number, the working day (Monday to Friday) nearest to it in its own month.
    pub(super) nearest_workdays: Bits,
    /// `L`: the last day.
    pub(super) last: bool,
    /// `LW`: the last working day.
    pub(super) last_workday: bool,
}

/// The weekdays that the day-of-week field names; in each set, bit 0 is Sunday.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weekdays {
    /// The weekdays that match on their first, second, … fifth coming in a month; a plain weekday is in all five.
    pub(super) weeks: [u8; 5],
    /// `nL`: the weekdays that match on their last coming in a month.
    pub(super) last: u8,
}

/// The days that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Days {
    pub(super) months: Bits,
    pub(super) dates: Dates,
    pub(super) weekdays: Weekdays,
    /// Whether a day must match both of its fields, not just either.
    pub(super) both: bool,
}

/// What a month looks like.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// How many days it has.
    length: i8,
    /// The weekday it begins with; 0 is Sunday.
    begins: i8,
}

impl Shape {
    fn of(first_day: Date) -> Self {
        Self { length: first_day.days_in_month(), begins: first_day.weekday().to_sunday_zero_offset() }
    }

    /// The weekday of a day of the month; 0 is Sunday.
    const fn weekday(self, day: i8) -> i8 {
        (self.begins + day - 1) % 7
    }

    /// The working day nearest to a day of the month, without leaving the month.
    fn nearest_workday(self, day: i8) -> i8 {
        match self.weekday(day) {
            6 if day == 1 => 3,
            6 => day - 1,
            0 if day == self.length => day - 2,
            0 => day + 1,
            _ => day,
        }
    }
}

impl Dates {
    fn of(self, month: Shape) -> Bits {
        let mut days = self.days;
        if self.last {
            days.0 |= 1 << month.length;
        }
        if self.last_workday {
            days.0 |= 1 << month.nearest_workday(month.length);
        }
        let mut wanted = self.nearest_workdays.upto(month.length);
        while let Some(day) = wanted.first() {
            days.0 |= 1 << month.nearest_workday(day);
            wanted = wanted.from(day + 1);
        }
        days.upto(month.length)
    }
}

impl Weekdays {
    /// The weekdays, each in every week.
    pub(super) const fn every(weekdays: u8) -> Self {
        Self { weeks: [weekdays; 5], last: 0 }
    }

    fn of(self, month: Shape) -> Bits {
        let mut days = 0;
        for (week, weekdays) in self.weeks.into_iter().enumerate() {
            days |= seven_days(weekdays, month.begins) << (1 + 7 * week);
        }
        days |= seven_days(self.last, month.weekday(month.length - 6)) << (month.length - 6);
        Bits(days).upto(month.length)
    }
}

/// Seven days in a row of which the first is the weekday `begins`: bit 0 is the first of them.
fn seven_days(weekdays: u8, begins: i8) -> u64 {
    let twice = u64::from(weekdays) | u64::from(weekdays) << 7;
    (twice >> begins) & 0x7f
}

impl Days {
    /// The days of a month that the day-of-month field names, and those that the day-of-week field does.
    pub(super) fn fields_of_month(&self, year: i16, month: i8) -> (Bits, Bits) {
        let shape = Shape::of(date(year, month, 1));
        (self.dates.of(shape), self.weekdays.of(shape))
    }

    /// The days of a month that match.
    fn of_month(&self, year: i16, month: i8) -> Bits {
        let (by_date, by_weekday) = self.fields_of_month(year, month);
        Bits(if self.both { by_date.0 & by_weekday.0 } else { by_date.0 | by_weekday.0 })
    }

    /// Whether any day ever matches.
    ///
    /// Years come in 14 shapes (leap or not, and the weekday they begin with); these 28 years hold them all.
    pub(super) fn ever_match(&self) -> bool {
        (2001..=2028).any(|year| self.first_of_year(year, 1).is_some())
    }

    /// Whether the day matches.
    pub(super) fn contains(&self, day: Date) -> bool {
        self.months.contains(day.month()) && self.of_month(day.year(), day.month()).contains(day.day())
    }

    /// The first day after the given one that matches.
    pub(super) fn first_after(&self, day: Date) -> Option<Date> {
        let (year, month) = (day.year(), day.month());
        if self.months.contains(month)
            && let Some(found) = self.of_month(year, month).from(day.day() + 1).first()
        {
            return Some(date(year, month, found));
        }
        self.first_of_year(year, month + 1)
            .or_else(|| (year + 1..=LAST_YEAR).find_map(|year| self.first_of_year(year, 1)))
    }

    /// The last day before the given one that matches.
    pub(super) fn last_before(&self, day: Date) -> Option<Date> {
        let (year, month) = (day.year(), day.month());
        if self.months.contains(month)
            && let Some(found) = self.of_month(year, month).upto(day.day() - 1).last()
        {
            return Some(date(year, month, found));
        }
        self.last_of_year(year, month - 1)
            .or_else(|| (FIRST_YEAR..year).rev().find_map(|year| self.last_of_year(year, 12)))
    }

    /// The first day of the year's months from `month` on that matches.
    fn first_of_year(&self, year: i16, month: i8) -> Option<Date> {
        let mut months = self.months.from(month);
        while let Some(month) = months.first() {
            if let Some(day) = self.of_month(year, month).first() {
                return Some(date(year, month, day));
            }
            months = months.from(month + 1);
        }
        None
    }

    /// The last day of the year's months up to `month` that matches.
    fn last_of_year(&self, year: i16, month: i8) -> Option<Date> {
        let mut months = self.months.upto(month);
        while let Some(month) = months.last() {
            if let Some(day) = self.of_month(year, month).last() {
                return Some(date(year, month, day));
            }
            months = months.upto(month - 1);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(bits: Bits) -> Vec<i8> {
        (0..64).filter(|&day| bits.contains(day)).collect()
    }

    #[test]
    fn the_nearest_working_day_stays_in_its_month() {
        // June 2024 begins on a Saturday and ends on a Sunday.
        let june = Shape::of(date(2024, 6, 1));
        assert_eq!(june.nearest_workday(1), 3);
        assert_eq!(june.nearest_workday(2), 3);
        assert_eq!(june.nearest_workday(15), 14);
        assert_eq!(june.nearest_workday(30), 28);
        let last = Dates { last: true, last_workday: true, ..Dates::default() };
        assert_eq!(listed(last.of(june)), [28, 30]);
    }

    #[test]
    fn a_working_day_near_a_day_the_month_lacks_is_none() {
        // A 29th of February 2025 would have been a Saturday, and the 28th its nearest working day.
        let february = Shape::of(date(2025, 2, 1));
        let near = Dates { nearest_workdays: Bits::range(29, 31, 1), ..Dates::default() };
        assert_eq!(listed(near.of(february)), [0_i8; 0]);
    }

    #[test]
    fn weekdays_are_counted_within_the_month() {
        // March 2024 begins on a Friday and has five Fridays, Saturdays and Sundays.
        let march = Shape::of(date(2024, 3, 1));
        assert_eq!(listed(Weekdays::every(1 << 5).of(march)), [1, 8, 15, 22, 29]);
        assert_eq!(listed(Weekdays { weeks: [0, 1 << 1, 0, 0, 1], last: 0 }.of(march)), [11, 31]);
        assert_eq!(listed(Weekdays { weeks: [0, 0, 0, 0, 1 << 1], last: 0 }.of(march)), [0_i8; 0]);
        assert_eq!(listed(Weekdays { weeks: [0; 5], last: 1 << 1 | 1 }.of(march)), [25, 31]);
    }
}
