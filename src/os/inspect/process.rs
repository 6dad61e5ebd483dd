//! What a process is, what each of its threads does, and what it has used.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

use super::{printable, read};

/// More than any of the files read here holds, bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024;
/// How many threads of a process are asked for their children.
const TASKS_MAX: usize = 256;
/// The deepest kernel stack that is kept, frames.
const FRAMES_MAX: usize = 24;

/// A process or thread, by the kernel's books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Its number.
    pub pid: u32,
    /// Who started it, or took it over.
    pub parent: u32,
    /// The name the kernel has for it; any text at all, with control characters escaped.
    pub name: String,
    /// Its state as `ps` has it.
    pub state: char,
    /// How many threads it has.
    pub threads: u32,
    /// When it was started, in clock ticks since boot.
    pub start_time: u64,
    /// CPU time in its own code.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
}

/// The system call in which a thread waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Its number.
    pub number: u64,
    /// What it was given.
    pub arguments: [u64; 6],
}

/// What a thread waits for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wait {
    /// The function of the kernel in which it sleeps.
    pub wchan: Option<String>,
    /// The system call; `None` while it runs, or where we may not look.
    pub call: Option<Call>,
    /// The kernel's stack, the innermost first; empty where we may not look.
    pub stack: Vec<String>,
}

/// What a process has read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Io {
    /// Bytes read from anything, pipes and caches included.
    pub read: u64,
    /// Bytes written to anything.
    pub written: u64,
}

/// A process; `None` if there is none of this number.
#[must_use]
pub fn stat(pid: u32) -> Option<Stat> {
    read_stat(pid, ticks_per_second())
}

/// What was started below a process, ended or not, parents ahead of their children: at most so many, those next to it
/// first, and how many more are known of. `except` and what is below it is passed over.
///
/// Where the kernel lists children, only these processes are read, and not every one of the host.
#[must_use]
pub fn below(root: u32, except: u32, most: usize) -> (Vec<Stat>, usize) {
    let all = if children(root).is_none() { Some(all_children()) } else { None };
    let ticks = ticks_per_second();
    let mut found: Vec<Stat> = Vec::new();
    let mut known = BTreeSet::from([root, except]);
    let mut left_out = 0;
    let mut open = VecDeque::from([root]);
    while let Some(parent) = open.pop_front() {
        let own = match &all {
            Some(all) => all.get(&parent).cloned(),
            None => children(parent),
        };
        // One that is known already, as in a circle that a list which is not atomic may hold, ends the walk as well.
        for pid in own.unwrap_or_default().into_iter().filter(|&pid| known.insert(pid)) {
            if found.len() == most {
                left_out += 1;
            } else if let Some(stat) = read_stat(pid, ticks) {
                open.push_back(pid);
                found.push(stat);
            }
        }
    }
    (in_order(found, root), left_out)
}

/// Each right behind its parent and its parent's earlier children.
fn in_order(found: Vec<Stat>, root: u32) -> Vec<Stat> {
    let mut by_parent: BTreeMap<u32, Vec<Stat>> = BTreeMap::new();
    let pids: BTreeSet<u32> = found.iter().map(|stat| stat.pid).collect();
    for stat in found {
        // Whose parent has ended in between is the root's by now.
        let parent = if pids.contains(&stat.parent) { stat.parent } else { root };
        by_parent.entry(parent).or_default().push(stat);
    }
    let mut ordered = Vec::new();
    let mut open: Vec<Stat> = by_parent.remove(&root).unwrap_or_default();
    open.reverse();
    while let Some(stat) = open.pop() {
        open.extend(by_parent.remove(&stat.pid).unwrap_or_default().into_iter().rev());
        ordered.push(stat);
    }
    ordered
}

/// The children of all threads of a process; `None` if the kernel does not list them, or the process is gone.
fn children(pid: u32) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten().take(TASKS_MAX) {
        let list = fs::read_to_string(task.path().join("children")).ok()?;
        all.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Some(all)
}

/// The children of every process of the host.
fn all_children() -> BTreeMap<u32, Vec<u32>> {
    let ticks = ticks_per_second();
    let mut all: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for stat in pids.filter_map(|pid| read_stat(pid, ticks)) {
        all.entry(stat.parent).or_default().push(stat.pid);
    }
    all
}

fn read_stat(pid: u32, ticks: u64) -> Option<Stat> {
    parse_stat(pid, &read(format!("/proc/{pid}/stat"), FILE_BYTES_MAX), ticks)
}

/// The threads of a process, the main one first, at most so many.
#[must_use]
pub fn threads(pid: u32, most: usize) -> Vec<Stat> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let numbers = tasks.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let ticks = ticks_per_second();
    let of = |tid: u32| parse_stat(tid, &read(format!("/proc/{pid}/task/{tid}/stat"), FILE_BYTES_MAX), ticks);
    numbers.take(most).filter_map(of).collect()
}

/// What a thread waits for, as far as we may look.
#[must_use]
pub fn wait(pid: u32, tid: u32) -> Wait {
    let file = |name: &str| read(format!("/proc/{pid}/task/{tid}/{name}"), FILE_BYTES_MAX);
    let wchan = printable(&file("wchan"));
    Wait {
        wchan: Some(wchan).filter(|wchan| !matches!(wchan.as_str(), "" | "0")),
        call: parse_call(&file("syscall")),
        stack: parse_stack(&file("stack")),
    }
}

