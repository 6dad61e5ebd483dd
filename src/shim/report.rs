//! What a report says in words.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use crate::engine::run::{KnownBy, LeftProcess, Tree};
use crate::os::{Cgroup, Process};
use crate::output;
use crate::run::RunFolder;

/// How much of the message file's end is looked at, bytes.
const MESSAGE_BYTES_MAX: u64 = 16 * 1024;
/// How many processes that live on are told with what they do: a fork bomb must not become a result of megabytes.
pub(super) const LEFT_MAX: usize = 500;

/// What the job has put into its message file, if anything. The file is the job's, so neither its size nor its kind
/// is trusted.
pub(super) fn message(folder: &RunFolder) -> Option<String> {
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(folder.message_path()).ok()?;
    let from = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
    let mut end = vec![0; usize::try_from(from.min(MESSAGE_BYTES_MAX)).ok()?];
    let count = file.read_at(&mut end, from.saturating_sub(MESSAGE_BYTES_MAX)).ok()?;
    output::excerpt(&end[..count])
}

/// That processes outlived the main one; nothing if they have ended in this very moment.
pub(super) fn leftovers(count: usize) -> Option<String> {
    match count {
        0 => None,
        1 => Some("1 process outlived the main process and was killed".to_owned()),
        _ => Some(format!("{count} processes outlived the main process and were killed")),
    }
}

/// What processes that live on are doing. Those that are gone by now are left out.
pub(super) fn left(processes: &[Process]) -> Vec<LeftProcess> {
    processes.iter().filter_map(|process| process.look()).take(LEFT_MAX).collect()
}

/// What is left of the process tree, and what says so: the group's own count where it agrees, else the kernel, which
/// knows of no child of ours but these.
pub(super) fn tree(cgroup: Option<&Cgroup>, left: Vec<LeftProcess>) -> Tree {
    let by_group = cgroup.and_then(Cgroup::is_populated) == Some(!left.is_empty());
    Tree { known_by: if by_group { KnownBy::Cgroup } else { KnownBy::Children }, left }
}
