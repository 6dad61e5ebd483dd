//! Bytes for people.

use std::fmt;

const BINARY: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
const DECIMAL: [(u64, &str); 4] =
    [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];

/// A number of bytes in the unit that suits it: `100 MB`, `4.1 GB`, `512 bytes`; what is whole in a binary unit is
/// told in that one, `64 KiB`, as it was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount(pub u64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suits = |units: [(u64, &'static str); 4]| units.into_iter().find(|(unit, _)| self.0 >= *unit);
        if let Some((unit, name)) = suits(BINARY).filter(|(unit, _)| self.0.is_multiple_of(*unit)) {
            return write!(f, "{} {name}", self.0 / unit);
        }
        let Some((unit, name)) = suits(DECIMAL) else {
            return write!(f, "{} byte{}", self.0, if self.0 == 1 { "" } else { "s" });
        };
        match self.0 % unit / (unit / 10) {
            0 => write!(f, "{} {name}", self.0 / unit),
            tenths => write!(f, "{}.{tenths} {name}", self.0 / unit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_unit_that_suits_them() {
        let cases = [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1_000, "1 kB"),
            (1_024, "1 KiB"),
            (65_536, "64 KiB"),
            (100_000_000, "100 MB"),
            (104_857_600, "100 MiB"),
            (4_199_999_999, "4.1 GB"),
            (u64::MAX, "18446744 TB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(Amount(bytes).to_string(), text);
        }
    }
}
