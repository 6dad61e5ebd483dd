//! `jobctl show`: all that is known of a job or a run.

use std::path::Path;

use jiff::tz::TimeZone;

use super::Session;
use super::args::{ShowArgs, Target};
use super::error::CliError;
use super::history::ending;
use super::inspect;
use super::rules;
use super::source::Source;
use super::table;
use super::terminal::Terminal;
use super::text;
use crate::api::types::{GroupLimitsView, JobView, RunDetail};
use crate::engine::job::Command;
use crate::engine::pause::Pause;
use crate::engine::policy::{CatchUp, Leftover};
use crate::engine::record::RunRecord;
use crate::engine::resources::{Rlimit, RlimitPair};
use crate::engine::run::KnownBy;

pub(crate) async fn show(session: &mut Session<'_>, args: ShowArgs) -> Result<u8, CliError> {
    let source = Source::open(session).await?;
    match args.target {
        Target::Run(run) => {
            let detail = source.run(run).await?;
            if session.json {
                session.terminal.print_json(&detail)?;
            } else {
                let text = run_block(&session.terminal, &detail);
                session.terminal.print(&text)?;
            }
        }
        Target::Job(name) => {
            let job = source.job(&name).await?;
            if session.json {
                session.terminal.print_json(&job)?;
            } else {
                session.terminal.print(&job_block(&job))?;
            }
        }
    }
    Ok(super::exit::DONE)
}

/// What is written; where an `H` is in it, with the number that it stands for.
fn schedules(job: &JobView) -> String {
    let shown = |(written, resolved): (&String, &String)| {
        if written == resolved { written.clone() } else { format!("{written} ({resolved})") }
    };
    job.schedules.iter().zip(&job.resolved).map(shown).collect::<Vec<_>>().join(" | ")
}

/// A job's times stand in its own zone, which the block names.
fn job_block(job: &JobView) -> String {
    let zone = TimeZone::get(&job.timezone).unwrap_or(TimeZone::UTC);
    let none = || "none".to_owned();
    let mut facts = vec![
        ("description", job.description.as_deref().map_or_else(none, |text| text::inert(text).into_owned())),
        ("schedule", schedules(job)),
        ("timezone", job.timezone.clone()),
        ("next", job.next_fire.map_or_else(none, |at| text::local(at, &zone))),
    ];
    facts.push(match &job.command {
        Command::Argv(words) => {
            ("command", words.iter().map(|word| text::shell_word(word)).collect::<Vec<_>>().join(" "))
        }
        Command::Shell(line) => ("shell", text::inert(line).into_owned()),
    });
    facts.extend(rules::day_facts(&job.rules));
    facts.extend(identity_facts(job));
    facts.extend(resource_facts(job));
    facts.extend([
        ("timeout", rules::timeout(job)),
        ("kill_grace", text::limit(job.kill_grace_ms)),
        ("stop_signals", job.stop_signals.join(" ")),
        ("leftover", leftover(job.leftover).to_owned()),
        ("output_limit", job.output_limit_bytes.map_or_else(none, text::exact_size)),
    ]);
    facts.extend(rules::order_facts(job));
    facts.extend([
        ("catch_up", catch_up(job.catch_up).to_owned()),
        ("catch_up_window", text::limit(job.catch_up_window_ms)),
    ]);
    facts.extend(rules::watch_facts(&job.rules));
    facts.push(("alert", if job.alert.is_empty() { none() } else { job.alert.join(" ") }));
    if let Some(run) = &job.last_run {
        let took = run.duration_ms.map(|ms| format!(", {}", text::took(ms))).unwrap_or_default();
        let line = format!("{} {} at {}{took}", run.run_id, run.status, text::local(run.started_at, &zone));
        facts.push(("last run", line));
    }
    if let Some(pause) = &job.paused {
        facts.push(("paused", pause_line(pause, &zone)));
    }
    if let Some(since) = job.incident_since {
        facts.push(("in trouble", format!("since {}", text::local(since, &zone))));
    }
    table::facts(job.name.as_str(), &facts)
}

/// Since when, by whom, until when and why.
pub(super) fn pause_line(pause: &Pause, zone: &TimeZone) -> String {
    let local = |at| text::local(at, zone);
    let until = pause.until.map_or_else(|| "without an end".to_owned(), |at| format!("until {}", local(at)));
    let all = if pause.job.is_none() { ", with all jobs" } else { "" };
    let why = pause.why.as_ref().map(|why| format!(": {}", text::inert(why))).unwrap_or_default();
    format!("since {} by {}, {until}{all}{why}", local(pause.since), text::inert(&pause.by))
}

