//! Control groups, version 2: the one way to kill a tree of processes at once, and to find it again after its
//! parent has died. Where none can be made (no such mount, no right to), a run does without.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every group of a run begins with this, so that no other is ever killed by mistake.
const PREFIX: &str = "jobd-run-";

/// The control group of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes a group below our own, named by the run and the shim's pid. `None` if this host does not let us, for
    /// whatever reason: the caller then follows the process tree instead.
    #[must_use]
    pub fn create(run: u64, shim: u32) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let cgroup = Self { path: own_folder(&mounts, &own)?.join(format!("{PREFIX}{run}-{shim}")) };
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

    /// Opens the file through which a process joins: by writing `0` to it.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn members(&self) -> io::Result<File> {
        File::options().write(true).open(self.path.join("cgroup.procs"))
    }

    /// Sends SIGKILL to all in the group and below it; a fork cannot outrun it.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn kill(&self) -> io::Result<()> {
        fs::write(self.path.join("cgroup.kill"), "1")
    }

    /// Whether any process lives in the group or below it.
    #[must_use]
    pub fn is_populated(&self) -> bool {
        let events = fs::read_to_string(self.path.join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "populated 1")
    }

    /// The CPU time used in the group, where the kernel keeps count of it.
    #[must_use]
    pub fn cpu(&self) -> Option<Duration> {
        let stat = fs::read_to_string(self.path.join("cpu.stat")).ok()?;
        let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
        usage.parse().ok().map(Duration::from_micros)
    }

    /// Removes the group, and groups that the job made below it. One that is still populated stays.
    pub fn remove(&self) {
        remove_folder(&self.path);
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

/// Where our own group is to be found in the file system, from `/proc/self/mountinfo` and `/proc/self/cgroup`.
fn own_folder(mounts: &str, own: &str) -> Option<PathBuf> {
    let (root, mount) = mounts.lines().find_map(cgroup2_mount)?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    // In a container the mount may show a part of the hierarchy only, and our path is told from the hierarchy's root.
    let below = Path::new(own).strip_prefix(&root).ok()?;
    Some(mount.join(below))
}

/// `36 35 0:31 ROOT MOUNT rw,… shared:1 - cgroup2 cgroup2 rw` (proc(5)); the optional fields vary in number.
fn cgroup2_mount(line: &str) -> Option<(PathBuf, PathBuf)> {
    let (mount, kind) = line.split_once(" - ")?;
    if kind.split(' ').next()? != "cgroup2" {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    Some((PathBuf::from(fields.next()?), PathBuf::from(fields.next()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_folder_is_found_in_every_layout() {
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw\n";
        let folder = |mounts, own| own_folder(mounts, own).map(|path| path.display().to_string());
        assert_eq!(folder(hybrid, "1:cpu:/a\n0::/\n").as_deref(), Some("/sys/fs/cgroup/unified/"));
        let pure = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let service = "0::/system.slice/jobd.service\n";
        assert_eq!(folder(pure, service).as_deref(), Some("/sys/fs/cgroup/system.slice/jobd.service"));
        let part = "41 31 0:38 /pod/a /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(folder(part, "0::/pod/a/b\n").as_deref(), Some("/sys/fs/cgroup/b"));
        assert_eq!(folder(part, "0::/elsewhere\n"), None);
        assert_eq!(folder("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n", "0::/\n"), None);
    }

    #[test]
    fn a_foreign_group_is_never_taken_for_a_run() {
        assert_eq!(Cgroup::existing(Path::new("/sys/fs/cgroup")), None);
        assert_eq!(Cgroup::existing(Path::new("/sys/fs/cgroup/jobd-run-gone-1")), None);
    }
}
