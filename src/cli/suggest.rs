//! `jobctl suggest`: time limits of two to three times what a job usually takes.

use clap::Args;
use serde::Serialize;

use super::Session;
use super::error::CliError;
use super::source::Source;
use super::table::{Table, cell, optional};
use super::terminal::Terminal;
use super::text;
use super::usual::{History, Usual};
use crate::api::types::JobView;
use crate::engine::job::JobName;

/// With fewer successes than this, what is usual is not known.
const RUNS_MIN: usize = 5;
/// The shortest limit that is suggested, milliseconds: a host under load makes any job slow.
const LEAST_MS: u64 = 10_000;
/// A limit this many times the usual lets a run hang for long.
const LOOSE: u64 = 10;
/// Limits that people write, seconds, up to a day; none is more than half as long again as the one before.
const ROUND: [u64; 24] = [
    10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 420, 600, 900, 1200, 1800, 2700, 3600, 5400, 7200,
    10_800, 14_400, 21_600, 28_800,
];
const HOUR_MS: u64 = 3_600_000;

#[derive(Debug, Args)]
pub(crate) struct SuggestArgs {
    /// A job's name [default: every job]
    job: Option<String>,
}

/// What `suggest --json` prints.
#[derive(Serialize)]
struct Suggestions {
    jobs: Vec<Suggestion>,
}

/// What is known of how long a job takes, and what follows for its limit.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Suggestion {
    job: JobName,
    /// How many successes that is known from, at most 200, the newest ones.
    runs: usize,
    p50_ms: Option<u64>,
    p95_ms: Option<u64>,
    longest_ms: Option<u64>,
    /// The job's limit now; `null` is none.
    timeout_ms: Option<u64>,
    /// `null` where too little is known.
    suggested_ms: Option<u64>,
    /// What is wrong with the limit as it is, or why none is suggested.
    remark: Option<String>,
}

pub(crate) async fn suggest(session: &mut Session<'_>, args: SuggestArgs) -> Result<u8, CliError> {
    let source = Source::open(session).await?;
    let jobs = match &args.job {
        Some(name) => vec![source.job(name).await?],
        None => source.jobs().await?,
    };
    let history = match source {
        Source::Jobd(client) => History::Jobd(client),
        Source::Files(_) => History::files(session).await?,
    };
    let mut suggestions = Vec::new();
    for job in &jobs {
        suggestions.push(suggestion(job, &history.usual(&job.name).await?));
    }
    if session.json {
        session.terminal.print_json(&Suggestions { jobs: suggestions })?;
    } else if suggestions.is_empty() {
        session.terminal.say("no jobs: register one under [jobs] in the configuration");
    } else {
        let text = render(&session.terminal, &suggestions);
        session.terminal.print(&text)?;
    }
    Ok(super::exit::DONE)
}

fn suggestion(job: &JobView, usual: &Usual) -> Suggestion {
    let p95 = usual.percentile(95);
    let known = p95.filter(|_| usual.runs() >= RUNS_MIN);
    let suggested = known.map(|p95| limit(p95, usual.longest().unwrap_or(p95)));
    Suggestion {
        job: job.name.clone(),
        runs: usual.runs(),
        p50_ms: usual.percentile(50),
        p95_ms: p95,
        longest_ms: usual.longest(),
        timeout_ms: job.timeout_ms,
        suggested_ms: suggested,
        remark: remark(job.timeout_ms, usual, known),
    }
}

/// The first round limit that is at least twice the usual, and no less than any success has taken.
fn limit(p95: u64, longest: u64) -> u64 {
    let least = p95.saturating_mul(2).max(longest).max(LEAST_MS);
    let round = ROUND.into_iter().map(|seconds| seconds * 1000).find(|round| *round >= least);
    round.unwrap_or_else(|| least.div_ceil(HOUR_MS).saturating_mul(HOUR_MS))
}

fn remark(timeout: Option<u64>, usual: &Usual, known: Option<u64>) -> Option<String> {
    let Some(p95) = known else {
        let successes =
            if usual.runs() == 1 { "1 success".to_owned() } else { format!("{} successes", usual.runs()) };
        return Some(format!("{successes}: too few to say, {RUNS_MIN} are needed"));
    };
    let Some(timeout) = timeout else { return Some("without a limit, a hang lasts for good".to_owned()) };
    if timeout < p95 {
        return Some("the limit is below what it usually takes: good runs are killed".to_owned());
    }
    let tight = usual.longest().is_some_and(|longest| timeout < longest);
    if tight {
        return Some("the limit is below what its longest success took".to_owned());
    }
    let loose = timeout >= p95.saturating_mul(LOOSE) && timeout > limit(p95, usual.longest().unwrap_or(p95));
    loose.then(|| format!("a hang is noticed after {} times the usual", timeout / p95.max(1)))
}

