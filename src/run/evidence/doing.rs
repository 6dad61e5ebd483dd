//! What a process does, in words, and whether that says why its run does not end.

use super::{Evidence, Named, OpenFile, Process, Socket, Usage, Wait};

/// From how much of a processor on a process is called busy, percent.
const BUSY_PERCENT: u64 = 50;
/// How many descriptors that are watched at once are named.
const WATCHED_MAX: usize = 2;

/// How much a process's doing explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// It waits for another process of the run, and that one is to be asked.
    Passed,
    /// It waits as one does that has nothing to do.
    Idle,
    /// It cannot go on.
    Stuck,
}

/// What a process or thread does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Doing {
    pub(super) weight: Weight,
    /// To be read after the process's name: `waits in recv() on 127.0.0.1:2525, connected 31 s`.
    pub(super) words: String,
}

impl Doing {
    const fn new(weight: Weight, words: String) -> Self {
        Self { weight, words }
    }
}

/// What a process does; of several threads, what says most.
pub(super) fn doing(evidence: &Evidence, process: &Process) -> Doing {
    match process.state {
        'T' => return Doing::new(Weight::Stuck, "is stopped (SIGSTOP or the like)".to_owned()),
        't' => return Doing::new(Weight::Stuck, "is stopped by a debugger".to_owned()),
        _ => {}
    }
    if let Some(usage) = process.usage.filter(|usage| usage.cpu_percent() >= BUSY_PERCENT) {
        return Doing::new(Weight::Stuck, busy(&usage));
    }
    let of_thread = |wait: &Wait| {
        let mut doing = of_thread(evidence, process, wait);
        if wait.tid != process.pid {
            doing.words = format!("(thread {}) {}", wait.tid, doing.words);
        }
        doing
    };
    let mut all: Vec<Doing> = process.waits.iter().map(of_thread).collect();
    // The first of those that weigh most: the main thread comes first.
    let most = all.iter().enumerate().rev().max_by_key(|(_, doing)| doing.weight).map(|(index, _)| index);
    match most {
        Some(index) => all.swap_remove(index),
        None => without_looking(process),
    }
}

/// Of a process whose threads we may not or could not look at.
fn without_looking(process: &Process) -> Doing {
    match process.state {
        'R' => Doing::new(Weight::Idle, "is running".to_owned()),
        'D' => Doing::new(Weight::Stuck, "sleeps uninterruptibly".to_owned()),
        _ => Doing::new(Weight::Idle, "sleeps".to_owned()),
    }
}

fn busy(usage: &Usage) -> String {
    let place = match usage.system_ms * 100 / (usage.user_ms + usage.system_ms).max(1) {
        0..=25 => "in its own code",
        75.. => "in the kernel",
        _ => "partly in the kernel",
    };
    // Whole ticks over a short window may come to a little more than there is.
    let percent = match usage.cpu_percent() {
        101..=110 => 100,
        percent => percent,
    };
    let seconds = format!("{}.{}", usage.window_ms / 1000, usage.window_ms % 1000 / 100);
    format!("has used {percent} % CPU for the last {seconds} s, {place}")
}

fn of_thread(evidence: &Evidence, process: &Process, wait: &Wait) -> Doing {
    let wchan = wait.wchan.as_deref();
    if wait.state == 'D' {
        let place = wchan.map(|wchan| format!(" in {wchan}")).unwrap_or_default();
        let during = wait.call.as_ref().map(|call| {
            let on = call.fd.and_then(|fd| process.file(fd)).map(|file| format!(" on {}", file.target));
            format!(", for {}(){}", spoken(&call.name), on.unwrap_or_default())
        });
        let words = format!("sleeps uninterruptibly{place}{}", during.unwrap_or_default());
        return Doing::new(Weight::Stuck, words);
    }
    if let (None, 'R') = (&wait.call, wait.state) {
        // It competes for a processor with others, or has just begun to run.
        let words = process.usage.map_or_else(|| "is running".to_owned(), |usage| busy(&usage));
        return Doing::new(Weight::Idle, words);
    }
    match (&wait.call, wchan) {
        (Some(call), _) => of_call(evidence, process, call, wchan),
        (None, Some(wchan)) => by_wchan(wchan),
        (None, None) => Doing::new(Weight::Idle, "sleeps".to_owned()),
    }
}

/// Where calls may not be seen, the kernel's function still tells the commonest waits apart.
fn by_wchan(wchan: &str) -> Doing {
    let weight = match wchan {
        "do_wait" => Weight::Passed,
        "hrtimer_nanosleep" | "ep_poll" | "do_sigtimedwait" | "sigsuspend" => Weight::Idle,
        _ if wchan.starts_with("futex") || wchan.contains("poll") => Weight::Idle,
        _ => Weight::Stuck,
    };
    Doing::new(weight, format!("waits in the kernel's {wchan}"))
}

