//! Processes as `/proc` shows them.

use std::collections::BTreeMap;
use std::fs;
use std::io;

/// One process, named so that a reused number is not mistaken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it was started, in clock ticks since boot.
    pub start_time: u64,
    parent: u32,
    /// A zombie, with no thread of it left.
    dead: bool,
}

impl Process {
    /// Reads a process; `None` if there is none of this number.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Whether it was more than a zombie when it was read.
    #[must_use]
    pub const fn lived(&self) -> bool {
        !self.dead
    }
}

/// The kernel's name for the time since the host was started.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// When a process was started, in clock ticks since boot; `None` if there is no such process.
#[must_use]
pub fn start_time(pid: u32) -> Option<u64> {
    Process::of(pid).map(|process| process.start_time)
}

/// Everything that was started below a process and still lives. As long as that process is a child subreaper,
/// nothing can leave this set by forking twice or by a session of its own.
#[must_use]
pub fn descendants(root: u32) -> Vec<Process> {
    let mut children: BTreeMap<u32, Vec<Process>> = BTreeMap::new();
    for process in all() {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        // Taking them out of the map ends the walk even if the snapshot, which is not atomic, holds a circle.
        for child in children.remove(&parent).unwrap_or_default() {
            open.push(child.pid);
            if !child.dead {
                found.push(child);
            }
        }
    }
    found
}

/// The children of a process that live.
#[must_use]
pub fn children(parent: u32) -> Vec<Process> {
    all().into_iter().filter(|process| process.parent == parent && !process.dead).collect()
}

/// Every living process that was started with this entry (`NAME=value`) in its environment, as far as we may look.
#[must_use]
pub fn with_environment(entry: &str) -> Vec<Process> {
    let has_entry = |process: &Process| {
        let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|found| found == entry.as_bytes())
    };
    all().into_iter().filter(|process| !process.dead && has_entry(process)).collect()
}

/// This process's standing with the out-of-memory killer, −1000 (never) to 1000 (first).
///
/// # Errors
/// When `/proc` is not mounted.
pub fn oom_score_adj() -> io::Result<i32> {
    let text = fs::read_to_string("/proc/self/oom_score_adj")?;
    text.trim().parse().map_err(io::Error::other)
}

/// Changes [`oom_score_adj`]; the children inherit it.
///
/// # Errors
/// When it is lowered without the right to.
pub fn set_oom_score_adj(value: i32) -> io::Result<()> {
    fs::write("/proc/self/oom_score_adj", value.to_string())
}

/// How many processes the kernel has killed for want of memory since boot, on the whole host; `None` if it does not
/// count them.
#[must_use]
pub fn oom_kills() -> Option<u64> {
    let counts = fs::read_to_string("/proc/vmstat").ok()?;
    counts.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()
}

fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    entries.flatten().filter_map(pid).filter_map(Process::of).collect()
}

/// Reads `/proc/PID/stat` (proc(5)). The second field is the command's name in parentheses and may itself hold
/// spaces and parentheses, so the fields are counted from the last closing one.
fn parse(pid: u32, stat: &[u8]) -> Option<Process> {
    const STATE: usize = 0;
    const PARENT: usize = 1;
    const THREADS: usize = 17;
    const START_TIME: usize = 19;
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let fields = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let threads: u32 = fields.get(THREADS)?.parse().ok()?;
    Some(Process {
        pid,
        start_time: fields.get(START_TIME)?.parse().ok()?,
        parent: fields.get(PARENT)?.parse().ok()?,
        // A process whose first thread has ended is shown as a zombie while others of its threads work on.
        dead: matches!(*fields.get(STATE)?, "Z" | "X" | "x") && threads < 2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat =
            b"77 (a) R 1 (b) S 41 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9876 1 2 3 4 5 6 7 8 9 0 0";
        let process = parse(77, stat).unwrap();
        assert_eq!((process.pid, process.parent, process.start_time), (77, 41, 9876));
        assert!(!process.dead);
        assert!(parse(77, b"77 (torn").is_none());
        assert!(parse(77, b"77 (short) S 1 2").is_none());
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_lives() {
        let stat = |threads: u32| format!("77 (a) Z 41 77 77 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 9876 0");
        assert!(parse(77, stat(1).as_bytes()).unwrap().dead);
        assert!(!parse(77, stat(2).as_bytes()).unwrap().dead);
    }

    #[test]
    fn a_child_is_found_below_its_parent_and_by_its_environment() {
        let mut child =
            std::process::Command::new("sleep").arg("60").env("MARK_OF", "a test").spawn().unwrap();
        let ours = descendants(std::process::id());
        let found = with_environment("MARK_OF=a test");
        let process = ours.iter().find(|process| process.pid == child.id()).copied().unwrap();
        assert!(found.iter().any(|other| other.pid == child.id()));
        assert_eq!(start_time(child.id()), Some(process.start_time));
        process.signal(9);
        child.wait().unwrap();
        assert_eq!(start_time(child.id()), None);
    }

    #[test]
    fn a_boot_id_is_a_uuid() {
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
