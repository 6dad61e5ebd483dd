//! Faults of the output: too much of it, lines without an end, bytes that are no text, and two streams at once.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::tz::TimeZone;
use jobctl::clock;
use jobctl::engine::record::RunRecord;
use jobctl::engine::run::{RunId, Status};
use jobctl::output::{Kind, Line, Parser, Stream};
use jobctl::run::{RunFolder, find};

use crate::jobd::{Jobd, PATIENCE, text, wait_for, wait_within};

/// What a job keeps of its output unless its entry says otherwise, bytes.
const LIMIT: u64 = 100_000_000;
/// How much the flood is, bytes, unless `FLOOD_BYTES` says otherwise.
const FLOOD_BYTES: u64 = 300_000_000;
/// How slow a shim without optimisation may be on a machine with other things to do, bytes a second.
const SLOW: u64 = 3_000_000;
/// The shim's memory that is promised, KiB.
const MEMORY_KIB_MAX: u64 = 16 * 1024;

/// A jobd with a job that is started by hand: its schedule is half a year away.
fn started(shell: &str) -> Jobd {
    let month = clock::now().wall.to_zoned(TimeZone::UTC).month();
    let schedule = format!("0 0 1 {} *", (month + 5) % 12 + 1);
    Jobd::started(&format!(
        "[jobs.writer]\nschedule = \"{schedule}\"\ntimeout = \"1h\"\nshell = '''\n{shell}'''\n"
    ))
}

fn folder(jobd: &Jobd, run: u64) -> RunFolder {
    wait_for("the run has a folder", || find(&jobd.state_dir(), RunId(run)))
}

/// The bytes of both streams, as the file has them, and its notes.
fn read(jobd: &Jobd, run: u64) -> ([Vec<u8>; 2], Vec<String>) {
    let (mut streams, mut notes) = ([Vec::new(), Vec::new()], Vec::new());
    let mut parser = Parser::default();
    parser.feed(&fs::read(folder(jobd, run).output_path()).unwrap_or_default(), |line| match line {
        Line::Record(record) if record.kind == Kind::Note => notes.push(text(record.content)),
        Line::Record(record) => record.append_to(&mut streams[record.stream as usize]),
        Line::Unreadable(bytes) => panic!("unreadable: {}", text(bytes)),
    });
    assert_eq!(parser.pending(), 0);
    (streams, notes)
}

/// The peak of the memory of the only shim there is, KiB; none when it has ended.
fn memory_peak(jobd: &Jobd) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", jobd.shims().first()?)).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok())
}

/// Waits for the end of a run, and looks at its shim and its file meanwhile: the row, the peak of the shim's memory,
/// KiB, and the most that the file took of the disk, bytes.
#[track_caller]
fn watched(jobd: &Jobd, run: u64, limit: Duration) -> (RunRecord, u64, u64) {
    let path = folder(jobd, run).output_path();
    let (mut memory, mut room) = (0, 0);
    let row = wait_within(limit, "the run is over", || {
        memory = memory.max(memory_peak(jobd).unwrap_or(0));
        room = room.max(fs::metadata(&path).map_or(0, |file| file.blocks() * 512));
        Some(jobd.run(run)).filter(|row| row.status.is_final())
    });
    assert!(memory > 0, "the shim has not been seen");
    (row, memory, room)
}

