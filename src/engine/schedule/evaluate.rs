//! From civil time to instants: the fires of a calendar rule in a zone.
//!
//! A zone is taken as it is: stretches of constant offset, with a jump of the civil clock between two of them. Within
//! a stretch civil time and instants run alike, so a search is plain calendar work; what a jump does to a job is said
//! in one place, [`Calendar::opening`].

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneTransition};
use jiff::{SignedDuration, Timestamp};

use super::ClockChange;
use super::days::Days;
use super::times::Times;

/// The longest jump of an offset that fixed jobs are shielded from; a longer one is a new clock. Debian cron's limit.
const LONGEST_SHIELDED: i32 = 3 * 60 * 60;
/// For how long after a jump it may bear on a fire: the limit, and the minute that a whole minute may be away.
const UNSETTLED: SignedDuration = SignedDuration::from_secs(LONGEST_SHIELDED as i64 + 60);
/// How far a search goes. The calendar repeats after 400 years and so do the zones' rules, once their tables end (in
/// 2037); before the tables begin, no day is rarer than one in 40 years. What has not fired in 700 years never does.
const HORIZON: SignedDuration = SignedDuration::from_hours(700 * 366 * 24);
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// A rule made of fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Calendar {
    pub(super) days: Days,
    pub(super) times: Times,
    /// Whether the minute or the hour field begins with `*`: such a job follows the clock through its jumps.
    pub(super) wild: bool,
}

impl Calendar {
    /// The first fire at or after a whole second.
    pub(super) fn first_at_or_after(&self, zone: &TimeZone, mut from: Timestamp) -> Option<Timestamp> {
        let horizon = from.checked_add(HORIZON).unwrap_or(Timestamp::MAX);
        while from <= horizon {
            let stretch = Stretch::around(zone, from);
            if let Some(fire) = self.first_in(zone, &stretch, from) {
                return Some(fire);
            }
            from = self.leap_on(stretch.end?)?;
        }
        None
    }

    /// The last fire at or before a whole second.
    pub(super) fn last_at_or_before(&self, zone: &TimeZone, mut upto: Timestamp) -> Option<Timestamp> {
        let horizon = upto.checked_sub(HORIZON).unwrap_or(Timestamp::MIN);
        while upto >= horizon {
            let stretch = Stretch::around(zone, upto);
            if let Some(fire) = self.last_in(zone, &stretch, upto) {
                return Some(fire);
            }
            upto = self.leap_back(stretch.begin?)?;
        }
        None
    }

    /// The first fire of a stretch that is not before `from`.
    fn first_in(&self, zone: &TimeZone, stretch: &Stretch, from: Timestamp) -> Option<Timestamp> {
        let opening = if stretch.is_settled(from) { None } else { self.opening(zone, stretch) };
        let civil = stretch.offset.to_datetime(from);
        let regular = match opening {
            Some(Opening::Repeat { until }) => self.first_civil(civil.max(until)),
            _ => self.first_civil(civil),
        };
        let regular = regular.and_then(|civil| stretch.instant(civil));
        match opening {
            Some(Opening::MadeUp { at }) if at >= from => Some(regular.map_or(at, |fire| fire.min(at))),
            _ => regular,
        }
    }

    /// The last fire of a stretch that is not after `upto`.
    fn last_in(&self, zone: &TimeZone, stretch: &Stretch, upto: Timestamp) -> Option<Timestamp> {
        let civil = self.last_civil(stretch.offset.to_datetime(upto));
        let regular = civil.and_then(|civil| stretch.instant(civil));
        if regular.is_some_and(|fire| stretch.is_settled(fire)) {
            return regular;
        }
        match self.opening(zone, stretch) {
            Some(Opening::Repeat { until }) => regular.filter(|_| civil >= Some(until)),
            Some(Opening::MadeUp { at }) if at <= upto => Some(regular.map_or(at, |fire| fire.max(at))),
            None | Some(Opening::MadeUp { .. }) => regular,
        }
    }

    /// What the jump that a stretch begins with means for this job; `None` when nothing.
    fn opening(&self, zone: &TimeZone, stretch: &Stretch) -> Option<Opening> {
        if self.wild {
            return None;
        }
        match stretch.jump(zone)? {
            Jump::Back { until } => Some(Opening::Repeat { until }),
            Jump::Ahead { left_out, to, at } => {
                let due = self.first_civil(left_out)?;
                (due < to).then_some(Opening::MadeUp { at })
            }
        }
    }