fn render(terminal: &Terminal, suggestions: &[Suggestion]) -> String {
    let header = ["JOB", "RUNS", "P50", "P95", "LONGEST", "NOW", "SUGGESTED", "REMARK"];
    let mut table = Table::new(terminal, &header).right(1).right(2).right(3).right(4).right(5);
    for suggestion in suggestions {
        let line = |limit: u64| format!("timeout = \"{}\"", text::limit(limit));
        table.row(vec![
            cell(suggestion.job.as_str()),
            cell(&suggestion.runs.to_string()),
            optional(suggestion.p50_ms.map(text::took)),
            optional(suggestion.p95_ms.map(text::took)),
            optional(suggestion.longest_ms.map(text::took)),
            cell(&suggestion.timeout_ms.map_or_else(|| "none".to_owned(), text::limit)),
            optional(suggestion.suggested_ms.map(line)),
            cell(suggestion.remark.as_deref().unwrap_or("")),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::super::terminal::testing::pipe;
    use super::super::testing::job;
    use super::*;

    const MINUTE: u64 = 60_000;

    fn of(timeout: Option<u64>, durations: &[u64]) -> Suggestion {
        let mut job = job("backup");
        job.timeout_ms = timeout;
        suggestion(&job, &Usual::of(durations.iter().copied()))
    }

    #[test]
    fn a_limit_is_two_to_three_times_the_usual_and_round() {
        for p95 in [10_000, 12_345, 59_000, 61_000, 4 * MINUTE, 11 * MINUTE, 3 * HOUR_MS, 9 * HOUR_MS] {
            let limit = limit(p95, p95);
            assert!((p95 * 2..=p95 * 3).contains(&limit), "{p95}: {limit}");
        }
        assert_eq!(limit(18 * MINUTE, 18 * MINUTE), 45 * MINUTE);
        assert_eq!(limit(1, 1), LEAST_MS, "a loaded host is slow");
        assert_eq!(limit(MINUTE, 30 * MINUTE), 30 * MINUTE, "no success is to be killed");
        assert_eq!(limit(u64::MAX, u64::MAX) / HOUR_MS, u64::MAX / HOUR_MS);
    }

    #[test]
    fn a_limit_that_does_harm_is_named() {
        let usual = [4 * MINUTE; 20];
        let remark = |timeout, durations: &[u64]| of(timeout, durations).remark.unwrap_or_default();
        assert_eq!(remark(Some(10 * MINUTE), &usual), "");
        assert!(remark(Some(3 * MINUTE), &usual).contains("good runs are killed"));
        assert_eq!(remark(Some(HOUR_MS), &usual), "a hang is noticed after 15 times the usual");
        assert!(remark(None, &usual).contains("lasts for good"));
        assert_eq!(remark(Some(HOUR_MS), &[MINUTE; 4]), "4 successes: too few to say, 5 are needed");
        let mut uneven = vec![MINUTE; 99];
        uneven.push(20 * MINUTE);
        assert!(remark(Some(10 * MINUTE), &uneven).contains("longest success"));
        assert_eq!(remark(Some(10_000), &[1; 9]), "", "the least limit is never too loose");
    }

    #[test]
    fn each_job_has_a_line_to_paste() {
        let known = of(Some(HOUR_MS), &[2 * MINUTE, 3 * MINUTE, 4 * MINUTE, 4 * MINUTE, 4 * MINUTE]);
        let text = render(&pipe("2026-11-01T01:00:00Z"), &[known, of(None, &[])]);
        let expected = "\
JOB     RUNS    P50    P95  LONGEST   NOW  SUGGESTED        REMARK
backup     5  4m 0s  4m 0s    4m 0s    1h  timeout = \"10m\"  a hang is noticed after 15 times the usual
backup     0      -      -        -  none  -                0 successes: too few to say, 5 are needed
";
        assert_eq!(text, expected);
    }
}
