//! `kill -9` of jobd, and of its shims, at random moments while jobs fire each second.
//!
//! Several jobds side by side, each with its share of the kills. Judged from outside: by a file to which the jobs
//! append, by the seconds of the clock, by what each job is known to print and to exit with, and by what a webhook was
//! told. `KILLS=2000` kills that often.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![expect(unreachable_pub, reason = "the modules of a test are its own")]

mod alerts;
mod ends;
mod victim;

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/jobd.rs"]
mod jobd;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/webhook.rs"]
mod webhook;

use std::collections::BTreeMap;

use jobctl::engine::record::RunRecord;
use jobctl::engine::run::Status;

use victim::Victim;

/// How many jobds there are at once: most of a kill is waiting.
const JOBDS: u32 = 6;
/// Kills of jobd when nothing else is asked for.
const KILLS: u32 = 25;

/// What happened, for the line at the end.
#[derive(Default)]
struct Figures {
    kills: u32,
    shims: usize,
    fires: BTreeMap<(Status, String), u64>,
    alerts: usize,
    told_twice: usize,
}

impl Figures {
    fn add(&mut self, rows: &[RunRecord]) {
        for row in rows {
            let key = (row.status, row.triggered_by.as_str().to_owned());
            *self.fires.entry(key).or_default() += row.fires;
        }
    }

    fn join(&mut self, other: Self) {
        self.kills += other.kills;
        self.shims += other.shims;
        self.alerts += other.alerts;
        self.told_twice += other.told_twice;
        for (key, fires) in other.fires {
            *self.fires.entry(key).or_default() += fires;
        }
    }

    fn print(&self) {
        let fires: u64 = self.fires.values().sum();
        let kinds: Vec<String> =
            self.fires.iter().map(|((status, by), n)| format!("{n} {status} {by}")).collect();
        println!(
            "{} kills of jobd and {} of shims, {fires} fires ({}), {} alerts and {} of them again: none lost, none \
             doubled, every end and output true, nothing left running",
            self.kills,
            self.shims,
            kinds.join(", "),
            self.alerts,
            self.told_twice
        );
    }

    fn happened(&self, status: Status) -> bool {
        self.fires.keys().any(|(found, _)| *found == status)
    }
}

#[test]
fn kills_at_random_moments_cost_nothing() {
    let kills: u32 = std::env::var("KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let mut all = Figures::default();
    std::thread::scope(|scope| {
        let share = |jobd| kills / JOBDS + u32::from(jobd < kills % JOBDS);
        let victims: Vec<_> =
            (0..JOBDS).map(|jobd| scope.spawn(move || Victim::started().suffer(share(jobd)))).collect();
        for victim in victims {
            all.join(victim.join().unwrap());
        }
    });
    all.print();
    for status in [Status::Success, Status::Failed, Status::Lost] {
        assert!(all.happened(status), "nothing is {status}, so not all was tested");
    }
}