    /// What a change of the clock has to do with a fire at this instant.
    pub(super) fn clock_change(&self, zone: &TimeZone, at: Timestamp) -> Option<ClockChange> {
        let stretch = Stretch::around(zone, at);
        let civil = stretch.offset.to_datetime(at);
        if let Some(Jump::Ahead { left_out, to, at: made_up }) = stretch.jump(zone)
            && !self.wild
            && made_up == at
            && self.first_civil(civil) != Some(civil)
        {
            return self
                .first_civil(left_out)
                .filter(|named| *named < to)
                .map(|named| ClockChange::Gap { named });
        }
        match zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Fold { before, after }
                if before.seconds() - after.seconds() <= LONGEST_SHIELDED =>
            {
                let second = stretch.offset == after;
                Some(if self.wild { ClockChange::BothPasses { second } } else { ClockChange::FirstPass })
            }
            _ => None,
        }
    }

    /// Where to go on when a stretch that ends at `end` has no fire left: nothing fires in between.
    ///
    /// From `end` on, the civil clock shows nothing that lies before `end` at the lowest offset there is; and the
    /// first match from there is not reached before the highest offset reaches it. So decades without a match are one
    /// step, not one for each change of the clock in them.
    fn leap_on(&self, end: Timestamp) -> Option<Timestamp> {
        let due = self.first_civil(Offset::MIN.to_datetime(end))?;
        Some(Offset::MAX.to_timestamp(due).map_or(end, |earliest| earliest.max(end)))
    }

    /// Where to go on when a stretch that begins at `begin` has no fire before: the mirror of [`Self::leap_on`].
    fn leap_back(&self, begin: Timestamp) -> Option<Timestamp> {
        let end = begin.checked_sub(SECOND).ok()?;
        let due = self.last_civil(Offset::MAX.to_datetime(end))?;
        Some(Offset::MIN.to_timestamp(due).map_or(end, |latest| latest.min(end)))
    }

    /// The first match that is not before a civil time.
    fn first_civil(&self, from: DateTime) -> Option<DateTime> {
        if self.days.contains(from.date())
            && let Some(time) = self.times.first_from(from.time())
        {
            return Some(from.date().to_datetime(time));
        }
        Some(self.days.first_after(from.date())?.to_datetime(self.times.first()))
    }

    /// The last match that is not after a civil time.
    fn last_civil(&self, upto: DateTime) -> Option<DateTime> {
        if self.days.contains(upto.date())
            && let Some(time) = self.times.last_upto(upto.time())
        {
            return Some(upto.date().to_datetime(time));
        }
        Some(self.days.last_before(upto.date())?.to_datetime(self.times.last()))
    }
}

/// What the jump at a stretch's beginning means for a fixed job.
#[derive(Debug, Clone, Copy)]
enum Opening {
    /// Until then the clock shows what it has shown already: no fires.
    Repeat { until: DateTime },
    /// Matches were left out: one fire for all of them.
    MadeUp { at: Timestamp },
}

/// A jump of the civil clock that is small enough for fixed jobs to be shielded from it.
#[derive(Debug, Clone, Copy)]
enum Jump {
    /// An overlap: the clock went back from `until`.
    Back { until: DateTime },
    /// A gap: the clock went from `left_out` to `to`; the first whole minute after that is `at`.
    Ahead { left_out: DateTime, to: DateTime, at: Timestamp },
}

/// A stretch of a zone's time without a change of offset.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// Its first instant; `None` when it has none.
    begin: Option<Timestamp>,
    /// The instant after its last; `None` when it has none.
    end: Option<Timestamp>,
    offset: Offset,
}

impl Stretch {
    /// The stretch that an instant lies in. Zones change on whole seconds.
    fn around(zone: &TimeZone, second: Timestamp) -> Self {
        let before = second.checked_add(SECOND).unwrap_or(Timestamp::MAX);
        let begin = zone.preceding(before).next();
        Self {
            offset: begin.as_ref().map_or_else(|| zone.to_offset(second), TimeZoneTransition::offset),
            begin: begin.map(|change| change.timestamp()),
            // A zone file without any change and without a rule answers with the beginning of time.
            end: zone.following(second).next().map(|change| change.timestamp()).filter(|end| *end > second),
        }
    }

    /// Whether the jump at the beginning is too long ago to bear on a fire at the instant.
    fn is_settled(&self, instant: Timestamp) -> bool {
        self.begin.is_none_or(|begin| instant.duration_since(begin) >= UNSETTLED)
    }

    /// The instant at which the stretch shows a civil time, if it does.
    fn instant(&self, civil: DateTime) -> Option<Timestamp> {
        let instant = self.offset.to_timestamp(civil).ok()?;
        let inside =
            self.begin.is_none_or(|begin| begin <= instant) && self.end.is_none_or(|end| instant < end);
        inside.then_some(instant)
    }

    /// The jump of the civil clock at the beginning; `None` when it stands still or jumps too far.
    fn jump(&self, zone: &TimeZone) -> Option<Jump> {
        let begin = self.begin?;
        let earlier = zone.to_offset(begin.checked_sub(SECOND).ok()?);
        let (was, is) = (earlier.to_datetime(begin), self.offset.to_datetime(begin));
        match self.offset.seconds() - earlier.seconds() {
            1..=LONGEST_SHIELDED => {
                let at =
                    begin.checked_add(SignedDuration::from_secs(i64::from((60 - is.second()) % 60))).ok()?;
                Some(Jump::Ahead { left_out: was, to: is, at })
            }
            jump if (-LONGEST_SHIELDED..0).contains(&jump) => Some(Jump::Back { until: was }),
            _ => None,
        }
    }
}
