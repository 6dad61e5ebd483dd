//! A run's output file under every condition: over its limit, on a disk that is full or fails, with its shim killed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jobctl::clock;
use jobctl::engine::run::{Exit, Status};
use jobctl::os;
use jobctl::output::{Follow, Kind, Line, Parser, Stream, note_text};

use crate::is_root;
use crate::runs::{Run, until};

/// The shim's memory that is promised, KiB.
const MEMORY_KIB_MAX: u64 = 16 * 1024;
/// What a record of the lines below takes in the file besides the line.
const HEAD_BYTES: u64 = 41;

/// A job that writes so many numbered lines of 200 bytes.
fn lines(count: u64) -> String {
    format!("seq -f '%010.0f{:189}' 1 {count}", "x")
}

/// The numbers of the lines that a file still holds, and how many bytes its note says are missing behind which one.
fn numbers(path: &Path) -> (Vec<u64>, Option<(usize, u64)>) {
    let (mut numbers, mut note) = (Vec::new(), None);
    let (mut follow, mut parser) = (Follow::new(File::open(path).unwrap(), 0), Parser::default());
    loop {
        let piece = follow.next(false).unwrap();
        if piece.is_empty() {
            return (numbers, note);
        }
        parser.feed(&piece, |line| match line {
            Line::Record(record) if record.kind == Kind::Note => {
                let said = note_text(record.content);
                note = Some((numbers.len(), said.split(' ').next().unwrap().parse().unwrap_or(0)));
            }
            Line::Record(record) => {
                assert_eq!(record.content.len(), 199);
                numbers.push(std::str::from_utf8(&record.content[..10]).unwrap().parse().unwrap());
            }
            Line::Unreadable(bytes) => panic!("unreadable: {:?}", String::from_utf8_lossy(bytes)),
        });
    }
}

fn memory_peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
    peak.map_or(0, |peak| peak.parse().unwrap())
}

#[tokio::test]
async fn over_its_limit_a_run_keeps_both_ends_on_little_disk_and_in_little_memory() {
    const LIMIT: u64 = 2_000_000;
    const COUNT: u64 = 200_000;
    let run = Run::shell(&lines(COUNT)).with(|spec| spec.output_limit = Some(LIMIT));
    let shim = run.launch().await;
    let (pid, path) = (shim.pid().unwrap(), run.folder.output_path());
    let (mut memory, mut room) = (0, 0);
    until(|| {
        memory = memory.max(memory_peak(pid));
        room = room.max(fs::metadata(&path).map_or(0, |file| file.blocks() * 512));
        run.folder.result_path().exists()
    })
    .await;
    let report = run.end(Some(shim)).await;
    assert!(0 < memory && memory < MEMORY_KIB_MAX, "{memory} KiB");
    // The limit, a step of an eighth, a grain, and what the last writes before a step have added.
    let most = (LIMIT + LIMIT / 8 + 300_000) * (200 + HEAD_BYTES) / 200;
    assert!(0 < room && room < most, "{room} bytes on the disk, of {most}");

    assert_eq!((report.exit, report.output_bytes), (Exit::Code(0), COUNT * 200));
    let (numbers, note) = numbers(&path);
    let (behind, left_out) = note.unwrap();
    assert_eq!(left_out, report.output_left_out);
    assert_eq!((numbers[0], numbers[behind - 1], *numbers.last().unwrap()), (1, LIMIT / 2 / 200, COUNT));
    assert_eq!((numbers[behind] - numbers[behind - 1] - 1) * 200, left_out, "the note adds up");
    let kept = COUNT * 200 - left_out;
    assert!((LIMIT..LIMIT + 50_000).contains(&kept), "{kept}");
    assert_eq!(report.remark.unwrap(), "37.9 MB of output left out, over the limit of 2 MB");
    // What reads all of the file at once finds the same.
    assert_eq!(run.stdout().len() as u64, kept);
}

#[tokio::test]
async fn up_to_its_limit_all_of_it_is_kept() {
    let run = Run::shell(&lines(10_000)).with(|spec| spec.output_limit = Some(2_000_000));
    let report = run.finish().await;
    assert_eq!((report.output_left_out, report.remark), (0, None));
    let (numbers, note) = numbers(&run.folder.output_path());
    assert_eq!((numbers, note), ((1..=10_000).collect(), None));
}

