//! `jobctl inspect`: what the processes of a live run are doing; and the same of a run that was made to end.

use std::fmt::Write as _;

use super::Session;
use super::args::InspectArgs;
use super::error::{CliError, exit};
use super::source::timezone;
use super::table::{Table, cell};
use super::terminal::Terminal;
use super::text;
use crate::api::client::Client;
use crate::run::Evidence;
use crate::run::evidence::{Lock, Named, OpenFile, Process, Socket};

/// How many descriptors are shown; `--json` has all of them.
const FILES_MAX: usize = 100;

pub(crate) async fn inspect(session: &mut Session<'_>, args: InspectArgs) -> Result<u8, CliError> {
    let client = Client::connect(&session.places.socket).await?;
    let evidence = client.inspect(args.run).await?;
    if session.json {
        session.terminal.print_json(&evidence)?;
        return Ok(exit::DONE);
    }
    session.terminal.use_zone(timezone(&client).await?.as_deref());
    let text = format!("run {}\n{}", args.run, block(&session.terminal, &evidence));
    session.terminal.print(&text)?;
    Ok(exit::DONE)
}

/// All of it, as the sections of a run's block.
pub(crate) fn block(terminal: &Terminal, evidence: &Evidence) -> String {
    let mut out = String::new();
    if let Some(summary) = &evidence.summary {
        section(&mut out, "waits", &format!("{}\n", text::inert(summary)));
    }
    let cut = if evidence.is_whole { "" } else { ", cut off at its limit" };
    let at = text::local(evidence.taken_at, &terminal.zone);
    let title = format!("processes at {at} (looked for {}{cut})", text::took(evidence.took_ms));
    section(&mut out, &title, &processes(terminal, evidence));
    let files = files(terminal, evidence);
    if !files.is_empty() {
        section(&mut out, "open files", &files);
    }
    if !evidence.locks.is_empty() {
        section(&mut out, "locks", &evidence.locks.iter().map(lock).collect::<String>());
    }
    if let Some(output) = evidence.output.as_ref().filter(|output| !output.lines.is_empty()) {
        let age = output.since_last_ms.map(|ms| format!(", {} before", text::took(ms))).unwrap_or_default();
        let lines: Vec<_> = output.lines.iter().map(|line| text::inert(line)).collect();
        section(&mut out, &format!("last output{age}"), &lines.join("\n"));
    }
    out
}

fn section(out: &mut String, title: &str, lines: &str) {
    let _ = writeln!(out, "  {title}");
    for line in lines.lines() {
        out.push_str(format!("    {line}").trim_end());
        out.push('\n');
    }
}

fn processes(terminal: &Terminal, evidence: &Evidence) -> String {
    let mut table = Table::new(terminal, &["PID", "STATE", "AGE", "CPU", "NAME", "DOES"]).right(0).right(3);
    for process in &evidence.processes {
        let cpu = process.usage.map_or_else(|| "-".to_owned(), |usage| format!("{} %", usage.cpu_percent()));
        let indent = "  ".repeat(usize::try_from(process.depth.min(10)).unwrap_or_default());
        table.row(vec![
            cell(&process.pid.to_string()),
            cell(&process.state.to_string()),
            cell(&text::took(process.age_ms)),
            cell(&cpu),
            cell(&format!("{indent}{}", process.name)),
            cell(&evidence.doing(process)),
        ]);
    }
    let more = match evidence.processes_left_out {
        0 => String::new(),
        count => format!("and {count} more\n"),
    };
    table.render() + &more
}

fn files(terminal: &Terminal, evidence: &Evidence) -> String {
    let all =
        evidence.processes.iter().flat_map(|process| process.files.iter().map(move |file| (process, file)));
    let all: Vec<(&Process, &OpenFile)> = all.collect();
    if all.is_empty() {
        return String::new();
    }
    let mut table = Table::new(terminal, &["PID", "FD", "MODE", "WHAT"]).right(0).right(1);
    for (process, file) in all.iter().take(FILES_MAX) {
        let what = evidence.socket(&file.target).map_or_else(|| file.target.clone(), socket);
        table.row(vec![
            cell(&process.pid.to_string()),
            cell(&file.fd.to_string()),
            cell(&file.mode),
            cell(&what),
        ]);
    }
    let unlisted: u64 = evidence.processes.iter().map(|process| process.files_left_out).sum();
    let listed = u64::try_from(all.len().saturating_sub(FILES_MAX)).unwrap_or(u64::MAX);
    match listed.saturating_add(unlisted) {
        0 => table.render(),
        more => format!("{}and {more} more\n", table.render()),
    }
}

