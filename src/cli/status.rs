//! `jobctl status`: how jobd is.

use std::fmt::Write as _;

use super::Session;
use super::error::{CliError, exit};
use super::source::Source;
use super::table;
use super::terminal::Terminal;
use super::text;
use crate::api::types::{AlertBacklog, State, StatusReport};
use crate::engine::pause::Pause;

pub(crate) async fn status(session: &mut Session<'_>) -> Result<u8, CliError> {
    let report = Source::open_without_zone(session).await?.status().await?;
    session.terminal.use_zone(report.timezone.as_deref());
    if session.json {
        session.terminal.print_json(&report)?;
    } else {
        let text = render(&session.terminal, &report);
        session.terminal.print(&text)?;
    }
    Ok(if report.state == State::Ready { exit::DONE } else { exit::NOT_REACHABLE })
}

fn render(terminal: &Terminal, report: &StatusReport) -> String {
    let local = |at| text::local(at, &terminal.zone);
    let inert = |text: &str| text::inert(text).into_owned();
    let title = match report.state {
        State::Down => "jobd is down".to_owned(),
        state => format!("jobd {} is {}", report.version, state.as_str()),
    };
    let since = report.started_at.map(|at| format!("{} ({})", local(at), text::between(at, terminal.now)));
    let jobs = report.jobs.map_or_else(|| "unknown".to_owned(), |jobs| jobs.to_string());
    let next = report.next_fire.as_ref().map(|fire| format!("{} at {}", fire.job, local(fire.at)));
    let store = match &report.store.error {
        Some(error) => format!("{}: FAILING: {}", report.store.path.display(), inert(error)),
        None => format!("{}: works", report.store.path.display()),
    };
    let facts = [
        ("host", Some(inert(&report.host))),
        ("pid", report.pid.map(|pid| pid.to_string())),
        ("since", since),
        ("last seen", report.last_seen.map(local)),
        ("config", Some(format!("{}, {jobs} jobs", report.config.display()))),
        ("runs", Some(format!("{} running, {} queued", report.running, report.queued))),
        ("paused", paused(&report.pauses)),
        ("next", Some(next.unwrap_or_else(|| "none".to_owned()))),
        ("store", Some(store)),
        ("alerts", Some(alerts(terminal, &report.alerts))),
    ];
    let known: Vec<_> = facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let mut block = table::facts(&title, &known);
    for incident in &report.incidents {
        let runs =
            if incident.bad_runs == 1 { "1 bad run" } else { &format!("{} bad runs", incident.bad_runs) };
        let _ = writeln!(block, "trouble: {} since {}, {runs}", incident.job, local(incident.since));
    }
    for problem in &report.problems {
        let _ = writeln!(block, "problem: {}", text::inert(problem));
    }
    block
}

/// How many jobs are paused, or that all are.
fn paused(pauses: &[Pause]) -> Option<String> {
    let jobs = pauses.iter().filter(|pause| pause.job.is_some()).count();
    match (jobs, pauses.len()) {
        (_, 0) => None,
        (1, 1) => Some("1 job".to_owned()),
        (jobs, all) if jobs == all => Some(format!("{jobs} jobs")),
        _ => Some("all jobs".to_owned()),
    }
}

fn alerts(terminal: &Terminal, backlog: &AlertBacklog) -> String {
    if backlog.waiting == 0 {
        return "none waiting".to_owned();
    }
    let oldest = backlog.oldest.map(|at| format!(", the oldest since {}", text::local(at, &terminal.zone)));
    let error = backlog.last_error.as_ref().map(|error| format!(": {}", text::inert(error)));
    format!("{} waiting{}{}", backlog.waiting, oldest.unwrap_or_default(), error.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::terminal::testing::pipe;
    use super::*;
    use crate::api::types::{Incident, NextFire, StoreHealth};
    use crate::engine::job::JobName;

    fn report() -> StatusReport {
        StatusReport {
            state: State::Ready,
            version: "0.1.0".to_owned(),
            host: "erp-1".to_owned(),
            timezone: Some("Asia/Seoul".to_owned()),
            pid: Some(812),
            started_at: Some("2026-11-01T00:00:00Z".parse().unwrap()),
            last_seen: None,
            config: "/etc/jobd/jobs.toml".into(),
            jobs: Some(4),
            running: 1,
            queued: 0,
            next_fire: Some(NextFire {
                job: JobName::new("backup").unwrap(),
                at: "2026-11-01T14:00:00Z".parse().unwrap(),
            }),
            store: StoreHealth { path: "/var/lib/jobd".into(), error: None },
            alerts: AlertBacklog::default(),
            incidents: Vec::new(),
            pauses: Vec::new(),
            problems: Vec::new(),
        }
    }

    #[test]
    fn a_healthy_jobd_is_told_in_a_few_lines() {
        let terminal = pipe("2026-11-01T03:02:00Z");
        let expected = "\
jobd 0.1.0 is ready
  host    erp-1
  pid     812
  since   2026-11-01 09:00:00 (3h 2m)
  config  /etc/jobd/jobs.toml, 4 jobs
  runs    1 running, 0 queued
  next    backup at 2026-11-01 23:00:00
  store   /var/lib/jobd: works
  alerts  none waiting
";
        assert_eq!(render(&terminal, &report()), expected);
    }

    #[test]
    fn what_is_wrong_stands_out() {
        let terminal = pipe("2026-11-01T03:02:00Z");
        let mut report = report();
        report.store.error = Some("disk full".to_owned());
        report.alerts = AlertBacklog {
            waiting: 3,
            oldest: report.started_at,
            last_error: Some("503 Service Unavailable".to_owned()),
        };
        let job = JobName::new("backup").unwrap();
        report.incidents =
            vec![Incident { job, since: "2026-11-01T01:00:00Z".parse().unwrap(), bad_runs: 2 }];
        report.problems = vec!["the cgroup can't be made".to_owned()];
        let text = render(&terminal, &report);
        let expected = "  store   /var/lib/jobd: FAILING: disk full
  alerts  3 waiting, the oldest since 2026-11-01 09:00:00: 503 Service Unavailable
trouble: backup since 2026-11-01 10:00:00, 2 bad runs
problem: the cgroup can't be made
";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn a_jobd_that_is_down_shows_when_it_was_last_seen() {
        let terminal = pipe("2026-11-01T03:02:00Z");
        let mut down = report();
        (down.state, down.pid, down.started_at) = (State::Down, None, None);
        down.last_seen = Some("2026-11-01T02:00:00Z".parse().unwrap());
        let text = render(&terminal, &down);
        assert!(
            text.starts_with("jobd is down\n  host       erp-1\n  last seen  2026-11-01 11:00:00\n"),
            "{text}"
        );
    }
}
