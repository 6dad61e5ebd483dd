//! What a report says in words.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use crate::os::Process;
use crate::output;
use crate::run::RunFolder;

/// How much of the message file's end is looked at, bytes.
const MESSAGE_BYTES_MAX: u64 = 16 * 1024;
/// How many processes a remark names.
const NAMED_MAX: usize = 10;

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

/// That processes live on after SIGKILL.
pub(super) fn unkillable(processes: &[Process]) -> Option<String> {
    let pids: Vec<String> = processes.iter().take(NAMED_MAX).map(|process| process.pid.to_string()).collect();
    match processes.len() {
        0 => None,
        1 => Some(format!("process {} could not be killed", pids.join(", "))),
        count if count > NAMED_MAX => {
            Some(format!("{count} processes could not be killed, among them {}", pids.join(", ")))
        }
        _ => Some(format!("processes {} could not be killed", pids.join(", "))),
    }
}
