//! What a process that does not end is doing.
//!
//! **Invariant:** only files of `/proc` are read that the kernel answers without the process's own locks: whoever asks
//! after one that hangs must not hang with it.

use std::fs;

use super::proc::Process;
use crate::engine::run::LeftProcess;

/// The states in which a thread still has something to do, the most telling first.
const STATES: [char; 5] = ['D', 'R', 'T', 't', 'S'];

impl Process {
    /// What this process is doing; `None` if it is gone.
    #[must_use]
    pub fn look(self) -> Option<LeftProcess> {
        let folder = format!("/proc/{}", self.pid);
        let (name, own) = name_and_state(&folder)?;
        let threads = fs::read_dir(format!("{folder}/task")).into_iter().flatten().flatten();
        let threads = threads.filter_map(|thread| {
            let folder = thread.path().display().to_string();
            let (_, state) = name_and_state(&folder)?;
            Some((STATES.iter().position(|&known| known == state)?, state, folder))
        });
        // The one that keeps a process from ending need not be its first.
        let (_, state, folder) = threads.min().unwrap_or((STATES.len(), own, folder));
        // By now the number may be somebody else's.
        let same = Self::of(self.pid).is_some_and(|process| process.start_time == self.start_time);
        same.then(|| LeftProcess { pid: self.pid, name, state, sleeps_in: sleeps_in(&folder) })
    }
}

/// The name and the state in a `stat` file (proc(5)). The name is the process's own choice: what could steer a terminal
/// is taken out of it.
fn name_and_state(folder: &str) -> Option<(String, char)> {
    let stat = fs::read(format!("{folder}/stat")).ok()?;
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let name_begin = stat.iter().position(|&byte| byte == b'(')? + 1;
    let name = String::from_utf8_lossy(stat.get(name_begin..name_end)?);
    let name = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let state = stat.get(name_end + 2).copied()?;
    Some((name, char::from(state)))
}

/// The kernel's function in which a thread sleeps; none if it does not, or we may not know.
fn sleeps_in(folder: &str) -> Option<String> {
    let place = fs::read_to_string(format!("{folder}/wchan")).ok()?;
    let place = place.trim();
    (!place.is_empty() && place != "0").then(|| place.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_told_with_what_it_does() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        // Until it sleeps it may be anywhere.
        let looks = std::iter::repeat_with(|| process.look().unwrap()).take(1_000_000);
        let left = { looks }.find(|left| left.name == "sleep" && left.state == 'S').unwrap();
        assert_eq!(left.pid, child.id());
        process.signal(9);
        child.wait().unwrap();
        assert_eq!(process.look(), None);
    }

    #[test]
    fn a_name_has_no_power() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("stat"), b"7 (a) \x1b[2J\n(\xff) D 1 2 3").unwrap();
        let (name, state) = name_and_state(folder.path().to_str().unwrap()).unwrap();
        assert_eq!((name.as_str(), state), ("a) ?[2J?(\u{fffd}", 'D'));
        assert_eq!(sleeps_in(folder.path().to_str().unwrap()), None);
    }
}
