//! The fires of many jobs in the order of their instants.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::stretch::Stretch;
use crate::engine::job::JobSpec;
use crate::engine::occurrence::{Fire, next_fire};
use crate::engine::time::Timestamp;

/// The fires of a stretch, job by job at each instant, one by one: however many there are, few are held.
pub(crate) struct Coming<'a> {
    specs: Vec<&'a JobSpec>,
    next: BinaryHeap<Reverse<(Fire, usize)>>,
    to: Timestamp,
}

impl<'a> Coming<'a> {
    pub(crate) fn new(specs: impl IntoIterator<Item = &'a JobSpec>, stretch: &Stretch) -> Self {
        let specs: Vec<&JobSpec> = specs.into_iter().collect();
        let first = |(index, spec): (usize, &&JobSpec)| {
            next_fire(spec, stretch.before()).map(|fire| Reverse((fire, index)))
        };
        let next = specs.iter().enumerate().filter_map(first).collect();
        Self { specs, next, to: stretch.to }
    }
}

impl<'a> Iterator for Coming<'a> {
    type Item = (&'a JobSpec, Fire);

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((fire, index)) = self.next.pop()?;
        if fire.at >= self.to {
            return None;
        }
        let spec = self.specs[index];
        self.next.extend(next_fire(spec, fire.at).map(|fire| Reverse((fire, index))));
        Some((spec, fire))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::spec;
    use super::*;

    #[test]
    fn fires_come_in_order_from_the_first_instant_up_to_the_last() {
        let specs = [spec("b", "0 * * * *"), spec("a", "*/30 * * * *"), spec("never", "@reboot")];
        let at = |text: &str| text.parse().unwrap();
        let stretch = Stretch { from: at("2026-11-01T01:00:00Z"), to: at("2026-11-01T02:00:00Z") };
        let fires: Vec<_> = Coming::new(&specs, &stretch)
            .map(|(spec, fire)| (spec.name.as_str(), fire.at.to_string()))
            .collect();
        let expected = [
            ("b", "2026-11-01T01:00:00Z".to_owned()),
            ("a", "2026-11-01T01:00:00Z".to_owned()),
            ("a", "2026-11-01T01:30:00Z".to_owned()),
        ];
        assert_eq!(fires, expected);
    }
}