/// Where, as whom and with what it runs.
fn identity_facts(job: &JobView) -> [(&'static str, String); 8] {
    let list = |words: &[String]| if words.is_empty() { "none".to_owned() } else { words.join(" ") };
    let path = |path: &Path| text::inert(&path.to_string_lossy()).into_owned();
    [
        ("cwd", path(&job.cwd)),
        ("stdin", job.stdin.as_deref().map_or_else(|| "/dev/null".to_owned(), path)),
        ("user", job.user.clone().unwrap_or_else(|| "jobd's own".to_owned())),
        ("groups", job.groups.as_deref().map_or_else(|| "the user's".to_owned(), list)),
        ("no_new_privileges", job.no_new_privileges.to_string()),
        ("umask", job.umask.clone()),
        ("env", list(&job.env)),
        ("env_file", job.env_file.as_deref().map_or_else(|| "none".to_owned(), path)),
    ]
}

/// What it may use of the host.
fn resource_facts(job: &JobView) -> [(&'static str, String); 4] {
    let own = || "jobd's own".to_owned();
    let rlimits: Vec<_> = job.rlimits.iter().map(|(name, pair)| rlimit(*name, *pair)).collect();
    [
        ("nice", job.nice.map_or_else(own, |nice| nice.to_string())),
        ("ionice", job.ionice.clone().unwrap_or_else(own)),
        ("rlimits", if rlimits.is_empty() { own() } else { rlimits.join(" ") }),
        ("limits", limits(&job.limits)),
    ]
}

/// A limit of a process: `nofile=4096`, or `nproc=100:200` where the soft one differs from the hard one.
fn rlimit(name: Rlimit, RlimitPair { soft, hard }: RlimitPair) -> String {
    let value = |limit: Option<u64>| match limit {
        None => "unlimited".to_owned(),
        Some(bytes) if name.counts_bytes() => text::exact_size(bytes),
        Some(count) => count.to_string(),
    };
    let name = name.as_str();
    if soft == hard {
        format!("{name}={}", value(hard))
    } else {
        format!("{name}={}:{}", value(soft), value(hard))
    }
}

/// The limits of a run as a whole.
fn limits(limits: &GroupLimitsView) -> String {
    let words = [
        limits.memory_bytes.map(|bytes| format!("memory={}", text::exact_size(bytes))),
        limits.cpu_percent.map(|percent| format!("cpu={percent}%")),
        limits.pids.map(|pids| format!("pids={pids}")),
    ];
    let mut words: Vec<_> = words.into_iter().flatten().collect();
    if words.is_empty() {
        return "none".to_owned();
    }
    words.push(if limits.required { "required" } else { "not required" }.to_owned());
    words.join(" ")
}

const fn leftover(policy: Leftover) -> &'static str {
    match policy {
        Leftover::Kill => "kill",
        Leftover::Warn => "warn",
        Leftover::Allow => "allow",
    }
}

const fn catch_up(policy: CatchUp) -> &'static str {
    match policy {
        CatchUp::Skip => "skip",
        CatchUp::Latest => "latest",
        CatchUp::All => "all",
    }
}

fn run_block(terminal: &Terminal, detail: &RunDetail) -> String {
    let run = &detail.run;
    let local = |at| text::local(at, &terminal.zone);
    let inert = |text: &String| text::inert(text).into_owned();
    let facts = [
        ("status", Some(run.status.to_string())),
        ("reason", run.reason.as_ref().map(inert)),
        ("trigger", Some(run.triggered_by.to_string())),
        ("attempt", (run.attempt > 0).then(|| attempt(detail))),
        ("other tries", tries(&detail.tries)),
        ("not before", detail.not_before.map(local)),
        ("scheduled", run.scheduled_at.map(local)),
        ("until", run.scheduled_until.map(local)),
        ("fires", (run.fires > 1).then(|| run.fires.to_string())),
        ("started", Some(local(run.started_at))),
        ("completed", run.completed_at.map(local)),
        ("took", run.duration_ms.map(text::took)),
        ("exit", ending(run)),
        ("pid", run.pid.map(|pid| pid.to_string())),
        ("cpu", run.cpu_ms.map(text::took)),
        ("peak memory", run.max_rss_kib.map(|kib| text::size(kib.saturating_mul(1024)))),
        ("output", run.output_bytes.map(text::size)),
        (
            "left out",
            detail
                .end
                .as_ref()
                .filter(|end| end.output_left_out > 0)
                .map(|end| text::size(end.output_left_out)),
        ),
        ("left alive", tree(detail)),
        ("folder", detail.folder.as_ref().map(|path| text::inert(&path.to_string_lossy()).into_owned())),
        ("message", run.message.as_ref().map(inert)),
    ];
    let known: Vec<_> = facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let mut block = table::facts(&format!("run {} of {}", run.run_id, run.task_name), &known);
    if let Some(error) = &run.error_message {
        block.push_str("  error\n");
        for line in error.lines() {
            block.push_str(format!("    {}", text::inert_bytes(line.as_bytes())).trim_end());
            block.push('\n');
        }
    }
    if let Some(evidence) = &detail.evidence {
        block.push_str(&inspect::block(terminal, evidence));
    }
    block
}