fn of_call(evidence: &Evidence, process: &Process, call: &super::Call, wchan: Option<&str>) -> Doing {
    let name = spoken(&call.name);
    let file = call.fd.and_then(|fd| process.file(fd));
    match call.name.as_str() {
        "wait4" | "waitid" => Doing::new(Weight::Passed, format!("waits in {name}() for a child")),
        "rt_sigsuspend" | "pause" | "rt_sigtimedwait" => {
            // A shell waits for its children this way.
            let has_child =
                evidence.processes.iter().any(|other| other.parent == process.pid && !other.has_ended());
            let weight = if has_child { Weight::Passed } else { Weight::Idle };
            Doing::new(weight, format!("waits in {name}() for a signal"))
        }
        "nanosleep" | "clock_nanosleep" => Doing::new(Weight::Idle, format!("sleeps in {name}()")),
        "futex" => Doing::new(Weight::Idle, "waits in futex() for another thread".to_owned()),
        "flock" | "fcntl" => awaited_lock(evidence, process, call, file),
        "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => polled(evidence, process, name, file),
        "poll" | "ppoll" | "select" | "pselect6" => polled(evidence, process, name, None),
        "accept" | "accept4" => Doing::new(Weight::Idle, on_file(evidence, process, name, file).words),
        _ if file.is_some() => on_file(evidence, process, name, file),
        _ => {
            let place = wchan.map(|wchan| format!(" ({wchan})")).unwrap_or_default();
            Doing::new(Weight::Stuck, format!("waits in {name}(){place}"))
        }
    }
}

/// The name by which programs know a call.
fn spoken(call: &str) -> &str {
    match call {
        "recvfrom" => "recv",
        "sendto" => "send",
        "accept4" => "accept",
        "epoll_pwait" | "epoll_pwait2" => "epoll_wait",
        "ppoll" => "poll",
        "pselect6" => "select",
        "pread64" => "pread",
        "pwrite64" => "pwrite",
        "rt_sigsuspend" => "sigsuspend",
        "rt_sigtimedwait" => "sigtimedwait",
        "clock_nanosleep" => "nanosleep",
        "wait4" => "wait",
        other => other,
    }
}

fn on_file(evidence: &Evidence, process: &Process, name: &str, file: Option<&OpenFile>) -> Doing {
    let Some(file) = file else {
        return Doing::new(Weight::Stuck, format!("waits in {name}()"));
    };
    if let Some(socket) = evidence.socket(&file.target) {
        let at_peer = socket.peer_inode.map(|inode| format!("socket:[{inode}]"));
        let others = at_peer.map(|target| users(evidence, process, &target, |_| true)).unwrap_or_default();
        let weight = if others.is_empty() { Weight::Stuck } else { Weight::Passed };
        return Doing::new(weight, format!("waits in {name}() on {}{}", end(socket), others_named(&others)));
    }
    if file.target.starts_with("pipe:") {
        return on_pipe(evidence, process, name, file);
    }
    let weight = if file.target.starts_with("anon_inode:") { Weight::Idle } else { Weight::Stuck };
    Doing::new(weight, format!("waits in {name}() on {}", file.target))
}

/// Who is at the other end of a socket, and for how long nothing has come from there.
fn end(socket: &Socket) -> String {
    let place = match (&socket.peer, &socket.local, socket.kind.as_str()) {
        (Some(peer), _, "tcp") => peer.clone(),
        (Some(peer), _, kind) => format!("{kind} {peer}"),
        (None, Some(local), "tcp") => local.clone(),
        (None, Some(local), kind) => format!("{kind} {local}"),
        (None, None, kind) => format!("a {kind} socket"),
    };
    let since = match (&socket.tcp, socket.state.as_str()) {
        (_, "syn-sent") => ", which does not answer".to_owned(),
        (_, "close-wait") => ", closed by the peer".to_owned(),
        (Some(tcp), "established") if socket.unsent > 0 => {
            format!(", {} bytes not taken by the peer for {}", socket.unsent, length(tcp.since_sent_ms))
        }
        (Some(tcp), "established") if tcp.received_bytes == 0 => {
            format!(", connected {}", length(tcp.since_received_ms))
        }
        (Some(tcp), "established") => format!(", nothing received for {}", length(tcp.since_received_ms)),
        _ => String::new(),
    };
    format!("{place}{since}")
}

