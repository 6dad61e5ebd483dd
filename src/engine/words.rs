//! Words that every part puts in the same way.

use std::error::Error;

/// An error with all its causes, in a line.
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A size in the unit that suits it: `512 B`, `1.5 KiB`, `3.0 GiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const STEP: u64 = 1024;
    let mut unit = 1_u64;
    let mut names = ["KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut name = "B";
    while bytes / unit >= STEP {
        let Some(next) = names.next() else { break };
        (unit, name) = (unit * STEP, next);
    }
    if unit == 1 {
        format!("{bytes} B")
    } else {
        format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
