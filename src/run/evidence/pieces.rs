//! Evidence on its way: one piece a line, so that what came before the limit is worth something.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Evidence, Lock, OpenFile, Output, Process, Socket, Usage, Wait, culprit};
use crate::engine::time::Timestamp;

/// The most that is taken of what a gathering process tells, bytes.
const BYTES_MAX: usize = 2 * 1024 * 1024;

/// What a gathering process is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Take a sample, and nothing else.
    Sample,
    /// Look at everything.
    Look,
    /// Look at everything, and at what is used meanwhile.
    Compare,
}

impl Task {
    /// The word on its command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Look => "look",
            Self::Compare => "compare",
        }
    }

    /// The task a word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Sample, Self::Look, Self::Compare].into_iter().find(|task| task.as_str() == word)
    }
}

/// One line of a gathering process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// The processes, parents ahead of their children.
    Processes {
        /// Without what the other pieces tell.
        processes: Vec<Process>,
        /// How many more there are.
        left_out: u64,
    },
    /// What a process's threads wait for.
    Waits {
        /// The process.
        pid: u32,
        /// Its threads.
        waits: Vec<Wait>,
    },
    /// What a process has open.
    Files {
        /// The process.
        pid: u32,
        /// Its descriptors.
        files: Vec<OpenFile>,
        /// How many more there are.
        left_out: u64,
    },
    /// The sockets.
    Sockets(Vec<Socket>),
    /// The locks.
    Locks(Vec<Lock>),
    /// The end of the output.
    Output(Output),
    /// What has been used up to here.
    Sample(Sample),
    /// There is no more.
    Done,
}

/// What each process has used since it was started, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When, on the monotonic clock.
    pub at_ms: u64,
    /// By process.
    pub used: Vec<Used>,
}

/// What a process has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Its number.
    pub pid: u32,
    /// When it was started, in clock ticks since boot: a number may be used again.
    pub start_time: u64,
    /// CPU time in its own code.
    pub user_ms: u64,
    /// CPU time in the kernel.
    pub system_ms: u64,
    /// Bytes read from anything, if we may know.
    pub read_bytes: Option<u64>,
    /// Bytes written to anything.
    pub written_bytes: Option<u64>,
}

/// What has come from a gathering process so far.
#[derive(Debug, Clone, Default)]
pub struct Gathered {
    bytes: Vec<u8>,
}

impl Gathered {
    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        let room = BYTES_MAX.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The pieces; a torn line, or one of a kind that this build does not know, is passed over.
    fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        self.bytes.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
    }

    /// The last sample.
    #[must_use]
    pub fn into_sample(self) -> Option<Sample> {
        let samples = self.pieces().filter_map(|piece| match piece {
            Piece::Sample(sample) => Some(sample),
            _ => None,
        });
        samples.last()
    }

    /// What is to be made of it. `earlier` is a sample from before; without one, the first of the pieces serves.
    #[must_use]
    pub fn into_evidence(self, earlier: Option<Sample>, taken_at: Timestamp, took: Duration) -> Evidence {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let mut evidence = Evidence { took_ms, ..Evidence::none(taken_at) };
        let mut samples: Vec<Sample> = earlier.into_iter().collect();
        for piece in self.pieces() {
            take(&mut evidence, &mut samples, piece);
        }
        if let [first, .., last] = &samples[..] {
            use_samples(&mut evidence, first, last);
        }
        set_depths(&mut evidence.processes);
        evidence.summary = culprit::summary(&evidence);
        evidence
    }
}

fn take(evidence: &mut Evidence, samples: &mut Vec<Sample>, piece: Piece) {
    match piece {
        Piece::Processes { processes, left_out } => {
            (evidence.processes, evidence.processes_left_out) = (processes, left_out);
        }
        Piece::Waits { pid, waits } => {
            if let Some(process) = evidence.process_mut(pid) {
                process.waits = waits;
            }
        }
        Piece::Files { pid, files, left_out } => {
            if let Some(process) = evidence.process_mut(pid) {
                (process.files, process.files_left_out) = (files, left_out);
            }
        }
        Piece::Sockets(sockets) => evidence.sockets = sockets,
        Piece::Locks(locks) => evidence.locks = locks,
        Piece::Output(output) => evidence.output = Some(output),
        Piece::Sample(sample) => samples.push(sample),
        Piece::Done => evidence.is_whole = true,
    }
}

