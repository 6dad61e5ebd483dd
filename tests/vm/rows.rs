//! What rows say of a schedule's instants.

use jobctl::engine::record::RunRecord;
use jobctl::engine::run::Status;
use jobctl::engine::time::Timestamp;

/// Instants by their second.
pub(crate) fn second(at: Timestamp) -> i64 {
    at.as_second()
}

/// Rows of a job that fires each `period` seconds account for each instant between two moments, exactly once.
#[track_caller]
pub(crate) fn assert_each_once(rows: &[RunRecord], period: i64, from: i64, until: i64) {
    let mut stretches: Vec<(i64, i64, &RunRecord)> = rows.iter().map(stretch).collect();
    stretches.sort_unstable_by_key(|(first, last, _)| (*first, *last));
    for (first, last, row) in &stretches {
        assert_eq!((last - first) / period + 1, i64::try_from(row.fires).unwrap(), "{row:#?}");
    }
    for pair in stretches.windows(2) {
        let ((_, before, row), (after, _, next)) = (&pair[0], &pair[1]);
        assert_eq!(*after, before + period, "one fire follows the other: {row:#?}\n{next:#?}");
    }
    let (first, last) = (stretches.first().unwrap().0, stretches.last().unwrap().1);
    assert!(first <= from, "it begins with {first}, after {from}");
    assert!(last > until - period, "it ends with {last}, long before {until}");
}

/// The first and the last second that a row stands for.
fn stretch(row: &RunRecord) -> (i64, i64, &RunRecord) {
    let first = row.scheduled_at.unwrap();
    (second(first), second(row.scheduled_until.unwrap_or(first)), row)
}

pub(crate) fn with(rows: &[RunRecord], status: Status) -> Vec<&RunRecord> {
    rows.iter().filter(|row| row.status == status).collect()
}
