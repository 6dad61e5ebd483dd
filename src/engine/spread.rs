//! Numbers that look drawn and are not: what spreads jobs apart, and is the same on every host and after every restart.

use sha2::{Digest, Sha256};

/// A number below `bound` that follows from the words alone; 0 where the bound is 0.
#[must_use]
pub fn spread(words: &[&[u8]], bound: u64) -> u64 {
    let mut digest = Sha256::new();
    for word in words {
        // With its length ahead, so that no two lists of words read the same.
        digest.update((word.len() as u64).to_be_bytes());
        digest.update(word);
    }
    let first = digest.finalize().iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte));
    first.checked_rem(bound).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_give_the_same_number_for_good() {
        // These are in people's schedules: a change would move jobs.
        assert_eq!(spread(&[b"backup", b"minute"], 60), spread(&[b"backup", b"minute"], 60));
        assert_ne!(spread(&[b"ab", b"c"], u64::MAX), spread(&[b"a", b"bc"], u64::MAX));
        assert_eq!(spread(&[b"backup"], 0), 0);
        assert_eq!(spread(&[b"backup"], 1), 0);
    }
}
