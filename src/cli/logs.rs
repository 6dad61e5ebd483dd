//! `jobctl logs`: what a run wrote.

use std::collections::VecDeque;

use futures_util::StreamExt;
use serde::Serialize;

use super::Session;
use super::args::{LogsArgs, Target};
use super::cri::{Entries, Entry};
use super::error::{CliError, exit};
use super::run::Patience;
use super::source::Source;
use super::text;
use crate::api::types::RunQuery;
use crate::engine::run::{RunId, Status};
use crate::output::Stream;

/// The statuses of runs that have output.
const WITH_OUTPUT: [Status; 6] =
    [Status::Running, Status::Success, Status::Failed, Status::Timeout, Status::Killed, Status::Lost];

pub(crate) async fn logs(session: &mut Session<'_>, args: LogsArgs) -> Result<u8, CliError> {
    let source = Source::open(session).await?;
    let run = match &args.target {
        Target::Run(run) => *run,
        Target::Job(name) => last_run(&source, name).await?,
    };
    let mut printer = Printer::new(&args, session.json, session.terminal.tty);
    if let Some(lines) = args.n {
        // What is there is read to its end first, to know which lines are the last.
        let mut last = Last::new(lines);
        let mut pieces = source.output(run, 0, false).await?;
        while let Some(piece) = pieces.next().await {
            printer.entries(&piece?).into_iter().for_each(|entry| last.push(entry));
        }
        let text = printer.text(last.entries.into());
        session.terminal.write(&text)?;
        if !args.follow {
            return Ok(exit::DONE);
        }
    }
    if !args.follow {
        copy(session, &source, run, &mut printer, false).await?;
        return Ok(exit::DONE);
    }
    let mut patience = Patience::default();
    let mut source = Ok(source);
    loop {
        let followed = match &source {
            Ok(source) => copy(session, source, run, &mut printer, true).await,
            Err(_) => source.map(drop),
        };
        match followed {
            Ok(()) => return Ok(exit::DONE),
            Err(CliError::Client(error)) => patience.wait(session, run, error).await?,
            Err(error) => return Err(error),
        }
        // The next jobd, or the state directory if there is none.
        source = Source::open(session).await;
    }
}

/// Prints a run's output from where the printer stands.
async fn copy(
    session: &mut Session<'_>,
    source: &Source<'_>,
    run: RunId,
    printer: &mut Printer,
    follow: bool,
) -> Result<(), CliError> {
    let mut pieces = source.output(run, printer.reader.offset(), follow).await?;
    while let Some(piece) = pieces.next().await {
        let entries = printer.entries(&piece?);
        let text = printer.text(entries);
        session.terminal.write(&text)?;
    }
    Ok(())
}

async fn last_run(source: &Source<'_>, name: &str) -> Result<RunId, CliError> {
    let job = source.name(name).await?;
    let query = RunQuery {
        job: Some(job.clone()),
        status: WITH_OUTPUT.to_vec(),
        limit: Some(1),
        ..RunQuery::default()
    };
    let newest = source.runs(&query).await?.runs.into_iter().next();
    newest.map(|run| run.run_id).ok_or(CliError::NeverRan(job))
}

/// The entries of the last so many lines.
struct Last {
    lines: usize,
    kept: usize,
    entries: VecDeque<Entry>,
}

impl Last {
    const fn new(lines: usize) -> Self {
        Self { lines, kept: 0, entries: VecDeque::new() }
    }

    fn push(&mut self, entry: Entry) {
        self.kept += usize::from(entry.is_full());
        self.entries.push_back(entry);
        while self.kept > self.lines {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.kept -= usize::from(oldest.is_full());
        }
    }
}

/// An entry as `logs --json` prints it, one a line.
#[derive(Serialize)]
struct Line<'a> {
    at: &'a str,
    stream: &'static str,
    full: bool,
    text: std::borrow::Cow<'a, str>,
}

/// Turns pieces of the file into what is to be printed.
#[expect(clippy::struct_excessive_bools, reason = "each mirrors a flag of the command line")]
struct Printer {
    reader: Entries,
    only: Option<Stream>,
    timestamps: bool,
    escape: bool,
    json: bool,
    in_line: bool,
}

impl Printer {
    fn new(args: &LogsArgs, json: bool, tty: bool) -> Self {
        let only = match (args.stdout, args.stderr) {
            (true, _) => Some(Stream::Stdout),
            (_, true) => Some(Stream::Stderr),
            _ => None,
        };
        Self {
            reader: Entries::default(),
            only,
            timestamps: args.timestamps,
            escape: tty && !args.raw,
            json,
            in_line: false,
        }
    }

