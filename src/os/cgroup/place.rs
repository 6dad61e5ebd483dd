//! Where the groups of runs are made.
//!
//! A group whose processes are to be limited hands its controllers down only while no process is in it itself. jobd
//! is in its own, so there is a second unit beside it with no process of its own, `jobd-runs.service`: the runs'
//! groups are made in that one, and the shims have one in it too. Without that unit they are made below jobd's own.

use std::fs;
use std::path::{Path, PathBuf};

/// What a run's group is limited by.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

/// The group of the shims, beside those of the runs.
const SHIMS: &str = "shims";

/// The group in which those of runs are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place(PathBuf);

impl Place {
    /// For a shim, which jobd has started in its own group. Moves the shim to where it does not stand in the way.
    pub(super) fn of_shim() -> Option<Self> {
        Some(Self::beside_or_below(&own()?))
    }

    /// All there may be, for jobd.
    pub(super) fn all() -> Vec<Self> {
        let own = own();
        let beside = own.as_deref().and_then(beside);
        own.into_iter().chain(beside).map(Self).collect()
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn beside_or_below(own: &Path) -> Self {
        match beside(own).filter(|beside| enter(beside)) {
            Some(beside) => {
                hand_down(&beside);
                Self(beside)
            }
            None => Self(own.to_owned()),
        }
    }
}

/// The group of the unit for runs, if our own is of a unit that has one beside it.
fn beside(own: &Path) -> Option<PathBuf> {
    let unit = own.file_name()?.to_str()?.strip_suffix(".service")?;
    let beside = own.with_file_name(format!("{unit}-runs.service"));
    beside.is_dir().then_some(beside)
}

/// Moves this process into the shims' group, so that whoever stops jobd's unit finds no process of a run in it.
fn enter(place: &Path) -> bool {
    let shims = place.join(SHIMS);
    // There already, as a rule.
    let _ = fs::create_dir(&shims);
    let members = fs::OpenOptions::new().write(true).open(shims.join("cgroup.procs"));
    members.is_ok_and(|mut members| std::io::Write::write_all(&mut members, b"0").is_ok())
}

/// Has a group hand its controllers down. What it does not hand down is noticed when a limit needs it.
fn hand_down(place: &Path) {
    let words = |file| fs::read_to_string(place.join(file)).unwrap_or_default();
    let (offered, given) = (words("cgroup.controllers"), words("cgroup.subtree_control"));
    let has = |list: &str, controller: &str| list.split_whitespace().any(|word| word == controller);
    for controller in CONTROLLERS.into_iter().filter(|&one| has(&offered, one) && !has(&given, one)) {
        // One by one: of several together, one that is refused takes the others with it.
        let _ = fs::write(place.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// The folder of our own group.
fn own() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    own_folder(&mounts, &own)
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

    /// A unit's group, and the files of the one beside it.
    fn units(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let (own, runs) = (root.path().join("jobd.service"), root.path().join("jobd-runs.service"));
        fs::create_dir(&own).unwrap();
        for (name, text) in files {
            let path = runs.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        (root, own, runs)
    }

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
    fn runs_have_their_groups_in_the_unit_beside_ours_with_its_controllers() {
        let files = [
            ("shims/cgroup.procs", ""),
            ("cgroup.controllers", "cpuset cpu io memory\n"),
            ("cgroup.subtree_control", "memory\n"),
        ];
        let (_root, own, runs) = units(&files);
        assert_eq!(Place::beside_or_below(&own), Place(runs.clone()));
        assert_eq!(fs::read_to_string(runs.join("shims/cgroup.procs")).unwrap(), "0");
        // Offered and not yet handed down is the CPU alone: memory is, and pids are not there to be.
        assert_eq!(fs::read_to_string(runs.join("cgroup.subtree_control")).unwrap(), "+cpu");
    }

    #[test]
    fn without_that_unit_or_a_way_into_it_they_are_below_ours() {
        let (_root, own, _) = units(&[]);
        assert_eq!(Place::beside_or_below(&own), Place(own.clone()));
        assert_eq!(beside(&own.join("user.slice")), None);
        let (_root, own, runs) =
            units(&[("cgroup.controllers", "cpu memory pids\n"), ("cgroup.subtree_control", "")]);
        assert_eq!(beside(&own), Some(runs.clone()));
        assert_eq!(Place::beside_or_below(&own), Place(own));
        assert_eq!(fs::read_to_string(runs.join("cgroup.subtree_control")).unwrap(), "");
    }
}
