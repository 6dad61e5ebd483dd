//! What starts together: a stretch of time, minute by minute.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use super::coming::Coming;
use super::stretch::Stretch;
use crate::engine::job::{JobName, JobSpec};
use crate::engine::occurrence::exclusion;
use crate::engine::time::Timestamp;

/// The most fires that are counted: seconds of work.
const FIRES_MAX: usize = 2_000_000;
/// How many of the busiest minutes are kept.
const BUSIEST_MAX: usize = 5;

/// What starts in a minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Minute {
    /// When it begins.
    pub(crate) at: Timestamp,
    pub(crate) jobs: BTreeSet<JobName>,
    /// More than there are jobs, if one of them fires by the second.
    pub(crate) fires: u64,
}

/// What starts in a stretch. Fires that their jobs' entries decide against are left out.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) fires: u64,
    pub(crate) jobs: BTreeSet<JobName>,
    /// The minutes in which most jobs start, then most fires, then the first ones.
    pub(crate) busiest: Vec<Minute>,
    /// Starts by hour of the day and day of the week, from Monday on.
    pub(crate) hours: [[u64; 7]; 24],
    /// Starts by minute of the hour.
    pub(crate) minutes: [u64; 60],
    /// Where the count ended, if that was before the stretch's end: there were too many fires.
    pub(crate) ended_early: Option<Timestamp>,
}

impl Load {
    /// Counts what starts in the stretch, by the zone's clock.
    pub(crate) fn count<'a>(
        specs: impl IntoIterator<Item = &'a JobSpec>,
        stretch: &Stretch,
        zone: &TimeZone,
    ) -> Self {
        let mut load = Self {
            fires: 0,
            jobs: BTreeSet::new(),
            busiest: Vec::new(),
            hours: [[0; 7]; 24],
            minutes: [0; 60],
            ended_early: None,
        };
        let mut open: BTreeMap<i64, Minute> = BTreeMap::new();
        for (looked_at, (spec, fire)) in Coming::new(specs, stretch).enumerate() {
            if looked_at >= FIRES_MAX {
                load.ended_early = Some(fire.at);
                break;
            }
            // No fire to come starts before this one's instant.
            while let Some(minute) = open.first_entry().filter(|minute| *minute.key() < minute_of(fire.at)) {
                load.add(minute.remove(), zone);
            }
            if exclusion(spec, fire.at).is_none() {
                open.entry(minute_of(fire.starts))
                    .or_insert_with(|| Minute::beginning(fire.starts))
                    .add(spec);
            }
        }
        for minute in open.into_values() {
            load.add(minute, zone);
        }
        load
    }

    /// The busiest minute of all.
    pub(crate) fn peak(&self) -> Option<&Minute> {
        self.busiest.first()
    }

    fn add(&mut self, minute: Minute, zone: &TimeZone) {
        let local = minute.at.to_zoned(zone.clone());
        let (hour, of_hour) = (index(local.hour()), index(local.minute()));
        self.hours[hour][index(local.weekday().to_monday_zero_offset())] += minute.fires;
        self.minutes[of_hour] += minute.fires;
        self.fires += minute.fires;
        self.jobs.extend(minute.jobs.iter().cloned());
        let rank = |minute: &Minute| (minute.jobs.len(), minute.fires);
        let place = self.busiest.partition_point(|other| rank(other) >= rank(&minute));
        if place < BUSIEST_MAX {
            self.busiest.insert(place, minute);
            self.busiest.truncate(BUSIEST_MAX);
        }
    }
}

impl Minute {
    fn beginning(at: Timestamp) -> Self {
        let at = Timestamp::from_second(minute_of(at) * 60).unwrap_or(at);
        Self { at, jobs: BTreeSet::new(), fires: 0 }
    }

    fn add(&mut self, spec: &JobSpec) {
        self.fires += 1;
        if !self.jobs.contains(&spec.name) {
            self.jobs.insert(spec.name.clone());
        }
    }
}

/// Zones' offsets are whole minutes in our time, so a minute of any clock is one of UTC.
fn minute_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

fn index(number: i8) -> usize {
    usize::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::testing::spec;
    use super::*;

    fn count(specs: &[JobSpec], to: &str) -> Load {
        let stretch = Stretch { from: "2026-11-01T00:00:00Z".parse().unwrap(), to: to.parse().unwrap() };
        Load::count(specs, &stretch, &TimeZone::get("Asia/Seoul").unwrap())
    }

    #[test]
    fn the_busiest_minute_is_the_one_with_most_jobs() {
        let specs = [spec("a", "0 * * * *"), spec("b", "*/30 * * * *"), spec("seconds", "* 5 0 * * *")];
        let load = count(&specs, "2026-11-02T00:00:00Z");
        assert_eq!((load.fires, load.jobs.len()), (24 + 48 + 60, 3));
        let ranks: Vec<_> = load.busiest.iter().map(|minute| (minute.jobs.len(), minute.fires)).collect();
        assert_eq!(ranks, [(2, 2); 5]);
        assert_eq!(load.peak().unwrap().at, "2026-11-01T00:00:00Z".parse().unwrap());
        // Midnight in UTC is 9 o'clock in Seoul; the first of November was a Sunday.
        assert_eq!((load.hours[9][6], load.hours[10][6], load.hours[9][0]), (63, 3, 0));
        assert_eq!((load.minutes[0], load.minutes[30], load.minutes[5], load.minutes[7]), (48, 24, 60, 0));
        assert_eq!(load.ended_early, None);
    }

    #[test]
    fn fires_by_the_second_are_counted_up_to_a_bound() {
        let load = count(&[spec("seconds", "* * * * * *")], "2027-11-01T00:00:00Z");
        assert_eq!(load.fires, FIRES_MAX as u64);
        assert_eq!(load.ended_early.unwrap(), "2026-11-24T03:33:20Z".parse().unwrap());
        assert_eq!(count(&[], "2027-11-01T00:00:00Z").peak(), None);
    }
}
