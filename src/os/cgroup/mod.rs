//! Control groups, version 2: the one way to kill a tree of processes at once, to find it again after its parent has
//! died, and to limit it as a whole. Where none can be made (no such mount, no right to), a run does without.
//!
//! Only the file system logic is here, on paths that are given; so it is tested on folders that are no real groups.

mod limits;
mod place;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::proc::Process;
use crate::engine::resources::GroupLimits;
use crate::engine::run::OutOfMemory;

pub use limits::Missing;
use place::Place;

/// Every group of a run begins with this, so that no other is ever killed by mistake.
const PREFIX: &str = "jobd-run-";

/// The control group of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    path: PathBuf,
}

/// The ways into a group.
#[derive(Debug)]
pub struct Entrance {
    /// What a process is born into.
    pub folder: File,
    /// Where a process writes `0` to join.
    pub members: File,
}

impl Cgroup {
    /// Makes a group named by the run and the shim's pid, with limits; and moves the shim, which is the caller, out of
    /// the way where that is needed. The group is `None` if this host does not let us make one, for whatever reason:
    /// the caller then follows the process tree instead. What of the limits could not be set comes with it.
    #[must_use]
    pub fn create(run: u64, shim: u32, limits: &GroupLimits) -> (Option<Self>, Vec<Missing>) {
        let made = Place::of_shim().and_then(|place| Self::create_in(&place, run, shim));
        let missing = limits::set(made.as_ref().map(|group| group.path.as_path()), limits);
        (made, missing)
    }

    fn create_in(place: &Place, run: u64, shim: u32) -> Option<Self> {
        let cgroup = Self { path: place.path().join(format!("{PREFIX}{run}-{shim}")) };
        fs::create_dir(&cgroup.path).ok()?;
        // Before Linux 5.14 a group cannot be killed as one; then it is of no use here.
        if !cgroup.path.join("cgroup.kill").exists() {
            cgroup.remove();
            return None;
        }
        Some(cgroup)
    }

    /// The group that a started mark names; `None` if it is gone, or is none that [`Cgroup::create`] makes.
    #[must_use]
    pub fn existing(path: &Path) -> Option<Self> {
        let ours = path.file_name()?.to_str()?.starts_with(PREFIX);
        (ours && path.join("cgroup.kill").exists()).then(|| Self { path: path.to_owned() })
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the ways into it.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn entrance(&self) -> io::Result<Entrance> {
        let members = File::options().write(true).open(self.path.join("cgroup.procs"))?;
        Ok(Entrance { folder: File::open(&self.path)?, members })
    }

    /// Sends SIGKILL to all in the group and below it; a fork cannot outrun it.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn kill(&self) -> io::Result<()> {
        fs::write(self.path.join("cgroup.kill"), "1")
    }

    /// Whether any process lives in the group or below it; `None` if the group is gone or does not say.
    #[must_use]
    pub fn is_populated(&self) -> Option<bool> {
        let events = fs::read_to_string(self.path.join("cgroup.events")).ok()?;
        events.lines().find_map(|line| line.strip_prefix("populated ")).map(|count| count != "0")
    }

