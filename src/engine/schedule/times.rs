//! Which seconds of a day match.

use jiff::civil::{Time, time};

/// A set of small numbers, one bit each; all that a field can name is below 64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bits(pub(super) u64);

impl Bits {
    /// The numbers from `low` to `high`, both included, in steps of `step`, which is at least 1.
    pub(super) fn range(low: u8, high: u8, step: u16) -> Self {
        (low..=high).step_by(usize::from(step)).map(Self::one).fold(Self::default(), Self::union)
    }

    /// One number.
    pub(super) const fn one(number: u8) -> Self {
        Self(1 << number)
    }

    /// What is in either set.
    pub(super) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether nothing is in it.
    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the number is in it.
    pub(super) fn contains(self, number: i8) -> bool {
        self.from(number).first() == Some(number)
    }

    /// What of it is not below the number.
    pub(super) const fn from(self, number: i8) -> Self {
        Self(if number < 64 { self.0 & (u64::MAX << number) } else { 0 })
    }

    /// What of it is not above the number.
    pub(super) const fn upto(self, number: i8) -> Self {
        Self(if number < 0 { 0 } else { self.0 & (u64::MAX >> (63 - number)) })
    }

    /// Its smallest number.
    pub(super) fn first(self) -> Option<i8> {
        (!self.is_empty()).then(|| self.lowest())
    }

    /// Its largest number.
    pub(super) fn last(self) -> Option<i8> {
        (!self.is_empty()).then(|| self.highest())
    }

    #[expect(clippy::cast_possible_truncation, reason = "a bit's place is at most 64")]
    const fn lowest(self) -> i8 {
        self.0.trailing_zeros() as i8
    }

    #[expect(clippy::cast_possible_truncation, reason = "a bit's place is at most 64")]
    const fn highest(self) -> i8 {
        63 - self.0.leading_zeros() as i8
    }
}

/// The times of day that match: each second whose second, minute and hour all do.
///
/// **Invariant:** none of the three sets is empty, and none holds what the clock does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) seconds: Bits,
    pub(super) minutes: Bits,
    pub(super) hours: Bits,
}

impl Times {
    /// The first of a day.
    pub(super) fn first(&self) -> Time {
        time(self.hours.lowest(), self.minutes.lowest(), self.seconds.lowest(), 0)
    }

    /// The last of a day.
    pub(super) fn last(&self) -> Time {
        time(self.hours.highest(), self.minutes.highest(), self.seconds.highest(), 0)
    }

    /// The first of a day that is not before `from`.
    pub(super) fn first_from(&self, from: Time) -> Option<Time> {
        let (hour, minute) = (from.hour(), from.minute());
        if self.hours.contains(hour) {
            if self.minutes.contains(minute)
                && let Some(second) = self.seconds.from(from.second()).first()
            {
                return Some(time(hour, minute, second, 0));
            }
            if let Some(minute) = self.minutes.from(minute + 1).first() {
                return Some(time(hour, minute, self.seconds.lowest(), 0));
            }
        }
        let hour = self.hours.from(hour + 1).first()?;
        Some(time(hour, self.minutes.lowest(), self.seconds.lowest(), 0))
    }

    /// The last of a day that is not after `upto`.
    pub(super) fn last_upto(&self, upto: Time) -> Option<Time> {
        let (hour, minute) = (upto.hour(), upto.minute());
        if self.hours.contains(hour) {
            if self.minutes.contains(minute)
                && let Some(second) = self.seconds.upto(upto.second()).last()
            {
                return Some(time(hour, minute, second, 0));
            }
            if let Some(minute) = self.minutes.upto(minute - 1).last() {
                return Some(time(hour, minute, self.seconds.highest(), 0));
            }
        }
        let hour = self.hours.upto(hour - 1).last()?;
        Some(time(hour, self.minutes.highest(), self.seconds.highest(), 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_answer_at_both_ends_of_the_word() {
        let bits = Bits::range(0, 63, 1);
        assert_eq!((bits.first(), bits.last()), (Some(0), Some(63)));
        assert_eq!(bits.from(63).first(), Some(63));
        assert_eq!(bits.from(64).first(), None);
        assert_eq!(bits.upto(0).last(), Some(0));
        assert_eq!(bits.upto(-1).last(), None);
        assert_eq!(Bits::range(0, 59, 60), Bits::one(0));
    }

    #[test]
    fn times_carry_from_second_to_minute_to_hour() {
        let times = Times {
            seconds: Bits::range(10, 20, 10),
            minutes: Bits::range(0, 30, 30),
            hours: Bits::range(2, 22, 20),
        };
        assert_eq!(times.first_from(time(0, 0, 0, 0)), Some(time(2, 0, 10, 0)));
        assert_eq!(times.first_from(time(2, 0, 11, 0)), Some(time(2, 0, 20, 0)));
        assert_eq!(times.first_from(time(2, 0, 21, 0)), Some(time(2, 30, 10, 0)));
        assert_eq!(times.first_from(time(2, 30, 21, 0)), Some(time(22, 0, 10, 0)));
        assert_eq!(times.first_from(time(22, 30, 21, 0)), None);
        assert_eq!(times.last_upto(time(23, 59, 59, 0)), Some(time(22, 30, 20, 0)));
        assert_eq!(times.last_upto(time(22, 30, 9, 0)), Some(time(22, 0, 20, 0)));
        assert_eq!(times.last_upto(time(22, 0, 9, 0)), Some(time(2, 30, 20, 0)));
        assert_eq!(times.last_upto(time(2, 0, 9, 0)), None);
    }
}