#[tokio::test]
async fn a_shim_that_is_killed_over_the_limit_leaves_a_file_that_can_be_read() {
    const LIMIT: u64 = 1_000_000;
    for round in 1..=6 {
        let run = Run::shell(&lines(1_000_000_000)).with(|spec| spec.output_limit = Some(LIMIT));
        let shim = run.launch().await;
        let path = run.folder.output_path();
        // Each time elsewhere in a step.
        until(|| fs::metadata(&path).is_ok_and(|file| file.len() > round * 5_333_333)).await;
        let mark = run.mark();
        os::Pidfd::open(mark.pid, mark.start_time).unwrap().unwrap().signal(9).unwrap();
        let report = run.end(Some(shim)).await;
        assert_eq!(report.status(), Status::Lost);
        let (numbers, note) = numbers(&path);
        let (behind, told) = note.unwrap();
        assert_eq!((numbers[0], numbers[behind - 1]), (1, LIMIT / 2 / 200));
        let missing = (numbers[behind] - numbers[behind - 1] - 1) * 200;
        assert!(told <= missing && missing - told <= LIMIT / 8 + 400_000, "{told} of {missing}");
        assert_eq!(numbers.len() as u64 - behind as u64 - 1, numbers.last().unwrap() - numbers[behind]);
    }
}

#[tokio::test]
async fn what_was_written_before_the_end_is_whole_though_somebody_holds_the_pipe() {
    // As much as a pipe holds, at once and last of all.
    let line = "setsid sleep 300 & head -c 250000 /dev/zero | tr '\\0' x; printf 'end' >&2; exit 3";
    let run = Run::shell(line);
    let before = clock::now().monotonic;
    let report = run.finish().await;
    assert!(clock::now().monotonic.since(before) < Duration::from_secs(20));
    assert_eq!((report.exit, report.output_bytes), (Exit::Code(3), 250_003));
    assert!(run.output(Stream::Stdout) == vec![b'x'; 250_000]);
    assert_eq!(run.output(Stream::Stderr), b"end");
    assert_eq!(run.processes(), []);
}

/// The kernel's own refusals: a device that is always full, and a file whose first page can't be written.
#[tokio::test]
async fn a_disk_that_fails_loses_output_with_a_remark_and_not_the_job() {
    for (place, error) in
        [("/dev/full", "ENOSPC: No space left on device"), ("/proc/self/mem", "EIO: I/O error")]
    {
        let run = Run::shell("for i in 1 2 3; do echo line $i; sleep 0.05; done; echo done >&2; exit 4");
        run.folder.create().unwrap();
        symlink(place, run.folder.output_path()).unwrap();
        let report = run.finish().await;
        assert_eq!((report.exit, report.output_bytes), (Exit::Code(4), 26), "{place}");
        assert_eq!((report.message.as_deref(), report.error_tail.as_str()), (Some("line 3"), "done\n"));
        let remark = format!("26 bytes of output ({error}) could not be written");
        assert_eq!(report.remark, Some(remark), "{place}");
    }
}

/// A file system of its own over a folder, until it is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn small(path: &Path, bytes: u64) -> nix::Result<Self> {
        fs::create_dir_all(path).unwrap();
        let size = format!("size={bytes},mode=711");
        let none = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("none"), path, Some("tmpfs"), none, Some(size.as_str()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

#[tokio::test]
async fn a_small_disk_is_enough_for_a_limit_and_without_one_loses_output_but_not_the_job() {
    const DISK: u64 = 4 * 1024 * 1024;
    for (limit, is_enough) in [(Some(2_000_000), true), (Some(20_000_000), false), (None, false)] {
        let run = Run::shell(&format!("{}; echo all done; exit 5", lines(100_000)));
        let run = run.with(|spec| spec.output_limit = limit);
        // Without root's rights there is no such disk; the limit on the size of a file stands for it elsewhere.
        let disk = Mounted::small(&run.state.path().join("runs"), DISK);
        assert_eq!(disk.as_ref().err(), (!is_root()).then_some(&nix::errno::Errno::EPERM));
        let Ok(_disk) = disk else { return };
        let report = run.finish().await;
        assert_eq!(report.exit, Exit::Code(5));
        assert_eq!(report.message.as_deref(), Some("all done"));
        let remark = report.remark.unwrap();
        if is_enough {
            assert!(remark.ends_with("of output left out, over the limit of 2 MB"), "{remark}");
            continue;
        }
        assert!(remark.contains("ENOSPC: No space left on device) could not be written"), "{remark}");
        let lost: u64 = remark.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(report.output_left_out, 0);
        assert_eq!(
            run.stdout().len() as u64 + lost,
            report.output_bytes,
            "what is there and what is not add up"
        );
        assert!(run.stdout().starts_with("0000000001"));
    }
}
