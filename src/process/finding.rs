//! What a run folder says about its run, when nobody remembers.

use crate::engine::run::Report;
use crate::os::{self, Pidfd};
use crate::run::{Mark, RunError, RunFolder};

/// What became of a run that was to be launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A shim holds it. Without a mark it has not got so far as to start the job yet.
    Held {
        /// Who holds it.
        mark: Option<Mark>,
    },
    /// It is over, and this is how it ended.
    Ended(Box<Report>),
    /// No process of it was ever started.
    NeverStarted,
    /// It may have run, and nobody knows how it ended.
    Lost {
        /// Why nobody does.
        why: String,
        /// What is known of it.
        mark: Option<Mark>,
    },
}

/// Looks at a run folder, which need not exist. `boot_id` is that of the host now.
///
/// The lock is asked first: the result is durable before the lock is released, so who finds it free finds the result
/// too, if there is one.
///
/// # Errors
/// When the folder cannot be read, or a newer jobd wrote it: then nothing is known, not even that the run is lost.
pub fn inspect(folder: &RunFolder, boot_id: &str) -> Result<Finding, RunError> {
    let held = match folder.open_lock()? {
        Some(lock) => os::is_locked(&lock).map_err(RunError::io("ask", &folder.lock_path()))?,
        None => false,
    };
    let mark = corrupt_as_text(folder.mark())?;
    if held {
        // A mark that is not whole yet counts as none yet.
        return Ok(Finding::Held { mark: mark.unwrap_or(None) });
    }
    if let Ok(Some(mark)) = &mark {
        take_end(mark);
    }
    let result = match corrupt_as_text(folder.result())? {
        Ok(Some(result)) => return Ok(Finding::Ended(Box::new(result.into()))),
        Ok(None) => Ok(()),
        Err(why) => Err(why),
    };
    Ok(match (result, mark) {
        (Err(why), mark) => Finding::Lost { why, mark: mark.unwrap_or(None) },
        (Ok(()), Err(why)) => Finding::Lost { why, mark: None },
        (Ok(()), Ok(Some(mark))) if mark.boot_id != boot_id => lost("host rebooted", Some(mark)),
        (Ok(()), Ok(Some(mark))) => lost("its shim vanished", Some(mark)),
        (Ok(()), Ok(None)) => without_mark(folder, boot_id)?,
    })
}

/// A jobd that has executed itself anew is still the parent of the shims it started before, and knows nothing of it.
fn take_end(shim: &Mark) {
    if let Ok(Some(pidfd)) = Pidfd::open(shim.pid, shim.start_time) {
        pidfd.take_end();
    }
}

/// No mark: never started, if it is the same boot. After another one, a disk that breaks its word may have lost the
/// mark, and a run that is called never started would be started again.
fn without_mark(folder: &RunFolder, boot_id: &str) -> Result<Finding, RunError> {
    Ok(match corrupt_as_text(folder.spec())? {
        Ok(Some(spec)) if spec.boot_id != boot_id => lost("host rebooted", None),
        Ok(_) => Finding::NeverStarted,
        // The spec is written whole before a shim is started, so only a disk fault can have torn it.
        Err(why) => Finding::Lost { why, mark: None },
    })
}

fn lost(why: &str, mark: Option<Mark>) -> Finding {
    Finding::Lost { why: why.to_owned(), mark }
}

/// A corrupt file proves something; one that cannot be read or is newer proves nothing.
fn corrupt_as_text<T>(read: Result<T, RunError>) -> Result<Result<T, String>, RunError> {
    match read {
        Ok(value) => Ok(Ok(value)),
        Err(error @ RunError::Corrupt { .. }) => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}
