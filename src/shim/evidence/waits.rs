//! What each thread waits for.

use std::collections::BTreeMap;
use std::io;

use syscalls::Sysno;

use super::tell;
use crate::os::inspect::{self, Stat};
use crate::run::evidence::{Call, Piece, Wait};

/// How many threads of a process are looked at besides the main one, and how many of them are told of.
const THREADS_MAX: usize = 64;
const TOLD_MAX: usize = 8;
/// How many threads are looked at in all.
const LOOKS_MAX: usize = 2000;

/// The calls whose first argument is the descriptor they are about.
const ON_DESCRIPTOR: [&str; 32] = [
    "accept",
    "accept4",
    "connect",
    "copy_file_range",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "fallocate",
    "fdatasync",
    "flock",
    "fsync",
    "ftruncate",
    "getdents64",
    "ioctl",
    "pread64",
    "preadv",
    "preadv2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readv",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "sendfile",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "sync_file_range",
    "write",
    "writev",
];
/// The commands of `fcntl` that wait, for a lock.
const WAITING_FCNTL: [u64; 2] = [7, 38];

/// Tells what every process waits for, and returns it by process.
pub(super) fn tell_all(stats: &[Stat]) -> io::Result<BTreeMap<u32, Vec<Wait>>> {
    let mut room = LOOKS_MAX;
    let mut all = BTreeMap::new();
    for stat in stats.iter().filter(|stat| !matches!(stat.state, 'Z' | 'X' | 'x')) {
        if room == 0 {
            break;
        }
        let waits = of_process(stat, &mut room);
        tell(&Piece::Waits { pid: stat.pid, waits: waits.clone() })?;
        all.insert(stat.pid, waits);
    }
    Ok(all)
}

/// The main thread, and of the others those that do more than wait for each other.
fn of_process(stat: &Stat, room: &mut usize) -> Vec<Wait> {
    *room = room.saturating_sub(1);
    let mut waits = vec![of_thread(stat.pid, stat)];
    if stat.threads > 1 {
        let threads = inspect::threads(stat.pid, (THREADS_MAX + 1).min(*room));
        *room = room.saturating_sub(threads.len());
        let others = threads.iter().filter(|thread| thread.pid != stat.pid);
        let others = others.map(|thread| of_thread(stat.pid, thread));
        waits.extend(others.filter(|wait| !is_futex(wait)).take(TOLD_MAX));
    }
    waits
}

fn is_futex(wait: &Wait) -> bool {
    match &wait.call {
        Some(call) => call.name == "futex",
        None => wait.wchan.as_ref().is_some_and(|wchan| wchan.starts_with("futex")),
    }
}

fn of_thread(pid: u32, thread: &Stat) -> Wait {
    let wait = inspect::wait(pid, thread.pid);
    Wait {
        tid: thread.pid,
        state: thread.state,
        wchan: wait.wchan,
        call: wait.call.as_ref().map(call),
        stack: wait.stack,
    }
}

fn call(call: &inspect::Call) -> Call {
    let known = usize::try_from(call.number).ok().and_then(Sysno::new);
    let name = known.map_or_else(|| format!("syscall_{}", call.number), |known| known.name().to_owned());
    let is_lock = name == "fcntl" && WAITING_FCNTL.contains(&call.arguments[1]);
    let fd = u32::try_from(call.arguments[0]).ok();
    Call {
        fd: fd.filter(|_| is_lock || ON_DESCRIPTOR.contains(&name.as_str())),
        name,
        arguments: call.arguments.iter().map(|argument| format!("{argument:#x}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_have_names_and_say_which_descriptor_they_are_about() {
        let of = |known: Sysno, arguments| {
            call(&inspect::Call { number: known.id().try_into().unwrap(), arguments })
        };
        let recv = of(Sysno::recvfrom, [3, 0x7f00, 0x400, 0, 0, 0]);
        assert_eq!((recv.name.as_str(), recv.fd), ("recvfrom", Some(3)));
        assert_eq!(recv.arguments[2], "0x400");
        assert_eq!(of(Sysno::clock_nanosleep, [0; 6]).fd, None);
        assert_eq!(of(Sysno::fcntl, [5, 7, 0, 0, 0, 0]).fd, Some(5));
        assert_eq!(of(Sysno::fcntl, [5, 3, 0, 0, 0, 0]).fd, None);
        let unknown = call(&inspect::Call { number: 99_999, arguments: [0; 6] });
        assert_eq!((unknown.name.as_str(), unknown.fd), ("syscall_99999", None));
    }
}