    /// The processes in the group and below it, by number.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        let mut found = Vec::new();
        let mut open = vec![self.path.clone()];
        while let Some(folder) = open.pop() {
            let members = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            found.extend(members.lines().filter_map(|line| line.parse::<u32>().ok()));
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            open.extend(
                entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()),
            );
        }
        found
    }

    /// The CPU time used in the group, where the kernel keeps count of it.
    #[must_use]
    pub fn cpu(&self) -> Option<Duration> {
        let stat = fs::read_to_string(self.path.join("cpu.stat")).ok()?;
        let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
        usage.parse().ok().map(Duration::from_micros)
    }

    /// What the out-of-memory killer has done to processes in the group or below it; `None` if nothing, or if the
    /// kernel keeps no count of it here.
    #[must_use]
    pub fn out_of_memory(&self) -> Option<OutOfMemory> {
        let events = fs::read_to_string(self.path.join("memory.events")).ok()?;
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()?;
        let limit = fs::read_to_string(self.path.join("memory.max")).ok();
        let limit = limit.and_then(|limit| limit.trim().parse().ok());
        (kills > 0).then_some(OutOfMemory { kills, limit })
    }

    /// Whether [`Cgroup::out_of_memory`] would know.
    #[must_use]
    pub fn counts_memory(&self) -> bool {
        self.path.join("memory.events").exists()
    }

    /// Removes the group, and groups that the job made below it. One that is still populated stays.
    pub fn remove(&self) {
        remove_folder(&self.path);
    }

    /// Removes the groups that shims have left which died before they could: those without a process, whose shim is
    /// gone.
    pub fn sweep() {
        for place in Place::all() {
            sweep(place.path(), |shim| Process::of(shim).is_some());
        }
    }
}

fn sweep(place: &Path, is_alive: impl Fn(u32) -> bool) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let shim = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-')?.1.parse().ok());
        let group = Cgroup { path: entry.path() };
        if shim.is_some_and(|shim| !is_alive(shim)) && group.is_populated() != Some(true) {
            group.remove();
        }
    }
}

/// A folder of the control group file system cannot be removed with its files, only by itself, from the leaves up.
fn remove_folder(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_folder(&entry.path());
        }
    }
    // A group with members stays: nobody is harmed by it, and it still names them.
    let _ = fs::remove_dir(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks like a group with these files.
    fn group(files: &[(&str, &str)]) -> (tempfile::TempDir, Cgroup) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let group = Cgroup { path: folder.path().to_owned() };
        (folder, group)
    }

    #[test]
    fn a_foreign_group_is_never_taken_for_a_run() {
        assert_eq!(Cgroup::existing(Path::new("/sys/fs/cgroup")), None);
        assert_eq!(Cgroup::existing(Path::new("/sys/fs/cgroup/jobd-run-gone-1")), None);
    }

    #[test]
    fn processes_killed_for_want_of_memory_are_counted() {
        let (_folder, plain) = group(&[("cgroup.events", "populated 0\n")]);
        assert_eq!((plain.out_of_memory(), plain.counts_memory()), (None, false));
        let events = |kills| format!("low 0\nhigh 0\nmax 7\noom 2\noom_kill {kills}\noom_group_kill 0\n");
        let (_folder, spared) = group(&[("memory.events", &events(0)), ("memory.max", "max\n")]);
        assert_eq!((spared.out_of_memory(), spared.counts_memory()), (None, true));
        let (_folder, limited) = group(&[("memory.events", &events(2)), ("memory.max", "67108864\n")]);
        assert_eq!(limited.out_of_memory(), Some(OutOfMemory { kills: 2, limit: Some(67_108_864) }));
        let (_folder, free) = group(&[("memory.events", &events(1)), ("memory.max", "max\n")]);
        assert_eq!(free.out_of_memory(), Some(OutOfMemory { kills: 1, limit: None }));
    }

    #[test]
    fn only_empty_groups_of_shims_that_are_gone_are_swept_away() {
        let place = tempfile::tempdir().unwrap();
        // A real group vanishes with its files; here a folder without files stands for an empty one.
        for name in [
            "jobd-run-1-10",
            "jobd-run-2-20",
            "jobd-run-3-10",
            "jobd-run-x",
            "other-10",
            "jobd-run-4-10/below",
        ] {
            fs::create_dir_all(place.path().join(name)).unwrap();
        }
        fs::write(place.path().join("jobd-run-3-10/cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        sweep(place.path(), |shim| shim == 20);
        let mut left: Vec<_> =
            fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["jobd-run-2-20", "jobd-run-3-10", "jobd-run-x", "other-10"]);
    }
}
