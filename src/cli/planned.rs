//! A plan in words.

use std::fmt::Write as _;

use super::changes::{JobChange, Kind, Peak};
use super::differences::Difference;
use super::moves::Moves;
use super::plan::Plan;
use super::terminal::Terminal;
use super::text;
use crate::engine::time::Timestamp;

/// A plan as a person reads it: `+` is new, `-` is gone, `~` is changed. Writing to a String cannot fail.
pub(crate) fn render(terminal: &Terminal, plan: &Plan, days: u16) -> String {
    if !plan.changes {
        return "nothing changes\n".to_owned();
    }
    let mut out = String::new();
    if !plan.settings.is_empty() {
        out.push_str("~ settings\n");
        lines(&mut out, &plan.settings);
    }
    for (job, change) in &plan.jobs {
        let mark = match change.change {
            Kind::Added => '+',
            Kind::Removed => '-',
            Kind::Changed => '~',
        };
        let _ = writeln!(out, "{mark} {job}");
        lines(&mut out, &change.fields);
        for line in of_job(terminal, change) {
            let _ = writeln!(out, "    {line}");
        }
    }
    out.push('\n');
    out += &summary(terminal, plan, days);
    out
}

fn lines(out: &mut String, fields: &[Difference]) {
    let width = fields.iter().map(|difference| difference.field.len()).max().unwrap_or(0);
    for Difference { field, old, new } in fields {
        let _ = writeln!(out, "    {field:width$}  {old} -> {new}");
    }
}

fn of_job(terminal: &Terminal, change: &JobChange) -> Vec<String> {
    let local = |at: Timestamp| text::local(at, &terminal.zone);
    let mut lines = of_fires(terminal, &change.fires);
    let is_quiet = change.fires.is_empty() && change.change == Kind::Added;
    if let (true, Some(next)) = (is_quiet, change.next) {
        lines.push(format!("starts first at {}", local(next)));
    }
    if change.never_starts {
        lines.push("warning: it never starts by itself".to_owned());
    }
    for fire in &change.clock {
        lines.push(format!("clock change: {}: {}", local(fire.scheduled_at), fire.remark));
    }
    lines
}

fn of_fires(terminal: &Terminal, moves: &Moves) -> Vec<String> {
    let local = |at: &Timestamp| text::local(*at, &terminal.zone);
    let line = |what: &str, fires: u64, shown: Vec<String>| {
        let more = if fires > shown.len() as u64 { ", ..." } else { "" };
        (fires > 0).then(|| format!("{} {what}: {}{more}", count(fires, "fire"), shown.join(", ")))
    };
    let pair = |(from, to): &(Timestamp, Timestamp)| {
        let day = |at: &Timestamp| at.to_zoned(terminal.zone.clone()).date();
        let to_text = local(to);
        // The day is said once where it is the same.
        let short = if day(from) == day(to) { to_text.split_once(' ').map(|(_, time)| time) } else { None };
        format!("{} -> {}", local(from), short.unwrap_or(&to_text))
    };
    let early =
        moves.ended_early.map(|at| format!("compared only until {}: there are too many fires", local(&at)));
    [
        line("added", moves.added, moves.first_added.iter().map(local).collect()),
        line("dropped", moves.dropped, moves.first_dropped.iter().map(local).collect()),
        line("moved", moves.moved, moves.first_moved.iter().map(pair).collect()),
        early,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The plan in a few lines.
fn summary(terminal: &Terminal, plan: &Plan, days: u16) -> String {
    let jobs = |kind: Kind| plan.jobs.values().filter(|job| job.change == kind).count();
    let fires = |of: fn(&Moves) -> u64| plan.jobs.values().map(|job| of(&job.fires)).sum::<u64>();
    let mut out = format!(
        "jobs: {} added, {} removed, {} changed\nfires within {}: {} added, {} dropped, {} moved\n",
        jobs(Kind::Added),
        jobs(Kind::Removed),
        jobs(Kind::Changed),
        count(u64::from(days), "day"),
        fires(|moves| moves.added),
        fires(|moves| moves.dropped),
        fires(|moves| moves.moved),
    );
    if let Some(after) = plan.peak_after {
        let _ = writeln!(out, "busiest minute: {}", peaks(terminal, plan.peak_before, after));
    }
    out
}

fn peaks(terminal: &Terminal, before: Option<Peak>, after: Peak) -> String {
    let peak = |peak: Peak| {
        let at = peak.at.to_zoned(terminal.zone.clone()).strftime("%F %H:%M").to_string();
        format!("{} at {at}", count(peak.jobs as u64, "job"))
    };
    match before {
        Some(before) if before.jobs < after.jobs => {
            format!("{} -> {}, busier than before", peak(before), peak(after))
        }
        Some(before) => format!("{} -> {}", peak(before), peak(after)),
        None => peak(after),
    }
}

fn count(number: u64, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}