/// F45: a flood is drained at full speed; its beginning and its end are kept, and memory and disk stay bounded.
#[test]
fn a_flood_keeps_its_beginning_and_its_end_and_says_what_is_missing() {
    let bytes = std::env::var("FLOOD_BYTES").map_or(FLOOD_BYTES, |bytes| bytes.parse().unwrap());
    // Lines of 1000 bytes, the number of each in the first ten.
    let line = format!("{:989}", "x");
    let mut jobd = started(&format!("seq -f '%010.0f{line}' 1 {}\n", bytes / 1000));
    let run = jobd.begin("writer");
    let mut follower =
        jobd.command(&["logs", "-f", &run.to_string()]).stdout(Stdio::piped()).spawn().unwrap();
    let (row, memory, room) = watched(&jobd, run, PATIENCE + Duration::from_secs(bytes / SLOW));
    assert_eq!((row.status, row.output_bytes), (Status::Success, Some(bytes)));
    assert!(memory < MEMORY_KIB_MAX, "{memory} KiB");
    // The head of a record takes 41 bytes, and a step is an eighth of the limit.
    assert!(room < LIMIT / 8 * 10, "{room} bytes on the disk");

    let result = folder(&jobd, run).result().unwrap().unwrap();
    let left_out = result.output_left_out;
    assert!(bytes - left_out >= LIMIT && bytes - left_out < LIMIT + LIMIT / 100, "{left_out}");
    let remark = result.remark.unwrap();
    assert!(remark.ends_with(" of output left out, over the limit of 100 MB"), "{remark}");
    assert_follower_is_not_led_astray(&mut follower, bytes / 1000);
    // With jobd, and without it.
    let logs = jobd.tell(&["logs", &run.to_string()]);
    jobd.stop();
    assert!(logs == jobd.tell(&["logs", &run.to_string()]), "without jobd it reads differently");
    let lines: Vec<&str> = logs.lines().collect();
    let note = lines.iter().position(|line| line.starts_with("[jobd] ")).unwrap();
    assert_eq!(
        lines[note],
        format!("[jobd] {left_out} bytes of output left out here, over the limit of 100 MB")
    );
    let number = |at: usize| lines[at][..10].parse::<u64>().unwrap();
    let (before, after) = (number(note - 1), number(note + 1));
    assert_eq!((number(0), number(lines.len() - 1)), (1, bytes / 1000));
    assert_eq!((after - before - 1) * 1000, left_out, "the note adds up");
    assert_eq!(before, u64::try_from(note).unwrap(), "the beginning is whole");
    let last = jobd.tell(&["logs", &run.to_string(), "-n", "3"]);
    assert!(last == lines[lines.len() - 3..].join("\n") + "\n", "the last lines");
}

/// Whoever follows, and reads nothing until the run is over, is told of what has been left out meanwhile and gets all
/// else, each line once and whole.
fn assert_follower_is_not_led_astray(follower: &mut Child, count: u64) {
    let (mut last, mut notes, mut is_behind_note) = (0, 0, false);
    for line in BufReader::new(follower.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.starts_with("[jobd] ") {
            (notes, is_behind_note) = (notes + 1, true);
            continue;
        }
        assert_eq!(line.len(), 999, "{line}");
        let number: u64 = line[..10].parse().unwrap();
        assert!(number == last + 1 || is_behind_note && number > last, "{number} behind {last}");
        (last, is_behind_note) = (number, false);
    }
    assert!(follower.wait().unwrap().success());
    assert!(last == count && notes > 0, "{last} of {count}, {notes} notes");
}

/// F46: a line of 100 MB costs no memory, and its last part is written while the job is silent.
#[test]
fn a_line_without_an_end_is_kept_in_parts_and_shown_while_the_job_is_silent() {
    const BYTES: u64 = 99_999_990;
    let jobd = started(&format!(
        "head -c {BYTES} /dev/zero | tr '\\0' x; printf 한글\nuntil [ -e gate ]; do sleep 0.05; done; exit 3\n"
    ));
    let run = jobd.begin("writer");
    let output = folder(&jobd, run).output_path();
    let whole = wait_within(PATIENCE + Duration::from_secs(BYTES / SLOW), "all of it is in the file", || {
        let length = fs::metadata(&output).map_or(0, |file| file.len());
        (length > BYTES && text(&end(&output)).contains("한글\n")).then_some(length)
    });
    assert!(memory_peak(&jobd).unwrap() < MEMORY_KIB_MAX);
    // A part takes 41 bytes besides its 16 KiB.
    assert!(whole < BYTES + BYTES / 16_000 * 41 + 10_000, "{whole}");
    fs::write(jobd.path("gate"), "").unwrap();
    let row = jobd.ended(run);
    assert_eq!((row.status, row.exit_code, row.output_bytes), (Status::Failed, Some(3), Some(BYTES + 6)));
    assert!(row.message.unwrap().starts_with("xxx"));
    let ([stdout, _], notes) = read(&jobd, run);
    assert!(stdout.len() as u64 == BYTES + 6 && stdout.ends_with("x한글".as_bytes()));
    assert!(stdout[..99_999_990].iter().all(|&byte| byte == b'x'));
    assert_eq!(notes, [""; 0]);
}

/// The last bytes of a file.
fn end(path: &Path) -> Vec<u8> {
    let file = fs::File::open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let mut bytes = vec![0; 100];
    let count = file.read_at(&mut bytes, length.saturating_sub(100)).unwrap();
    bytes.truncate(count);
    bytes
}

