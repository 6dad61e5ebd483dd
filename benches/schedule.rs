//! What one step of a schedule costs: nanoseconds for each `next`, `previous` and `parse`.
//!
//! Run it with `cargo bench --bench schedule`. Each line is one expression in one zone: a walk of many steps for the
//! usual ones; for the rarest, single calls, of which the slowest is printed. The limits are 2 µs for the usual
//! expressions and 1 ms for the worst that is legal.

use std::hint::black_box;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use jobctl::engine::schedule::Schedule;

/// How many steps a walk takes.
const STEPS: u32 = 20_000;
/// How often a single call is timed.
const CALLS: u32 = 200;
const USUAL_LIMIT: u128 = 2_000;
const WORST_LIMIT: u128 = 1_000_000;

const USUAL: [&str; 10] = [
    "* * * * *",
    "*/5 * * * *",
    "0 * * * *",
    "30 2 * * *",
    "0 10 1 * *",
    "0 9 * * 1-5",
    "0 0 L * *",
    "0 0 * * 5#2",
    "*/10 * * * * *",
    "@every 90s",
];
const ZONES: [&str; 4] = ["UTC", "Asia/Seoul", "America/New_York", "Australia/Lord_Howe"];

/// The rarest fires there are, and at the end rules for times that New York's clock leaves out on those days.
const RARE: [&str; 7] = [
    "0 0 29 2 1",
    "0 0 29 2 *",
    "0 0 29 2 */7",
    "59 59 23 31 12 5#5",
    "59 59 23 * 2 0#5",
    "* 2 8-14 3 */7",
    "*/59 2 */8 3 0#2",
];

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Nanoseconds for each step of a walk from `start`.
fn walk(start: Timestamp, step: impl Fn(Timestamp) -> Option<Timestamp>) -> u128 {
    let mut at = start;
    let took = timed(|| {
        for _ in 0..STEPS {
            at = black_box(step(at)).unwrap_or(start);
        }
    });
    took.as_nanos() / u128::from(STEPS)
}

/// Nanoseconds of the median call.
fn call(work: impl Fn() -> Option<Timestamp>) -> u128 {
    let mut all: Vec<u128> = (0..CALLS).map(|_| timed(|| _ = black_box(work())).as_nanos()).collect();
    all.sort_unstable();
    all[all.len() / 2]
}

fn parsed(text: &str) -> Option<Schedule> {
    Schedule::parse(text).inspect_err(|error| eprintln!("{text}: {error}")).ok()
}

fn main() {
    let start = Timestamp::from_second(1_750_000_000).unwrap_or(Timestamp::UNIX_EPOCH);
    let (mut usual, mut worst) = (0, 0);
    println!("{:20} {:20} {:>10} {:>10} {:>10}", "usual", "zone", "next ns", "previous", "parse");
    for (text, zone) in USUAL.iter().flat_map(|text| ZONES.iter().map(move |zone| (text, zone))) {
        let (Some(schedule), Ok(tz)) = (parsed(text), TimeZone::get(zone)) else { continue };
        let next = walk(start, |at| schedule.next(&tz, at));
        let previous = walk(start, |at| schedule.previous(&tz, at));
        let parse = walk(start, |at| parsed(black_box(text)).map(|_| at));
        usual = usual.max(next).max(previous);
        println!("{text:20} {zone:20} {next:>10} {previous:>10} {parse:>10}");
    }
    for (text, zone) in RARE.iter().flat_map(|text| ZONES.iter().map(move |zone| (text, zone))) {
        let (Some(schedule), Ok(tz)) = (parsed(text), TimeZone::get(zone)) else { continue };
        let next = call(|| schedule.next(&tz, black_box(start)));
        let previous = call(|| schedule.previous(&tz, black_box(start)));
        worst = worst.max(next).max(previous);
        println!("{text:20} {zone:20} {next:>10} {previous:>10}");
    }
    println!("slowest usual {usual} ns of {USUAL_LIMIT}, slowest rare {worst} ns of {WORST_LIMIT}");
}