/// Which try of its fire it is, of how many.
fn attempt(detail: &RunDetail) -> String {
    let attempt = detail.run.attempt;
    match detail.attempts_max {
        Some(most) if most >= attempt && most > 1 => format!("{attempt} of {most}"),
        _ => attempt.to_string(),
    }
}

/// The other tries of its fire, each with how it went.
fn tries(tries: &[RunRecord]) -> Option<String> {
    let words: Vec<String> = tries.iter().map(|run| format!("{} {}", run.run_id, run.status)).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// What was left of the processes, where that is worth a word.
fn tree(detail: &RunDetail) -> Option<String> {
    let tree = detail.end.as_ref()?.tree.as_ref()?;
    let left: Vec<String> =
        tree.left.iter().map(|left| text::inert(&left.to_string()).into_owned()).collect();
    let left = if left.is_empty() { "none".to_owned() } else { left.join(", ") };
    Some(format!("{left} ({})", known_by(tree.known_by)))
}

/// How it is known what is left.
const fn known_by(known_by: KnownBy) -> &'static str {
    match known_by {
        KnownBy::Cgroup => "by its control group",
        KnownBy::Children => "by its tree of processes",
        KnownBy::Environment => "by its processes' variables",
    }
}

#[cfg(test)]
mod tests {
    use super::super::terminal::testing::pipe;
    use super::super::testing::{job, record};
    use super::*;
    use crate::engine::run::Status;

    #[test]
    fn a_job_shows_every_default() {
        let mut job = job("backup");
        job.last_run = Some(record(7, "backup", Status::Failed));
        job.incident_since = Some("2026-11-01T01:31:12Z".parse().unwrap());
        let expected = "\
backup
  description        none
  schedule           0 10 1 * *
  timezone           Asia/Seoul
  next               2026-12-01 10:00:00
  command            python3 'back up.py'
  jitter             0s
  calendar           none
  blackouts          none
  starts_on          none
  ends_on            none
  after              none
  cwd                /srv/academy
  stdin              /dev/null
  user               jobd's own
  groups             the user's
  no_new_privileges  false
  umask              0022
  env                API_KEY LANG
  env_file           none
  nice               jobd's own
  ionice             jobd's own
  rlimits            jobd's own
  limits             none
  timeout            30m
  kill_grace         10s
  stop_signals       TERM:10s KILL
  leftover           kill
  output_limit       100MB
  overlap            skip
  queue_limit        10
  locks              none
  pools              none
  busy               wait
  priority           0
  retry              none
  catch_up           latest
  catch_up_window    1d
  late_after         none
  must_finish_by     none
  max_since_success  none
  warn_after         none
  min_duration       none
  silence            none
  usual              none
  alert              ops
  last run           7 FAILED at 2026-11-01 10:00:00, 31m 12s
  in trouble         since 2026-11-01 10:31:12
";
        assert_eq!(job_block(&job), expected);
    }

    #[test]
    fn limits_are_shown_as_they_are_written() {
        let pair = |soft, hard| RlimitPair { soft, hard };
        assert_eq!(rlimit(Rlimit::As, pair(Some(2 << 30), Some(2 << 30))), "as=2GiB");
        assert_eq!(rlimit(Rlimit::Nproc, pair(Some(100), Some(200))), "nproc=100:200");
        assert_eq!(rlimit(Rlimit::Stack, pair(Some(8 << 20), None)), "stack=8MiB:unlimited");
        let view = GroupLimitsView {
            memory_bytes: Some(1 << 29),
            cpu_percent: Some(150),
            pids: Some(9),
            required: true,
        };
        assert_eq!(limits(&view), "memory=512MiB cpu=150% pids=9 required");
        let view = GroupLimitsView { pids: Some(9), ..GroupLimitsView::default() };
        assert_eq!(limits(&view), "pids=9 not required");
    }

    #[test]
    fn a_run_shows_what_is_known_and_nothing_else() {
        let terminal = pipe("2026-11-01T12:00:00Z");
        let mut run = record(7, "backup", Status::Failed);
        (run.exit_code, run.max_rss_kib) = (Some(3), Some(1536));
        run.error_message = Some("disk full\n\x1b[2J".to_owned());
        let detail = RunDetail {
            run,
            folder: Some("/var/lib/jobd/runs/2026-11-01/7".into()),
            end: None,
            evidence: None,
            tries: Vec::new(),
            attempts_max: None,
            not_before: None,
        };
        let expected = "\
run 7 of backup
  status       FAILED
  trigger      schedule
  attempt      1
  scheduled    2026-11-01 10:00:00
  started      2026-11-01 10:00:00
  completed    2026-11-01 10:31:12
  took         31m 12s
  exit         3
  peak memory  1.5 MiB
  folder       /var/lib/jobd/runs/2026-11-01/7
  error
    disk full
    \\u{1b}[2J
";
        assert_eq!(run_block(&terminal, &detail), expected);
    }
}