fn on_pipe(evidence: &Evidence, process: &Process, name: &str, file: &OpenFile) -> Doing {
    let is_reading = file.mode == "r" || (file.mode == "rw" && name.contains("read"));
    let wanted = if is_reading { 'w' } else { 'r' };
    let others = users(evidence, process, &file.target, |other| other.mode.contains(wanted));
    if !others.is_empty() {
        let way = if is_reading { "from" } else { "to" };
        let named = named(&others);
        return Doing::new(Weight::Passed, format!("waits in {name}() on a pipe {way} {named}"));
    }
    let own = process.files.iter().any(|other| other.target == file.target && other.mode.contains(wanted));
    let whom = match (own, is_reading) {
        (true, true) => " that it could itself still write to",
        (true, false) => " that only it reads itself",
        (false, true) => " that no other process of the run writes to",
        (false, false) => " that no other process of the run reads",
    };
    Doing::new(Weight::Stuck, format!("waits in {name}() on a pipe{whom}"))
}

/// The other processes of the run that have something open in this way.
fn users(
    evidence: &Evidence,
    process: &Process,
    target: &str,
    way: impl Fn(&OpenFile) -> bool,
) -> Vec<Named> {
    let has = |other: &&Process| other.files.iter().any(|file| file.target == target && way(file));
    let others = evidence.processes.iter().filter(|other| other.pid != process.pid && !other.has_ended());
    others.filter(has).map(|other| Named { pid: other.pid, name: other.name.clone() }).collect()
}

fn named(processes: &[Named]) -> String {
    let Some(first) = processes.first() else { return "nobody".to_owned() };
    let more = match processes.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    match first.name.as_str() {
        "" => format!("pid {}, which has ended{more}", first.pid),
        name => format!("pid {} ({name}){more}", first.pid),
    }
}

fn others_named(others: &[Named]) -> String {
    if others.is_empty() { String::new() } else { format!(", the end of {}", named(others)) }
}

fn awaited_lock(
    evidence: &Evidence,
    process: &Process,
    call: &super::Call,
    file: Option<&OpenFile>,
) -> Doing {
    let lock = evidence.locks.iter().find(|lock| lock.awaited_by.iter().any(|by| by.pid == process.pid));
    let Some(path) = lock.and_then(|lock| lock.path.as_ref()).or(file.map(|file| &file.target)) else {
        return Doing::new(Weight::Stuck, format!("waits in {}() for a lock", call.name));
    };
    let held_by = lock.map(|lock| &lock.held_by[..]).unwrap_or_default();
    let is_ours =
        held_by.iter().any(|by| evidence.process(by.pid).is_some_and(|holder| holder.pid != process.pid));
    let weight = if is_ours { Weight::Passed } else { Weight::Stuck };
    let by = if held_by.is_empty() { String::new() } else { format!(", held by {}", named(held_by)) };
    Doing::new(weight, format!("waits for a lock on {path}{by}"))
}

/// What is watched is told by the kernel for `epoll` only; a process with one connection can mean no other.
fn polled(evidence: &Evidence, process: &Process, name: &str, watch: Option<&OpenFile>) -> Doing {
    let is_watched = |file: &&OpenFile| watch.is_none_or(|watch| watch.watched.contains(&file.fd));
    let connections =
        process.files.iter().filter(is_watched).filter_map(|file| evidence.socket(&file.target));
    let connections: Vec<&Socket> = connections.filter(|socket| socket.peer.is_some()).collect();
    match &connections[..] {
        [] => Doing::new(Weight::Idle, format!("waits in {name}()")),
        [only] if watch.is_some() => Doing::new(Weight::Stuck, format!("waits in {name}() on {}", end(only))),
        [only] => Doing::new(Weight::Stuck, format!("waits in {name}() with one connection, {}", end(only))),
        many => {
            let ends: Vec<String> = many.iter().take(WATCHED_MAX).map(|socket| end(socket)).collect();
            let among = if many.len() > WATCHED_MAX { "among them " } else { "" };
            let words =
                format!("waits in {name}() with {} connections, {among}{}", many.len(), ends.join("; "));
            Doing::new(Weight::Idle, words)
        }
    }
}

