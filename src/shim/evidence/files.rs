//! What processes have open, where that leads, and which locks they hold or wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use super::{Found, tell};
use crate::os::inspect::{self, FileLock, Stat};
use crate::run::evidence::{Lock, Named, OpenFile, Piece, Socket, Tcp, Wait};

/// How many descriptors are told of, of one process and of all.
const OF_PROCESS_MAX: usize = 100;
const OF_ALL_MAX: usize = 2500;
/// How many of the descriptors that another one watches are told of besides.
const WATCHED_MAX: usize = 32;
/// How many locks are told of.
const LOCKS_MAX: usize = 100;
/// How many processes that hold a lock are named.
const HOLDERS_MAX: usize = 4;

/// Tells what every process has open, those first that wait on it.
pub(super) fn tell_all(stats: &[Stat], waits: &BTreeMap<u32, Vec<Wait>>) -> io::Result<Found> {
    let awaited = |pid: u32| -> BTreeSet<u32> {
        let calls = waits.get(&pid).into_iter().flatten().filter_map(|wait| wait.call.as_ref());
        calls.filter_map(|call| call.fd).collect()
    };
    let mut order: Vec<(u32, BTreeSet<u32>)> = waits.keys().map(|&pid| (pid, awaited(pid))).collect();
    let place = |pid: u32| stats.iter().position(|stat| stat.pid == pid);
    order.sort_by_cached_key(|(pid, awaited)| (awaited.is_empty(), place(*pid)));
    let mut found = Found::default();
    let mut room = OF_ALL_MAX;
    for (pid, awaited) in order {
        if room == 0 {
            break;
        }
        let all = inspect::descriptors(pid);
        let files = of_process(pid, &all, &awaited, room);
        room -= files.len();
        for file in &files {
            found.note(pid, file, awaited.contains(&file.fd));
        }
        let left_out = u64::try_from(all.len().saturating_sub(files.len())).unwrap_or(u64::MAX);
        tell(&Piece::Files { pid, files: files.iter().map(told).collect(), left_out })?;
    }
    Ok(found)
}

/// The descriptors it waits on, what those watch, and the lowest ones; where there is no room for all, in this order.
fn of_process(pid: u32, all: &[u32], awaited: &BTreeSet<u32>, room: usize) -> Vec<inspect::OpenFile> {
    let open = |fd: &u32| inspect::open_file(pid, *fd);
    let mut files: Vec<inspect::OpenFile> = awaited.iter().filter_map(open).collect();
    let watched = files.iter().flat_map(|file| &file.watched).take(WATCHED_MAX);
    let further: BTreeSet<u32> = watched.chain(all.iter().take(OF_PROCESS_MAX)).copied().collect();
    files.extend(further.difference(awaited).filter_map(open));
    files.truncate(room);
    files.sort_by_key(|file| file.fd);
    files
}

impl Found {
    fn note(&mut self, pid: u32, file: &inspect::OpenFile, is_awaited: bool) {
        let inode =
            file.target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')?.parse().ok());
        self.sockets.extend::<Option<u64>>(inode);
        if is_awaited {
            self.awaited.push((pid, file.target.clone()));
        }
        for lock in &file.locks {
            self.held.push((lock.clone(), pid, file.target.clone()));
        }
    }
}

fn told(file: &inspect::OpenFile) -> OpenFile {
    let mode = match (file.is_read, file.is_written) {
        (true, true) => "rw",
        (_, true) => "w",
        _ => "r",
    };
    OpenFile {
        fd: file.fd,
        target: file.target.clone(),
        mode: mode.to_owned(),
        position: file.position,
        watched: file.watched.clone(),
    }
}

/// The sockets of these inodes.
pub(super) fn sockets(inodes: &BTreeSet<u64>) -> io::Result<Vec<Socket>> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let socket = |socket: inspect::Socket| Socket {
        inode: socket.inode,
        kind: socket.kind.to_owned(),
        state: socket.state.to_owned(),
        local: socket.local,
        peer: socket.peer,
        peer_inode: socket.peer_inode,
        unread: socket.unread,
        unsent: socket.unsent,
        tcp: socket.tcp.map(|tcp| Tcp {
            received_bytes: tcp.received,
            since_received_ms: ms(tcp.since_received),
            since_sent_ms: ms(tcp.since_sent),
            retransmits: tcp.retransmits,
        }),
    };
    Ok(inspect::sockets(inodes)?.into_iter().map(socket).collect())
}