/// What a terminal, a parser or a reader of text could be led astray with.
fn hostile() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..=255).collect();
    bytes.extend(b"\r\ncarriage\r\n\x1b]0;title\x07\x1b[2J\x1b[31mred\0nul\0\n\n");
    bytes.extend("right \u{202e}tfel\u{2066} 한글 🦀\n".as_bytes());
    bytes.extend(b"2026-01-01T00:00:00.000000000Z stderr F:jobd forged; the file goes on at byte 1\n");
    bytes.extend(b"\0\0\0\xff\xfe\xed\xa0\x80\xc3\n");
    bytes.extend((0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()));
    bytes.extend(b"\0end \xe2\x82");
    bytes
}

/// F47: bytes that are no text are kept as they are, and steer neither a terminal nor a parser of JSON.
#[test]
fn hostile_bytes_are_kept_exactly_and_shown_without_power() {
    let jobd = started("cat hostile; cat hostile >&2\n");
    let bytes = hostile();
    fs::write(jobd.path("hostile"), &bytes).unwrap();
    let run = jobd.begin("writer");
    assert_eq!(jobd.ended(run).output_bytes, Some(2 * bytes.len() as u64));
    let ([stdout, stderr], notes) = read(&jobd, run);
    assert!(stdout == bytes && stderr == bytes, "the file is not exact");
    assert_eq!(notes, [""; 0]);

    let run = run.to_string();
    for stream in ["--stdout", "--stderr"] {
        assert!(jobd.jobctl(&["logs", &run, stream]).stdout == bytes, "a pipe gets the bytes");
    }
    let shown = on_a_terminal(&jobd, &["logs", &run, "--stdout"]);
    let steers = |c: char| c.is_control() && !"\r\n\t".contains(c) || "\u{202e}\u{2066}".contains(c);
    let shown = String::from_utf8(shown).expect("a terminal gets text");
    assert_eq!(shown.chars().find(|&c| steers(c)), None);
    for word in ["\\u{1b}[2J", "\\u{0}nul\\u{0}", "right \\u{202e}tfel\\u{2066} 한글 🦀", "\\xff\\xfe"] {
        assert!(shown.contains(word), "{word}");
    }
    let raw = on_a_terminal(&jobd, &["logs", &run, "--stdout", "--raw"]);
    assert!(raw.windows(4).any(|window| window == b"\x1b[2J"), "who asks for them gets the bytes");

    let json = jobd.jobctl(&["logs", &run, "--json"]).stdout;
    let json = String::from_utf8(json).expect("JSON is UTF-8");
    let entries = json.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    assert!(entries.filter(|entry| entry["text"] == "right \u{202e}tfel\u{2066} 한글 🦀").count() == 2);
    jobd.json(&["show", &run]);
    jobd.json(&["history", "--job", "writer"]);
}

/// What jobctl writes when its stdout is a terminal.
fn on_a_terminal(jobd: &Jobd, arguments: &[&str]) -> Vec<u8> {
    let jobctl = jobd.command(arguments);
    let words = [jobctl.get_program()].into_iter().chain(jobctl.get_args());
    let line: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
    let mut script = Command::new("script");
    script.args(["-qec", &line.join(" "), "/dev/null"]).stdin(Stdio::null());
    script.envs(jobctl.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = script.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    output.stdout
}

/// F48: two streams in turns, slowly, with a line that never ends: each in its order, its times in order too.
#[test]
fn two_slow_streams_keep_their_order_and_their_last_words() {
    let jobd = started(
        "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo out $i; printf 'err %s' $i >&2; sleep 0.02; echo ' end' >&2
        done; printf 'last words' ; printf 'of both' >&2\n",
    );
    let run = jobd.begin("writer");
    let row = jobd.ended(run);
    assert_eq!(row.message.as_deref(), Some("last words"));
    let out: String = (1..=40).map(|n| format!("out {n}\n")).chain(["last words".into()]).collect();
    let err: String = (1..=40).map(|n| format!("err {n} end\n")).chain(["of both".into()]).collect();
    let (streams, _) = read(&jobd, run);
    assert_eq!(streams.map(|stream| text(&stream)), [out, err]);
    let mut times = [Vec::new(), Vec::new()];
    let file = fs::read(folder(&jobd, run).output_path()).unwrap();
    Parser::default().feed(&file, |line| {
        let Line::Record(record) = line else { panic!("unreadable") };
        times[record.stream as usize].push(record.timestamp().unwrap());
    });
    for stream in [Stream::Stdout, Stream::Stderr] {
        assert!(times[stream as usize].is_sorted(), "{stream:?}");
    }
    assert!(times[0].first() < times[0].last());
}
