//! What `jobctl show` says of a job's days, its turn, its tries and its watch: each key with its default.

use super::text;
use crate::api::rules::{
    AfterView, BlackoutView, CalendarView, FinishByView, JobRules, RetryView, SilenceView, UsualView,
};
use crate::api::types::JobView;
use crate::engine::after::{AfterEnd, Same};
use crate::engine::calendar::OnHoliday;
use crate::engine::job::JobName;
use crate::engine::policy::{Busy, Overlap};
use crate::engine::watch::SilenceAction;

/// A key and its value.
type Fact = (&'static str, String);

/// On which days it fires, and which jobs come first.
pub(super) fn day_facts(rules: &JobRules) -> [Fact; 6] {
    let blackouts: Vec<_> = rules.blackouts.iter().map(blackout).collect();
    [
        ("jitter", text::limit(rules.jitter_ms)),
        ("calendar", rules.calendar.as_ref().map_or_else(none, calendar)),
        ("blackouts", if blackouts.is_empty() { none() } else { blackouts.join(" | ") }),
        ("starts_on", rules.starts_on.map_or_else(none, |day| day.to_string())),
        ("ends_on", rules.ends_on.map_or_else(none, |day| day.to_string())),
        ("after", rules.after.as_ref().map_or_else(none, after)),
    ]
}

/// Which runs may be active beside it, and what follows a bad end.
pub(super) fn order_facts(job: &JobView) -> [Fact; 7] {
    let rules = &job.rules;
    let pools: Vec<_> = rules.pools.iter().map(|(name, places)| format!("{name}={places}")).collect();
    let list = |words: &[String]| if words.is_empty() { none() } else { words.join(" ") };
    [
        ("overlap", overlap(job.overlap).to_owned()),
        ("queue_limit", rules.queue_limit.to_string()),
        ("locks", list(&rules.locks)),
        ("pools", list(&pools)),
        ("busy", busy(rules.busy).to_owned()),
        ("priority", rules.priority.to_string()),
        ("retry", rules.retry.as_ref().map_or_else(none, retry)),
    ]
}

/// What it is watched for.
pub(super) fn watch_facts(rules: &JobRules) -> [Fact; 7] {
    let limit = |milliseconds: Option<u64>| milliseconds.map_or_else(none, text::limit);
    [
        ("late_after", limit(rules.late_after_ms)),
        ("must_finish_by", rules.must_finish_by.map_or_else(none, finish_by)),
        ("max_since_success", limit(rules.max_since_success_ms)),
        ("warn_after", limit(rules.warn_after_ms)),
        ("min_duration", limit(rules.min_duration_ms)),
        ("silence", rules.silence.map_or_else(none, silence)),
        ("usual", rules.usual.map_or_else(none, usual)),
    ]
}

/// The limit of a run.
pub(super) fn timeout(job: &JobView) -> String {
    let limit = job.timeout_ms.map_or_else(none, text::limit);
    match job.rules.auto_timeout {
        Some(learned) => format!("auto {}, {limit} until then", usual(learned)),
        None => limit,
    }
}

fn none() -> String {
    "none".to_owned()
}

fn calendar(calendar: &CalendarView) -> String {
    let on_holiday = match calendar.on_holiday {
        OnHoliday::Skip => "skip",
        OnHoliday::Next => "next",
        OnHoliday::Previous => "previous",
    };
    let weekends = if calendar.weekends_off { "off" } else { "business" };
    format!("{} on_holiday={on_holiday} weekends={weekends}", text::inert(&calendar.name))
}

fn blackout(blackout: &BlackoutView) -> String {
    format!("{} for {}", blackout.schedule, text::limit(blackout.duration_ms))
}

fn after(after: &AfterView) -> String {
    let jobs: Vec<_> = after.jobs.iter().map(JobName::as_str).collect();
    let on = match after.on {
        AfterEnd::Success => "success",
        AfterEnd::Failure => "failure",
        AfterEnd::Always => "always",
    };
    let same = match after.same {
        Same::Day => "day",
        Same::Fire => "fire",
    };
    format!("{} on={on} same={same} within={}", jobs.join(" "), text::limit(after.within_ms))
}

fn retry(retry: &RetryView) -> String {
    let on: Vec<_> = retry.on.iter().map(|status| status.as_str().to_lowercase()).collect();
    format!(
        "attempts={} delay={} backoff={} max_delay={} jitter={} on={}",
        retry.attempts,
        text::limit(retry.delay_ms),
        retry.backoff,
        text::limit(retry.max_delay_ms),
        text::limit(retry.jitter_ms),
        on.join(",")
    )
}

fn finish_by(by: FinishByView) -> String {
    match by {
        FinishByView::TimeOfDay(time) if time.second() == 0 => time.strftime("%H:%M").to_string(),
        FinishByView::TimeOfDay(time) => time.strftime("%H:%M:%S").to_string(),
        FinishByView::AfterMs(after) => text::limit(after),
    }
}

fn silence(silence: SilenceView) -> String {
    let action = match silence.action {
        SilenceAction::Warn => "warn",
        SilenceAction::Kill => "kill",
    };
    format!("{} action={action}", text::limit(silence.after_ms))
}

fn usual(usual: UsualView) -> String {
    format!("factor={} floor={} min_runs={}", usual.factor, text::limit(usual.floor_ms), usual.min_runs)
}

const fn overlap(policy: Overlap) -> &'static str {
    match policy {
        Overlap::Skip => "skip",
        Overlap::Queue => "queue",
        Overlap::Replace => "replace",
        Overlap::Allow => "allow",
    }
}

