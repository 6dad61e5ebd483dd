//! A simulated machine around the real engine: years of faults in seconds, the same history for the same seed.
//!
//! The store fails before it has committed, *or after*; shims die at their gates; processes fail to start, overrun,
//! ignore SIGTERM, outlive jobd, vanish with their shim, or live on after SIGKILL for up to an hour; jobd crashes and
//! stays down for up to 20 minutes; the host reboots and sleeps; the wall clock jumps; a person runs, stops, pauses and
//! makes up for jobs; runs are in each other's way. Two hours of that, then half an hour of calm in which all must
//! settle. What must hold is in `oracle` and its neighbours.
//!
//! `SEEDS=20000` runs that many, `SEED=8` runs one and prints its history.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unreachable_pub, reason = "the modules of a test are its own")]

mod fate;
mod ledger;
mod machine;
mod oracle;
mod oracle_arm;
mod oracle_follow;
mod oracle_order;
mod oracle_patience;
mod person;
mod process;
mod rng;
mod shims;
mod world;

use machine::{Listener, Machine};
use world::Totals;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn run(seed: u64, listener: Listener) -> Result<(u64, Machine), String> {
    let mut machine = Machine::new(seed, listener);
    machine.run().map_err(|problem| format!("seed {seed}: {problem}"))?;
    oracle::check(&machine).map_err(|problem| format!("seed {seed}: {problem}"))?;
    oracle_follow::check(&mut machine).map_err(|problem| format!("seed {seed}: {problem}"))?;
    oracle_arm::check(&machine).map_err(|problem| format!("seed {seed}: {problem}"))?;
    Ok((machine.fingerprint(), machine))
}

#[test]
fn every_history_keeps_the_promises() {
    if let Some(seed) = number("SEED") {
        run(seed, Listener::Person).unwrap();
        return;
    }
    let seeds = number("SEEDS").unwrap_or(40);
    let mut totals = Totals::default();
    for seed in 0..seeds {
        let (_, machine) = run(seed, Listener::Nobody).unwrap_or_else(|problem| panic!("{problem}"));
        totals.add(&machine.totals);
    }
    println!("{seeds} histories: {totals:?}");
    let quiet = totals.quiet();
    assert!(quiet.is_empty(), "in {seeds} histories these never happened, so nothing was tested: {quiet:?}");
}

#[test]
fn a_seed_is_a_history() {
    for seed in 0..5 {
        assert_eq!(run(seed, Listener::Fingerprint).unwrap().0, run(seed, Listener::Fingerprint).unwrap().0);
    }
}
