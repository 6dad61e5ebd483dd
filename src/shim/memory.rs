//! Whether the out-of-memory killer ended the job, where no controller of its group counts that.

use nix::libc::SIGKILL;

use crate::engine::run::{Exit, OutOfMemory, Report};
use crate::os;

/// What the host had counted before the job was started.
pub(super) struct Watch(Option<u64>);

impl Watch {
    pub(super) fn begin() -> Self {
        Self(os::oom_kills())
    }

    /// A main process that died by a SIGKILL which we did not send, while the kernel killed somebody for want of
    /// memory.
    pub(super) fn suspect(&self, report: &Report) -> Option<OutOfMemory> {
        suspect(self.0?, os::oom_kills()?, report)
    }
}

fn suspect(before: u64, after: u64, report: &Report) -> Option<OutOfMemory> {
    let is_strange = report.exit == Exit::Signal(SIGKILL) && report.stop.is_none();
    (is_strange && after > before).then_some(OutOfMemory { kills: 0, limit: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::run::Stop;
    use crate::engine::time::Timestamp;

    #[test]
    fn only_a_kill_that_nobody_owns_up_to_is_suspected() {
        let report = |exit, stop| Report { exit, stop, ..Report::lost("", None, Timestamp::UNIX_EPOCH) };
        let killed = report(Exit::Signal(SIGKILL), None);
        assert_eq!(suspect(3, 4, &killed), Some(OutOfMemory { kills: 0, limit: None }));
        assert_eq!(suspect(4, 4, &killed), None);
        assert_eq!(suspect(3, 4, &report(Exit::Signal(SIGKILL), Some(Stop::Timeout))), None);
        assert_eq!(suspect(3, 4, &report(Exit::Signal(15), None)), None);
        assert_eq!(suspect(3, 4, &report(Exit::Code(137), None)), None);
    }
}