fn use_samples(evidence: &mut Evidence, first: &Sample, last: &Sample) {
    let by_pid = |sample: &Sample| -> BTreeMap<u32, Used> {
        sample.used.iter().map(|used| (used.pid, *used)).collect()
    };
    let (before, after) = (by_pid(first), by_pid(last));
    for process in &mut evidence.processes {
        let (Some(after), before) = (after.get(&process.pid), before.get(&process.pid)) else { continue };
        let before = before.filter(|before| before.start_time == after.start_time);
        let window_ms = last.at_ms.saturating_sub(first.at_ms);
        process.usage = Some(match before {
            Some(before) => Usage {
                window_ms,
                user_ms: after.user_ms.saturating_sub(before.user_ms),
                system_ms: after.system_ms.saturating_sub(before.system_ms),
                read_bytes: less(after.read_bytes, before.read_bytes),
                written_bytes: less(after.written_bytes, before.written_bytes),
            },
            // Started in between: all that it has used, in all the time it has been there.
            None => Usage {
                window_ms: window_ms.min(process.age_ms),
                user_ms: after.user_ms,
                system_ms: after.system_ms,
                read_bytes: after.read_bytes,
                written_bytes: after.written_bytes,
            },
        });
    }
}

fn less(after: Option<u64>, before: Option<u64>) -> Option<u64> {
    Some(after?.saturating_sub(before?))
}

/// Parents come ahead of their children, so theirs is known.
pub(super) fn set_depths(processes: &mut [Process]) {
    let mut depths = BTreeMap::new();
    for process in processes {
        let depth = depths.get(&process.parent).map_or(0, |depth| depth + 1);
        depths.insert(process.pid, depth);
        process.depth = depth;
    }
}

#[cfg(test)]
mod tests {
    use super::super::doing::testing::process;
    use super::*;

    fn line(piece: &Piece) -> Vec<u8> {
        [&serde_json::to_vec(piece).unwrap()[..], b"\n"].concat()
    }

    fn sample(at_ms: u64, pid: u32, start_time: u64, user_ms: u64) -> Sample {
        let used = Used {
            pid,
            start_time,
            user_ms,
            system_ms: 0,
            read_bytes: Some(user_ms * 10),
            written_bytes: None,
        };
        Sample { at_ms, used: vec![used] }
    }

    fn evidence(pieces: &[&[u8]], earlier: Option<Sample>) -> Evidence {
        let mut gathered = Gathered::default();
        for piece in pieces {
            gathered.feed(piece);
        }
        gathered.into_evidence(earlier, Timestamp::UNIX_EPOCH, Duration::from_millis(300))
    }

    #[test]
    fn what_came_before_the_cut_is_kept() {
        let processes =
            Piece::Processes { processes: vec![process(7, 1, "a"), process(8, 7, "b")], left_out: 3 };
        let waits = line(&Piece::Waits { pid: 7, waits: process(7, 1, "a").in_call("read", None).waits });
        let (whole, torn) = (line(&processes), &waits[..waits.len() / 2]);
        let later = b"{\"a_piece_of_tomorrow\":[1,2]}\n";
        let cut = evidence(&[&whole, later, torn], None);
        assert_eq!((cut.processes.len(), cut.processes_left_out, cut.is_whole), (2, 3, false));
        assert_eq!((cut.processes[1].depth, cut.processes[0].waits.len()), (1, 0));
        let all = evidence(&[&whole, &waits, &line(&Piece::Done)], None);
        assert!(all.is_whole && all.processes[0].waits.len() == 1);
        assert!(all.summary.unwrap().starts_with("a pid 7 waits in read()"));
        assert_eq!(evidence(&[], None).summary, None);
    }

    #[test]
    fn usage_is_what_came_on_top_of_the_earliest_sample() {
        let processes = line(&Piece::Processes { processes: vec![process(7, 1, "a")], left_out: 0 });
        let samples =
            [line(&Piece::Sample(sample(5000, 7, 1, 4000))), line(&Piece::Sample(sample(5200, 7, 1, 4200)))];
        let of = |earlier| {
            let evidence = evidence(&[&processes, &samples[0], &samples[1]], earlier);
            evidence.processes[0].usage.unwrap()
        };
        let short = of(None);
        assert_eq!((short.window_ms, short.user_ms, short.cpu_percent()), (200, 200, 100));
        assert_eq!((short.read_bytes, short.written_bytes), (Some(2000), None));
        let long = of(Some(sample(200, 7, 1, 1700)));
        assert_eq!((long.window_ms, long.cpu_percent()), (5000, 50));
        // Another process that had the same number.
        assert_eq!(of(Some(sample(200, 7, 0, 9999))).user_ms, 4200);
    }

    #[test]
    fn a_flood_is_cut() {
        let mut gathered = Gathered::default();
        for _ in 0..100 {
            gathered.feed(&vec![b'x'; 100_000]);
        }
        assert_eq!(gathered.bytes.len(), BYTES_MAX);
    }
}