/// A lock with what the kernel says of its holder.
pub(super) struct Known {
    pub(super) told: Lock,
    held: FileLock,
}

/// The locks that processes of the run hold or wait for.
pub(super) fn locks(stats: &[Stat], found: &Found) -> Vec<Known> {
    let ours: BTreeSet<u32> = stats.iter().map(|stat| stat.pid).collect();
    let mut by_number: BTreeMap<u64, Vec<FileLock>> = BTreeMap::new();
    for lock in inspect::file_locks() {
        by_number.entry(lock.number).or_default().push(lock);
    }
    let is_ours = |lock: &FileLock| {
        lock.pid.is_some_and(|pid| ours.contains(&pid))
            || found.held.iter().any(|held| is_same(&held.0, lock))
    };
    let concerned = by_number.into_values().filter(|group| group.iter().any(is_ours));
    concerned.take(LOCKS_MAX).filter_map(|group| known(&group, &ours, found)).collect()
}

/// One lock, from its holder and those who wait for it.
fn known(group: &[FileLock], ours: &BTreeSet<u32>, found: &Found) -> Option<Known> {
    let held = group.iter().find(|lock| !lock.is_awaited)?;
    let waiting = group.iter().filter(|lock| lock.is_awaited).filter_map(|lock| lock.pid);
    let awaited_by: Vec<u32> = waiting.filter(|pid| ours.contains(pid)).collect();
    let by_holder =
        found.held.iter().find(|(lock, _, _)| is_same(lock, held)).map(|(_, _, path)| path.clone());
    let by_waiter = || {
        let awaited = found.awaited.iter().find(|(pid, _)| awaited_by.contains(pid));
        awaited.map(|(_, path)| path.clone())
    };
    let told = Lock {
        kind: held.kind.clone(),
        mode: held.mode.clone(),
        path: by_holder.or_else(by_waiter),
        file: format!("{}:{}", held.device, held.inode),
        held_by: holders(held, found).into_iter().map(named).collect(),
        awaited_by: awaited_by.into_iter().map(named).collect(),
    };
    Some(Known { told, held: held.clone() })
}

/// Who took it, if they live; else who of the run has it now; else who took it and has ended.
fn holders(held: &FileLock, found: &Found) -> Vec<u32> {
    if let Some(pid) = held.pid.filter(|&pid| inspect::stat(pid).is_some_and(|stat| stat.state != 'Z')) {
        return vec![pid];
    }
    let of_run: BTreeSet<u32> =
        found.held.iter().filter(|(lock, _, _)| is_same(lock, held)).map(|(_, pid, _)| *pid).collect();
    if of_run.is_empty() {
        held.pid.into_iter().collect()
    } else {
        of_run.into_iter().take(HOLDERS_MAX).collect()
    }
}

/// Looks all over the host for who has a lock that is awaited and whose taker has ended; `None` if there is none.
pub(super) fn search(mut locks: Vec<Known>) -> Option<Vec<Lock>> {
    let is_orphaned = |lock: &Known| {
        !lock.told.awaited_by.is_empty() && lock.told.held_by.iter().all(|holder| holder.name.is_empty())
    };
    let mut has_searched = false;
    for lock in locks.iter_mut().filter(|lock| is_orphaned(lock)) {
        has_searched = true;
        let holders = inspect::holders(&lock.held, HOLDERS_MAX);
        if !holders.is_empty() {
            lock.told.held_by = holders.into_iter().map(named).collect();
        }
    }
    has_searched.then(|| locks.into_iter().map(|lock| lock.told).collect())
}

fn is_same(a: &FileLock, b: &FileLock) -> bool {
    (&a.kind, &a.device, a.inode) == (&b.kind, &b.device, b.inode)
}

fn named(pid: u32) -> Named {
    Named { pid, name: inspect::stat(pid).map(|stat| stat.name).unwrap_or_default() }
}
