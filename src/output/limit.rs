//! How much of the output the file keeps: its beginning and its end.
//!
//! **Invariant:** no I/O, and memory that does not grow with the output. Whatever is left out is what lies between two
//! borders of records, the first of which never moves.

use std::collections::VecDeque;
use std::ops::Range;

use crate::engine::time::Timestamp;

/// A limit is kept in so many grains: that is how exact the end is, and how many borders are remembered at most.
const GRAINS: u64 = 1024;
/// The smallest grain, bytes: with less than a few pages of a file nothing is given back to the disk.
const GRAIN_MIN: u64 = 16 * 1024;
/// A job that is over its limit goes on until so much more is there, this part of the limit, before some is left out:
/// doing it seldom costs nothing.
const STEP_PART: u64 = 8;
const STEP_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A border between two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Border {
    /// Where it is in the file.
    offset: u64,
    /// How many of the job's bytes are before it.
    bytes: u64,
}

/// What is to be left out now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    /// All that is left out, this time and before.
    pub(super) gap: Range<u64>,
    /// What of it has not been before.
    pub(super) fresh: Range<u64>,
    /// How many bytes of the job's the gap has held.
    pub(super) left_out: u64,
    /// When the record ahead of the gap was written.
    pub(super) at: Timestamp,
}

/// Watches the records go by, and says what is to be left out.
#[derive(Debug)]
pub(super) struct Limit {
    bytes: u64,
    tail: u64,
    grain: u64,
    step: u64,
    /// Where the beginning ends, once it does.
    head: Option<(Border, Timestamp)>,
    /// Where the end begins, once something is left out.
    resumed: Option<Border>,
    /// Borders behind that, the last of which may still be in a batch.
    borders: VecDeque<Border>,
    /// After how many bytes the next border is wanted.
    next: u64,
}

impl Limit {
    /// Half of so many bytes is for the beginning, half for the end.
    pub(super) fn new(bytes: u64) -> Self {
        let grain = (bytes / GRAINS).max(GRAIN_MIN);
        Self {
            bytes,
            tail: bytes - bytes / 2,
            grain,
            step: (bytes / STEP_PART).min(STEP_BYTES_MAX).max(4 * grain),
            head: None,
            resumed: None,
            borders: VecDeque::new(),
            next: bytes / 2,
        }
    }

    /// How many bytes that is.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A record is going to begin here, behind so many bytes of the job's.
    pub(super) fn pass(&mut self, offset: u64, bytes: u64, at: Timestamp) {
        if bytes < self.next {
            return;
        }
        let border = Border { offset, bytes };
        if self.head.is_none() {
            self.head = Some((border, at));
        } else {
            self.borders.push_back(border);
        }
        self.next = bytes + self.grain;
    }

    /// The file has been cut back to this length: no record has begun behind it.
    pub(super) fn forget(&mut self, length: u64) {
        while self.borders.back().is_some_and(|border| border.offset > length) {
            self.borders.pop_back();
        }
        let head = self.head.map(|(border, _)| border);
        if head.is_some_and(|border| border.offset > length) {
            self.head = None;
            self.next = self.bytes / 2;
            return;
        }
        let last = self.borders.back().copied().or(self.resumed).or(head);
        self.next = last.map_or(self.next, |border| border.bytes + self.grain);
    }

    /// What to leave out while the job writes, of which the file has got so many bytes.
    pub(super) fn due(&mut self, written: u64) -> Option<Cut> {
        self.cut(written, self.step)
    }

    /// What to leave out when it has written all.
    pub(super) fn due_at_the_end(&mut self, written: u64) -> Option<Cut> {
        self.cut(written, self.grain)
    }

    fn cut(&mut self, written: u64, least: u64) -> Option<Cut> {
        let (head, at) = self.head.filter(|_| written > self.bytes)?;
        let before = self.resumed.unwrap_or(head);
        let reached = written - self.tail;
        let count = self.borders.partition_point(|border| border.bytes <= reached);
        let resumed = *self.borders.get(count.checked_sub(1)?)?;
        if resumed.bytes - before.bytes < least {
            return None;
        }
        self.borders.drain(..count);
        self.resumed = Some(resumed);
        Some(Cut {
            gap: head.offset..resumed.offset,
            fresh: before.offset..resumed.offset,
            left_out: resumed.bytes - head.bytes,
            at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EPOCH: Timestamp = Timestamp::UNIX_EPOCH;

    /// Records of so many bytes, each of which takes 50 more in the file, and what is left out of them in the end.
    fn written(limit: &mut Limit, records: &[u64]) -> (Vec<Cut>, u64, u64) {
        let (mut offset, mut bytes, mut cuts) = (0, 0, Vec::new());
        for record in records {
            limit.pass(offset, bytes, EPOCH);
            (offset, bytes) = (offset + record + 50, bytes + record);
            cuts.extend(limit.due(bytes));
        }
        cuts.extend(limit.due_at_the_end(bytes));
        (cuts, offset, bytes)
    }

    #[test]
    fn up_to_the_limit_nothing_is_left_out() {
        let mut limit = Limit::new(10_000_000);
        assert_eq!(written(&mut limit, &vec![1_000; 10_000]).0, []);
        assert!(limit.borders.len() <= 700);
    }

    #[test]
    fn a_batch_that_failed_leaves_no_borders() {
        let mut limit = Limit::new(100_000);
        limit.pass(60_000, 55_000, EPOCH);
        limit.pass(90_000, 80_000, EPOCH);
        limit.forget(70_000);
        assert_eq!((limit.head.map(|(border, _)| border.offset), limit.borders.len()), (Some(60_000), 0));
        limit.pass(70_000, 70_000, EPOCH);
        assert_eq!(limit.borders.len(), 0, "a grain is not full yet");
        limit.pass(80_000, 72_000, EPOCH);
        assert_eq!(limit.borders.len(), 1);
        limit.forget(10_000);
        assert_eq!((limit.head, limit.borders.len(), limit.next), (None, 0, 50_000));
    }

    proptest! {
        /// Whatever the records: the gap begins where the first half is full and only grows, the last half is never
        /// touched, and in the end little more than that is kept.
        #[test]
        fn half_at_each_end_is_kept(
            bytes in 0_u64..3_000_000,
            records in prop::collection::vec(1_u64..16_385, 0..800),
        ) {
            let mut limit = Limit::new(bytes);
            let (cuts, _, all) = written(&mut limit, &records);
            for pair in cuts.windows(2) {
                prop_assert_eq!(pair[0].gap.start, pair[1].gap.start);
                prop_assert_eq!(pair[0].gap.end, pair[1].fresh.start);
                prop_assert!(pair[0].left_out < pair[1].left_out);
            }
            let left_out = cuts.last().map_or(0, |cut| cut.left_out);
            prop_assert!(left_out == 0 || all - left_out >= bytes);
            prop_assert!(all - left_out <= bytes + 2 * limit.grain + 3 * 16_384);
            if let Some(first) = cuts.first() {
                prop_assert_eq!(first.gap.clone(), first.fresh.clone());
                prop_assert!(first.gap.start >= bytes / 2);
            }
        }
    }
}