/// `tcp 127.0.0.1:41234 to 127.0.0.1:2525, established, 12 unread`
fn socket(socket: &Socket) -> String {
    let mut text = socket.kind.clone();
    for (word, address) in [("", &socket.local), ("to ", &socket.peer)] {
        if let Some(address) = address {
            let _ = write!(text, " {word}{address}");
        }
    }
    let _ = write!(text, ", {}", socket.state);
    for (count, word) in [(socket.unread, "unread"), (socket.unsent, "unsent")] {
        if count > 0 {
            let _ = write!(text, ", {count} {word}");
        }
    }
    text
}

fn lock(lock: &Lock) -> String {
    let path =
        lock.path.as_ref().map_or_else(|| format!("file {}", lock.file), |path| text::inert(path).into());
    let by = |verb: &str, who: &[Named]| {
        let who: Vec<String> =
            who.iter().map(|one| format!("{} ({})", one.pid, text::inert(&one.name))).collect();
        if who.is_empty() { String::new() } else { format!(", {verb} by {}", who.join(", ")) }
    };
    let kind = format!("{} {}", lock.kind, lock.mode);
    format!("{path}: {kind}{}{}\n", by("held", &lock.held_by), by("awaited", &lock.awaited_by))
}

#[cfg(test)]
mod tests {
    use super::super::terminal::testing::pipe;
    use super::*;

    #[test]
    fn all_that_was_found_is_shown_and_has_no_power() {
        let usage = serde_json::json!({ "window_ms": 200, "user_ms": 20, "system_ms": 0 });
        let evidence = serde_json::json!({
            "version": 1, "taken_at": "2026-11-01T01:31:12Z", "took_ms": 300, "is_whole": false,
            "summary": "sh\u{1b} pid 8 waits in recv()",
            "processes": [
                { "pid": 7, "parent": 1, "name": "sh", "state": "S", "age_ms": 61_000, "threads": 1, "cpu_ms": 5,
                  "usage": usage },
                { "pid": 8, "parent": 7, "depth": 1, "name": "a\u{202e}", "state": "Z", "age_ms": 500, "threads": 1,
                  "cpu_ms": 0, "files": [
                    { "fd": 3, "target": "socket:[9]", "mode": "rw", "position": 0 },
                    { "fd": 4, "target": "/tmp/x\u{1b}", "mode": "r", "position": 0 }], "files_left_out": 2 }],
            "processes_left_out": 3,
            "sockets": [{ "inode": 9, "kind": "tcp", "state": "established", "local": "127.0.0.1:1",
                          "peer": "127.0.0.1:2", "unread": 5, "unsent": 0 }],
            "locks": [{ "kind": "FLOCK", "mode": "WRITE", "path": "/run/x", "file": "fe:00:1",
                        "held_by": [{ "pid": 99, "name": "backup" }], "awaited_by": [{ "pid": 8, "name": "a" }] }],
            "output": { "since_last_ms": 29_000, "lines": ["connecting", "\u{1b}[2J"] },
            "a_field_of_tomorrow": true,
        });
        let evidence: Evidence = serde_json::from_value(evidence).unwrap();
        let expected = "  waits
    sh\\u{1b} pid 8 waits in recv()
  processes at 2026-11-01 10:31:12 (looked for 300ms, cut off at its limit)
    PID  STATE  AGE     CPU  NAME         DOES
      7  S      1m 1s  10 %  sh           sleeps
      8  Z      500ms     -    a\\u{202e}  has ended
    and 3 more
  open files
    PID  FD  MODE  WHAT
      8   3  rw    tcp 127.0.0.1:1 to 127.0.0.1:2, established, 5 unread
      8   4  r     /tmp/x\\u{1b}
    and 2 more
  locks
    /run/x: FLOCK WRITE, held by 99 (backup), awaited by 8 (a)
  last output, 29.0s before
    connecting
    \\u{1b}[2J
";
        assert_eq!(block(&pipe("2026-11-01T12:00:00Z"), &evidence), expected);
    }
}