    fn entries(&mut self, piece: &[u8]) -> Vec<Entry> {
        let mut entries = self.reader.feed(piece);
        // Word of jobd's own is about both streams: that something is missing is never kept back.
        entries.retain(|entry| entry.is_note() || self.only.is_none_or(|only| only == entry.stream));
        entries
    }

    fn text(&mut self, entries: Vec<Entry>) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in entries {
            if self.json {
                let text = String::from_utf8_lossy(&entry.text);
                let line = Line { at: &entry.at, stream: entry.stream.as_str(), full: entry.is_full(), text };
                out.extend(serde_json::to_vec(&line).unwrap_or_default());
                out.push(b'\n');
                continue;
            }
            if self.in_line && entry.is_note() {
                out.push(b'\n');
                self.in_line = false;
            }
            if self.timestamps && !self.in_line {
                out.extend_from_slice(entry.at.as_bytes());
                out.push(b' ');
            }
            if self.escape {
                out.extend_from_slice(text::inert_bytes(&entry.text).as_bytes());
            } else {
                out.extend_from_slice(&entry.text);
            }
            if entry.is_full() {
                out.push(b'\n');
            }
            self.in_line = !entry.is_full();
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"2026-11-01T01:00:00Z stdout F one\n\
        2026-11-01T01:00:01Z stderr P tw\n\
        2026-11-01T01:00:02Z stderr F o\n\
        2026-11-01T01:00:03Z stdout F \x1b[2Jthree\n";

    fn args() -> LogsArgs {
        LogsArgs {
            target: Target::Run(RunId(1)),
            follow: false,
            n: None,
            stdout: false,
            stderr: false,
            timestamps: false,
            raw: false,
        }
    }

    fn printed(args: &LogsArgs, json: bool, tty: bool) -> String {
        let mut printer = Printer::new(args, json, tty);
        let mut last = Last::new(args.n.unwrap_or(usize::MAX));
        printer.entries(FILE).into_iter().for_each(|entry| last.push(entry));
        String::from_utf8(printer.text(last.entries.into())).unwrap()
    }

    #[test]
    fn a_pipe_gets_the_bytes_and_a_terminal_what_cannot_steer_it() {
        assert_eq!(printed(&args(), false, false), "one\ntwo\n\x1b[2Jthree\n");
        assert_eq!(printed(&args(), false, true), "one\ntwo\n\\u{1b}[2Jthree\n");
        assert_eq!(printed(&LogsArgs { raw: true, ..args() }, false, true), "one\ntwo\n\x1b[2Jthree\n");
    }

    #[test]
    fn lines_are_chosen_by_stream_and_from_the_end() {
        assert_eq!(printed(&LogsArgs { stderr: true, ..args() }, false, false), "two\n");
        assert_eq!(printed(&LogsArgs { n: Some(2), ..args() }, false, false), "two\n\x1b[2Jthree\n");
        assert_eq!(printed(&LogsArgs { n: Some(0), ..args() }, false, false), "");
        let stamped = LogsArgs { timestamps: true, stderr: true, ..args() };
        assert_eq!(printed(&stamped, false, false), "2026-11-01T01:00:01Z two\n");
    }

    #[test]
    fn that_something_is_missing_is_never_kept_back_and_stands_on_its_own() {
        let file = b"2026-11-01T01:00:00Z stdout P beg\n\0\0\0\
            2026-11-01T01:00:00Z stderr F:jobd       41 bytes of output left out here, over the limit of 9 kB; \
            the file goes on at byte                  500\n\
            2026-11-01T01:00:09Z stdout F end\n2026-11-01T01:00:09Z stderr F bad\n";
        let mut printer = Printer::new(&LogsArgs { stdout: true, ..args() }, false, false);
        let entries = printer.entries(file);
        let text = String::from_utf8(printer.text(entries)).unwrap();
        assert_eq!(text, "beg\n[jobd] 41 bytes of output left out here, over the limit of 9 kB\nend\n");
        assert_eq!(printer.reader.offset(), 500 + 68, "the next piece is behind what has been left out");
    }

    #[test]
    fn json_is_an_object_a_line() {
        let lines = printed(&LogsArgs { stderr: true, n: Some(1), ..args() }, true, false);
        let first = r#"{"at":"2026-11-01T01:00:01Z","stream":"stderr","full":false,"text":"tw"}"#;
        assert_eq!(lines.lines().next(), Some(first));
    }
}
