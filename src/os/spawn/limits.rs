//! Priorities and limits of the job's process.

use std::ptr;

use nix::libc::{self, c_int, c_long};

use super::child::{Child, check, write_to_proc};
use super::{SpawnFailure, Step};
use crate::engine::resources::{IoPriority, Rlimit, RlimitPair};

/// The kernel's `struct rlimit64`: the soft limit, then the hard one.
type Limits = [u64; 2];

/// No limit, as the kernel writes it.
const UNLIMITED: u64 = u64::MAX;

#[expect(unsafe_code, reason = "bare system calls, the only thing allowed between fork and exec")]
impl Child<'_> {
    pub(super) fn set_priorities(&self) -> Result<(), SpawnFailure> {
        if let Some(nice) = self.plan.nice {
            // SAFETY: no memory is touched.
            check(Step::Nice, unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) })?;
        }
        if let Some(nice) = &self.nice {
            // Where the kernel groups processes by sessions (sched(7)), a priority counts within its session only,
            // and the session has one of its own.
            write_to_proc(c"/proc/self/autogroup", nice);
        }
        if let Some(priority) = self.plan.io {
            const WHO_PROCESS: c_int = 1;
            // SAFETY: no memory is touched.
            let result = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, io_value(priority)) };
            if result == -1 {
                return Err(SpawnFailure::last(Step::Ionice));
            }
        }
        Ok(())
    }

    /// What only root may do: hard limits above ours. The limits themselves come last of all, as they bind the steps
    /// in between as well. But the limit of a user's processes is looked at when the user is changed.
    pub(super) fn raise_limits(&self) -> Result<(), SpawnFailure> {
        self.each_limit(|rlimit, wanted, now| match rlimit {
            Rlimit::Nproc => wanted,
            _ => [now[0], now[1].max(wanted[1])],
        })
    }

    pub(super) fn settle_limits(&self) -> Result<(), SpawnFailure> {
        self.each_limit(|_, wanted, _| wanted)
    }

    fn each_limit(&self, choose: impl Fn(Rlimit, Limits, Limits) -> Limits) -> Result<(), SpawnFailure> {
        for (item, (rlimit, RlimitPair { soft, hard })) in (0..).zip(self.plan.rlimits) {
            let mut now: Limits = [0; 2];
            let wanted = [soft.unwrap_or(UNLIMITED), hard.unwrap_or(UNLIMITED)];
            // SAFETY: the kernel writes and reads a structure of this length.
            let result = unsafe {
                let (own, number, nothing) = (0, number(*rlimit), ptr::null::<u64>());
                libc::syscall(libc::SYS_prlimit64, own, number, nothing, now.as_mut_ptr());
                let chosen = choose(*rlimit, wanted, now);
                libc::syscall(libc::SYS_prlimit64, own, number, chosen.as_ptr(), ptr::null_mut::<u64>())
            };
            if result == -1 {
                return Err(SpawnFailure { item, ..SpawnFailure::last(Step::Rlimits) });
            }
        }
        Ok(())
    }
}

/// The class and the level in one number (`ioprio_set(2)`).
fn io_value(priority: IoPriority) -> c_int {
    const CLASS_SHIFT: u32 = 13;
    let (class, level) = match priority {
        IoPriority::Realtime(level) => (1, level),
        IoPriority::BestEffort(level) => (2, level),
        IoPriority::Idle => (3, 0),
    };
    class << CLASS_SHIFT | c_int::from(level)
}

fn number(rlimit: Rlimit) -> c_long {
    c_long::from(match rlimit {
        Rlimit::As => libc::RLIMIT_AS,
        Rlimit::Core => libc::RLIMIT_CORE,
        Rlimit::Cpu => libc::RLIMIT_CPU,
        Rlimit::Data => libc::RLIMIT_DATA,
        Rlimit::Fsize => libc::RLIMIT_FSIZE,
        Rlimit::Memlock => libc::RLIMIT_MEMLOCK,
        Rlimit::Nofile => libc::RLIMIT_NOFILE,
        Rlimit::Nproc => libc::RLIMIT_NPROC,
        Rlimit::Stack => libc::RLIMIT_STACK,
    })
}