/// What a process has read and written, if we may know.
#[must_use]
pub fn io(pid: u32) -> Option<Io> {
    parse_io(&read(format!("/proc/{pid}/io"), FILE_BYTES_MAX))
}

/// What the kernel counts a second in, in its books of processes.
#[must_use]
pub fn ticks_per_second() -> u64 {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten();
    ticks.and_then(|ticks| u64::try_from(ticks).ok()).filter(|&ticks| ticks > 0).unwrap_or(100)
}

/// The second field is a name that may hold spaces and parentheses: the others are counted from the last closing one
/// (`proc_pid_stat(5)`).
fn parse_stat(pid: u32, stat: &[u8], ticks: u64) -> Option<Stat> {
    let begin = stat.iter().position(|&byte| byte == b'(')?;
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let fields: Vec<&str> = std::str::from_utf8(&stat[end + 1..]).ok()?.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field)?.parse::<u64>().ok();
    let time = |field| Some(Duration::from_millis(number(field)?.saturating_mul(1000) / ticks));
    Some(Stat {
        pid,
        parent: number(1)?.try_into().ok()?,
        name: printable(stat.get(begin + 1..end)?),
        state: fields.first()?.chars().next()?,
        threads: number(17)?.try_into().ok()?,
        start_time: number(19)?,
        user: time(11)?,
        system: time(12)?,
    })
}

/// `230 0x0 0x1 … SP PC`; `running`; or `-1 SP PC` for one that waits outside a call.
fn parse_call(text: &[u8]) -> Option<Call> {
    let mut words = std::str::from_utf8(text).ok()?.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    }
    Some(Call { number, arguments })
}

/// `[<0>] hrtimer_nanosleep+0x74/0xf0` a line; the address is never shown nowadays.
fn parse_stack(text: &[u8]) -> Vec<String> {
    let frames = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let frame = |line: &[u8]| {
        let line = printable(line);
        line.split_once("] ").map_or_else(|| line.clone(), |(_, frame)| frame.to_owned())
    };
    frames.take(FRAMES_MAX).map(frame).collect()
}

fn parse_io(text: &[u8]) -> Option<Io> {
    let text = std::str::from_utf8(text).ok()?;
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))?;
        line.trim().parse().ok()
    };
    Some(Io { read: value("rchar")?, written: value("wchar")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_neither_shifts_the_fields_nor_keeps_its_control_characters() {
        let text = b"77 (a) R 1 (\n) S 41 77 77 0 -1 4194560 1 2 3 4 150 25 7 8 20 0 3 0 9876 1 2 3 4";
        let stat = parse_stat(77, text, 100).unwrap();
        assert_eq!((stat.parent, stat.state, stat.threads, stat.start_time), (41, 'S', 3, 9876));
        assert_eq!(stat.name, r"a) R 1 (\n");
        assert_eq!((stat.user.as_millis(), stat.system.as_millis()), (1500, 250));
        assert_eq!(parse_stat(77, b"77 (torn", 100), None);
        assert_eq!(parse_stat(77, b"77 )(", 100), None);
    }

    #[test]
    fn calls_are_read_with_their_arguments() {
        let call = parse_call(b"45 0x3 0x7f00 0x400 0x0 0x0 0x0 0x7ffc 0x7fa8\n").unwrap();
        assert_eq!((call.number, call.arguments[0], call.arguments[2]), (45, 3, 0x400));
        for none in ["running\n", "-1 0x7ffc 0x7fa8\n", "", "45 0x3"] {
            assert_eq!(parse_call(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn a_stack_is_its_functions() {
        let text = b"[<0>] hrtimer_nanosleep+0x74/0xf0\n[<0>] do_syscall_64+0x71/0x280\n";
        assert_eq!(parse_stack(text), ["hrtimer_nanosleep+0x74/0xf0", "do_syscall_64+0x71/0x280"]);
        assert!(parse_stack(b"").is_empty());
    }

    #[test]
    fn what_a_process_has_read_and_written_is_counted() {
        let io = parse_io(b"rchar: 6976\nwchar: 12\nsyscr: 10\nread_bytes: 4096\n").unwrap();
        assert_eq!(io, Io { read: 6976, written: 12 });
        assert_eq!(parse_io(b""), None);
    }

    #[test]
    fn a_process_that_sleeps_is_found_below_and_says_so() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let own = std::process::id();
        let is_asleep =
            || wait(child.id(), child.id()).wchan.is_some_and(|wchan| wchan.contains("nanosleep"));
        assert!(std::iter::repeat_with(is_asleep).take(1_000_000).any(|asleep| asleep));
        let (all, left_out) = below(own, 0, 1000);
        assert_eq!(left_out, 0);
        let found = all.into_iter().find(|stat| stat.pid == child.id()).unwrap();
        let listed = |all: Option<Vec<u32>>| all.unwrap_or_default().contains(&child.id());
        assert!(listed(all_children().remove(&own)) && (children(own).is_none() || listed(children(own))));
        assert_eq!((found.parent, found.threads, found.name.as_str()), (own, 1, "sleep"));
        assert!(below(own, child.id(), 1000).0.iter().all(|stat| stat.pid != child.id()));
        let (none, left_out) = below(own, 0, 0);
        assert!(none.is_empty() && left_out > 0);
        assert_eq!(threads(child.id(), 10).len(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(stat(child.id()), None);
    }
}
