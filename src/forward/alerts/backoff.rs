//! How long to wait before a message is tried again.

use std::time::Duration;

/// The wait after a failed try: doubles from `first` to `max` with the tries before it, less up to a fifth.
///
/// The fifth keeps messages that failed together from being tried together for ever. It is taken from the message's
/// number, not from chance, so that the same history gives the same waits.
pub(super) fn delay(first: Duration, max: Duration, id: u64, tries: u32) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(tries)).min(max);
    let share = u32::from(scatter(id, tries));
    let shortened = doubled.saturating_sub(doubled / 5 / u32::from(u16::MAX) * share);
    shortened.clamp(first.min(max), max)
}

/// A number from 0 to 65,535 that looks like chance: the finalizer of `SplitMix64`.
fn scatter(id: u64, tries: u32) -> u16 {
    let seed = id ^ (u64::from(tries) << 48);
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let [low, high, ..] = (mixed ^ (mixed >> 31)).to_le_bytes();
    u16::from_le_bytes([low, high])
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_mins(5);

    #[test]
    fn doubles_and_stays_within_its_bounds() {
        for id in 0..500 {
            for tries in 0..64 {
                let full = FIRST.saturating_mul(2_u32.saturating_pow(tries)).min(MAX);
                let waited = delay(FIRST, MAX, id, tries);
                assert!(
                    waited <= full && waited >= full * 4 / 5 && waited >= FIRST,
                    "{id} {tries} {waited:?}"
                );
            }
        }
        assert!(delay(FIRST, MAX, 1, u32::MAX) <= MAX);
    }

    #[test]
    fn messages_that_failed_together_part_ways_and_the_same_one_does_not_waver() {
        let waits: std::collections::BTreeSet<_> = (0..100).map(|id| delay(FIRST, MAX, id, 9)).collect();
        assert!(waits.len() > 95, "{}", waits.len());
        assert_eq!(delay(FIRST, MAX, 7, 3), delay(FIRST, MAX, 7, 3));
    }
}