const fn busy(policy: Busy) -> &'static str {
    match policy {
        Busy::Wait => "wait",
        Busy::Skip => "skip",
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::{date, time};

    use super::super::testing::job;
    use super::*;
    use crate::engine::run::Status;

    #[test]
    fn rules_are_shown_as_they_are_written() {
        let learned = UsualView { factor: 2.5, floor_ms: 60_000, min_runs: 5 };
        let rules = JobRules {
            jitter_ms: 300_000,
            calendar: Some(CalendarView {
                name: "kr".into(),
                on_holiday: OnHoliday::Next,
                weekends_off: true,
            }),
            blackouts: vec![BlackoutView { schedule: "0 0 * * *".into(), duration_ms: 7_200_000 }],
            starts_on: Some(date(2026, 1, 1)),
            after: Some(AfterView {
                jobs: vec!["statistics".to_owned().try_into().unwrap()],
                on: AfterEnd::Success,
                same: Same::Day,
                within_ms: 21_600_000,
            }),
            queue_limit: 3,
            locks: vec!["db".into(), "disk".into()],
            pools: [("etl".to_owned(), 2)].into(),
            retry: Some(RetryView {
                attempts: 3,
                delay_ms: 60_000,
                backoff: 2.0,
                max_delay_ms: 3_600_000,
                jitter_ms: 10_000,
                on: vec![Status::Failed, Status::Timeout],
            }),
            auto_timeout: Some(learned),
            must_finish_by: Some(FinishByView::TimeOfDay(time(11, 0, 0, 0))),
            silence: Some(SilenceView { after_ms: 600_000, action: SilenceAction::Kill }),
            usual: Some(learned),
            ..JobRules::default()
        };
        let mut job = job("backup");
        job.rules = rules;
        let facts: Vec<_> = day_facts(&job.rules)
            .into_iter()
            .chain(order_facts(&job))
            .chain(watch_facts(&job.rules))
            .chain([("timeout", timeout(&job))])
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        let expected = "jitter 5m
calendar kr on_holiday=next weekends=off
blackouts 0 0 * * * for 2h
starts_on 2026-01-01
ends_on none
after statistics on=success same=day within=6h
overlap skip
queue_limit 3
locks db disk
pools etl=2
busy wait
priority 0
retry attempts=3 delay=1m backoff=2 max_delay=1h jitter=10s on=failed,timeout
late_after none
must_finish_by 11:00
max_since_success none
warn_after none
min_duration none
silence 10m action=kill
usual factor=2.5 floor=1m min_runs=5
timeout auto factor=2.5 floor=1m min_runs=5, 30m until then";
        assert_eq!(facts.join("\n"), expected);
    }
}