/// A length of time, as exactly as it matters: `31 s`, `12 min`, `3 h`, `2 d`.
pub(super) fn length(ms: u64) -> String {
    match ms / 1000 {
        0 => "under 1 s".to_owned(),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::super::{Call, Lock, Output, Tcp};
    use super::*;
    use crate::engine::time::Timestamp;

    pub(crate) fn process(pid: u32, parent: u32, name: &str) -> Process {
        Process {
            pid,
            parent,
            depth: 0,
            name: name.to_owned(),
            state: 'S',
            age_ms: 60_000,
            threads: 1,
            cpu_ms: 0,
            usage: None,
            waits: Vec::new(),
            files: Vec::new(),
            files_left_out: 0,
        }
    }

    impl Process {
        /// In this call, about this descriptor.
        pub(crate) fn in_call(mut self, name: &str, fd: Option<u32>) -> Self {
            let call = Call { name: name.to_owned(), fd, arguments: Vec::new() };
            let wait =
                Wait { tid: self.pid, state: self.state, wchan: None, call: Some(call), stack: Vec::new() };
            self.waits.push(wait);
            self
        }

        pub(crate) fn with_file(mut self, fd: u32, target: &str, mode: &str) -> Self {
            let (target, mode) = (target.to_owned(), mode.to_owned());
            self.files.push(OpenFile { fd, target, mode, position: 0, watched: Vec::new() });
            self
        }

        pub(crate) fn in_state(mut self, state: char) -> Self {
            self.state = state;
            self.waits.iter_mut().for_each(|wait| wait.state = state);
            self
        }
    }

    pub(crate) fn connection(inode: u64, peer: &str, received: u64, since_ms: u64) -> Socket {
        Socket {
            inode,
            kind: "tcp".to_owned(),
            state: "established".to_owned(),
            local: Some("127.0.0.1:40000".to_owned()),
            peer: Some(peer.to_owned()),
            peer_inode: None,
            unread: 0,
            unsent: 0,
            tcp: Some(Tcp {
                received_bytes: received,
                since_received_ms: since_ms,
                since_sent_ms: since_ms,
                retransmits: 0,
            }),
        }
    }

    pub(crate) fn awaited_lock(path: &str, held_by: (u32, &str), awaited_by: u32) -> Lock {
        let named = |pid: u32, name: &str| Named { pid, name: name.to_owned() };
        Lock {
            kind: "FLOCK".to_owned(),
            mode: "WRITE".to_owned(),
            path: Some(path.to_owned()),
            file: "fe:00:1".to_owned(),
            held_by: vec![named(held_by.0, held_by.1)],
            awaited_by: vec![named(awaited_by, "flock")],
        }
    }

    pub(crate) fn evidence(processes: Vec<Process>) -> Evidence {
        let output = Some(Output { since_last_ms: Some(29_000), lines: Vec::new() });
        Evidence { processes, output, ..Evidence::none(Timestamp::UNIX_EPOCH) }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{awaited_lock, connection, evidence, process};
    use super::*;

    /// What the last of the processes does.
    fn told(evidence: &Evidence) -> String {
        doing(evidence, evidence.processes.last().unwrap()).words
    }

    #[test]
    fn a_socket_is_told_by_its_peer_and_what_came_from_there() {
        let reader = |call: &str| process(7, 1, "a").in_call(call, Some(3)).with_file(3, "socket:[9]", "rw");
        let with =
            |call: &str, socket: Socket| Evidence { sockets: vec![socket], ..evidence(vec![reader(call)]) };
        let peer = "10.0.0.5:3306";
        let cases = [
            ("recvfrom", connection(9, peer, 0, 31_000), "recv() on 10.0.0.5:3306, connected 31 s"),
            ("read", connection(9, peer, 5, 600_000), "read() on 10.0.0.5:3306, nothing received for 10 min"),
            (
                "sendto",
                Socket { unsent: 512, ..connection(9, peer, 5, 3000) },
                "send() on 10.0.0.5:3306, 512 bytes not taken by the peer for 3 s",
            ),
            (
                "connect",
                Socket { state: "syn-sent".into(), tcp: None, ..connection(9, peer, 0, 0) },
                "connect() on 10.0.0.5:3306, which does not answer",
            ),
            (
                "accept4",
                Socket { state: "listen".into(), peer: None, tcp: None, ..connection(9, peer, 0, 0) },
                "accept() on 127.0.0.1:40000",
            ),
            (
                "recvmsg",
                Socket {
                    kind: "unix".into(),
                    peer: Some("/run/x.sock".into()),
                    tcp: None,
                    ..connection(9, "", 0, 0)
                },
                "recvmsg() on unix /run/x.sock",
            ),
        ];
        for (call, socket, expected) in cases {
            assert_eq!(told(&with(call, socket)), format!("waits in {expected}"));
        }
    }

    #[test]
    fn a_pipe_is_told_by_who_is_at_its_other_end() {
        let reader = process(7, 1, "cat").in_call("read", Some(0)).with_file(0, "pipe:[5]", "r");
        let writer = process(8, 1, "gen").with_file(1, "pipe:[5]", "w");
        let alone = evidence(vec![reader.clone()]);
        assert_eq!(told(&alone), "waits in read() on a pipe that no other process of the run writes to");
        let both = evidence(vec![writer, reader.clone()]);
        assert_eq!(told(&both), "waits in read() on a pipe from pid 8 (gen)");
        assert_eq!(doing(&both, &both.processes[1]).weight, Weight::Passed);
        let own = evidence(vec![reader.with_file(4, "pipe:[5]", "w")]);
        assert_eq!(told(&own), "waits in read() on a pipe that it could itself still write to");
    }

    #[test]
    fn a_lock_is_told_by_its_path_and_holder() {
        let waiter = process(7, 1, "flock").in_call("flock", Some(3)).with_file(3, "/var/lock/x", "w");
        let held = Evidence {
            locks: vec![awaited_lock("/var/lock/x", (99, "backup"), 7)],
            ..evidence(vec![waiter.clone()])
        };
        assert_eq!(told(&held), "waits for a lock on /var/lock/x, held by pid 99 (backup)");
        let gone = Evidence {
            locks: vec![awaited_lock("/var/lock/x", (99, ""), 7)],
            ..evidence(vec![waiter.clone()])
        };
        assert_eq!(told(&gone), "waits for a lock on /var/lock/x, held by pid 99, which has ended");
        assert_eq!(told(&evidence(vec![waiter])), "waits for a lock on /var/lock/x");
    }

    #[test]
    fn who_does_not_wait_is_told_by_what_it_uses() {
        let usage = |user_ms, system_ms| {
            Some(Usage { window_ms: 200, user_ms, system_ms, read_bytes: None, written_bytes: None })
        };
        let of = |usage| told(&evidence(vec![Process { usage, ..process(7, 1, "a") }]));
        assert_eq!(of(usage(200, 0)), "has used 100 % CPU for the last 0.2 s, in its own code");
        assert_eq!(of(usage(10, 200)), "has used 100 % CPU for the last 0.2 s, in the kernel");
        assert_eq!(of(usage(400, 400)), "has used 400 % CPU for the last 0.2 s, partly in the kernel");
        assert_eq!(of(usage(10, 0)), "sleeps");
        assert_eq!(
            told(&evidence(vec![process(7, 1, "a").in_state('T')])),
            "is stopped (SIGSTOP or the like)"
        );
        let mut hard = process(7, 1, "a").in_call("read", Some(3)).with_file(3, "/mnt/x", "r").in_state('D');
        hard.waits[0].wchan = Some("nfs_wait".to_owned());
        assert_eq!(told(&evidence(vec![hard])), "sleeps uninterruptibly in nfs_wait, for read() on /mnt/x");
    }

    #[test]
    fn what_may_not_be_seen_is_guessed_from_the_kernels_function() {
        let mut hidden = process(7, 1, "a").in_call("read", None);
        (hidden.waits[0].call, hidden.waits[0].wchan) = (None, Some("pipe_read".to_owned()));
        assert_eq!(told(&evidence(vec![hidden])), "waits in the kernel's pipe_read");
        assert_eq!(told(&evidence(vec![process(7, 1, "a")])), "sleeps");
    }

    #[test]
    fn a_thread_that_says_more_than_the_main_one_is_named() {
        let mut many = process(7, 1, "java").in_call("futex", None).in_call("recvfrom", Some(3));
        many.waits[1].tid = 9;
        assert_eq!(told(&evidence(vec![many])), "(thread 9) waits in recv()");
    }

    #[test]
    fn one_connection_explains_a_poll_and_many_do_not() {
        let sockets = vec![connection(1, "10.0.0.1:1", 0, 5000), connection(2, "10.0.0.2:2", 0, 5000)];
        let one = process(7, 1, "a").in_call("poll", None).with_file(3, "socket:[1]", "rw");
        let told_with = |process| told(&Evidence { sockets: sockets.clone(), ..evidence(vec![process]) });
        assert_eq!(told_with(one.clone()), "waits in poll() with one connection, 10.0.0.1:1, connected 5 s");
        let two = one.with_file(4, "socket:[2]", "rw");
        assert!(told_with(two.clone()).starts_with("waits in poll() with 2 connections, 10.0.0.1:1"));
        let mut epoll =
            process(7, 1, "a").in_call("epoll_wait", Some(5)).with_file(5, "anon_inode:[eventpoll]", "rw");
        epoll.files[0].watched = vec![4];
        epoll.files.extend(two.files);
        assert_eq!(told_with(epoll), "waits in epoll_wait() on 10.0.0.2:2, connected 5 s");
    }
}
