//! The one line of evidence: which process holds up the run, and what it does.

use std::cmp::Reverse;

use super::doing::{Doing, doing, length};
use super::{Evidence, Process};

/// The longest line, characters.
const LINE_CHARS_MAX: usize = 300;

/// The process that says most about why the run does not end, and what it does; `None` if there is none.
///
/// A process that waits for another one of the run passes the question on; of the others, one that cannot go on says
/// more than one that has nothing to do, and the deepest more than those above it. Of equals it is the oldest.
pub(super) fn summary(evidence: &Evidence) -> Option<String> {
    let alive = evidence.processes.iter().filter(|process| !process.has_ended());
    let told = alive.map(|process| (process, doing(evidence, process)));
    let rank = |(process, doing): &(&Process, Doing)| {
        (doing.weight, process.depth, process.age_ms, Reverse(process.pid))
    };
    let (process, doing) = told.max_by_key(rank)?;
    let line = format!("{} pid {} {}{}", process.name, process.pid, doing.words, last_output(evidence));
    if line.chars().count() <= LINE_CHARS_MAX {
        return Some(line);
    }
    Some(line.chars().take(LINE_CHARS_MAX - 1).chain(['…']).collect())
}

fn last_output(evidence: &Evidence) -> String {
    match &evidence.output {
        None => String::new(),
        Some(output) => output.since_last_ms.map_or_else(
            || ", no output so far".to_owned(),
            |ms| format!(", last output {} ago", length(ms)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::doing::testing::{awaited_lock, connection, evidence, process};
    use super::*;

    fn line(mut evidence: Evidence) -> String {
        super::super::pieces::set_depths(&mut evidence.processes);
        summary(&evidence).unwrap()
    }

    #[test]
    fn who_waits_for_a_child_passes_the_question_on() {
        let shell = process(10, 1, "sh").in_call("wait4", None);
        let python = process(11, 10, "python3").in_call("recvfrom", Some(3)).with_file(3, "socket:[9]", "rw");
        let helper = process(12, 11, "helper").in_call("epoll_wait", Some(4));
        let run = Evidence {
            sockets: vec![connection(9, "127.0.0.1:2525", 0, 31_000)],
            ..evidence(vec![shell, python, helper])
        };
        let expected =
            "python3 pid 11 waits in recv() on 127.0.0.1:2525, connected 31 s, last output 29 s ago";
        assert_eq!(line(run), expected);
    }

    #[test]
    fn a_pipeline_is_followed_to_its_beginning() {
        let cat = process(11, 10, "cat").in_call("read", Some(0)).with_file(0, "pipe:[5]", "r");
        let sleep = process(12, 10, "sleep").in_call("clock_nanosleep", None).with_file(1, "pipe:[5]", "w");
        let shell = process(10, 1, "sh").in_call("wait4", None);
        assert!(
            line(evidence(vec![shell, cat, sleep])).starts_with("sleep pid 12 sleeps in nanosleep(), last")
        );
    }

    #[test]
    fn two_that_wait_for_each_other_are_told_all_the_same() {
        let a = process(11, 10, "a")
            .in_call("read", Some(0))
            .with_file(0, "pipe:[5]", "r")
            .with_file(1, "pipe:[6]", "w");
        let b = process(12, 10, "b")
            .in_call("read", Some(0))
            .with_file(0, "pipe:[6]", "r")
            .with_file(1, "pipe:[5]", "w");
        assert!(line(evidence(vec![a, b])).starts_with("a pid 11 waits in read() on a pipe from pid 12 (b)"));
    }

    #[test]
    fn a_lock_that_another_of_the_run_holds_leads_there() {
        let waiter = process(11, 10, "flock").in_call("flock", Some(3)).with_file(3, "/x", "w");
        let holder = process(12, 10, "holder").in_call("clock_nanosleep", None);
        let run = Evidence {
            locks: vec![awaited_lock("/x", (12, "holder"), 11)],
            ..evidence(vec![waiter, holder])
        };
        assert!(line(run).starts_with("holder pid 12 sleeps in nanosleep()"));
    }

    #[test]
    fn a_line_keeps_to_its_length_and_the_dead_are_passed_over() {
        assert_eq!(summary(&evidence(vec![])), None);
        assert_eq!(summary(&evidence(vec![process(1, 0, "a").in_state('Z')])), None);
        let long = process(1, 0, &"n".repeat(1000)).in_call("read", None);
        assert_eq!(line(evidence(vec![long])).chars().count(), LINE_CHARS_MAX);
        let silent = Evidence { output: None, ..evidence(vec![process(1, 0, "a").in_call("pause", None)]) };
        assert_eq!(line(silent), "a pid 1 waits in pause() for a signal");
    }
}
