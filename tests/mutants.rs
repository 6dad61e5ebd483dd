//! Who tests the simulation? Each of these deliberate bugs in the engine must be found by it within a few histories.
//!
//! A mutant is a text of the engine's source and what stands there instead. The engine depends on nothing of ours, so
//! a package of its own is made of it and the simulation, and built once for each bug.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

/// A bug must show within this many histories.
const SEEDS: &str = "40";

struct Mutant {
    bug: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

const fn mutant(bug: &'static str, file: &'static str, from: &'static str, to: &'static str) -> Mutant {
    Mutant { bug, file, from, to }
}

const MUTANTS: &[Mutant] = &[
    mutant(
        "a fire is tried once more than it may be",
        "retry.rs",
        "claim.attempt < retry.attempts",
        "claim.attempt <= retry.attempts",
    ),
    mutant(
        "an end that a further try follows opens an incident",
        "follow.rs",
        "if self.try_again(run, report, now) {",
        "if self.try_again(run, report, now) && report.pid.is_some() {",
    ),
    mutant(
        "every bad end is tried again",
        "retry.rs",
        "retry.on.contains(&report.status())",
        "report.status().is_bad()",
    ),
    mutant("a further try does not wait", "retry.rs", "not_before: Some(not_before),", "not_before: None,"),
    mutant(
        "a job without a schedule fires for each end before it",
        "after.rs",
        "at >= since && !has_fired && self",
        "at >= since && self",
    ),
    mutant(
        "an end that is tried again counts for who comes after",
        "after.rs",
        "                    && !self.is_active(job, *fire)\n",
        "",
    ),
    mutant(
        "a fire does not wait for the job before it",
        "turn.rs",
        "if let Some(job) = self.waits_for(claim) {",
        "if let Some(job) = self.waits_for(claim).filter(|_| false) {",
    ),
    mutant(
        "what has been told of a run is told by every jobd",
        "recovery.rs",
        "self.add_run(Run { launched, noted, skips, told, ..Run::new(claim, phase) });",
        "let told = std::collections::BTreeSet::from_iter(told.into_iter().filter(|_| false));
         self.add_run(Run { launched, noted, skips, told, ..Run::new(claim, phase) });",
    ),
    mutant(
        "nobody wakes for what is late or long",
        "scheduler.rs",
        "waiting.into_iter().chain(self.deadlines.next_monotonic());",
        "waiting.into_iter();",
    ),
    mutant(
        "a success is not remembered by who waits for one",
        "success.rs",
        "self.keep_watch(SuccessWatch { last_success: at, told: false, ..watch.clone() });",
        "self.keep_watch(SuccessWatch { told: false, ..watch.clone() });",
    ),
    mutant(
        "a concern is told at every look",
        "concern.rs",
        "if !run.told.insert(concern.kind()) {",
        "if !run.told.insert(concern.kind()) && run.claim.run.0 == 0 {",
    ),
    mutant(
        "a success that took too little is told to nobody",
        "follow.rs",
        "self.judge_success(claim, report, now);",
        "",
    ),
    mutant(
        "nobody looks again for a success",
        "success.rs",
        "Some(at) => self.deadlines.set(matter, At::Wall(at)),",
        "Some(_) => {}",
    ),
    mutant(
        "a batch that failed is forgotten",
        "journal.rs",
        "self.retry_at = Some(now.monotonic.after(self.pause));",
        "self.under_way = None;",
    ),
    mutant(
        "a batch is sent again while it is under way",
        "journal.rs",
        "if self.retry_at.is_some_and(|at| at <= now.monotonic) {",
        "if self.pause > Duration::ZERO {",
    ),
    mutant(
        "a failed batch has no wakeup",
        "scheduler.rs",
        "overdue.chain(waiting).chain(self.journal.next_wakeup()).min()",
        "overdue.chain(waiting).min()",
    ),
    mutant(
        "what was missed while down is forgotten",
        "recovery.rs",
        "self.agenda.insert(spec, job.cursor),",
        "self.agenda.insert(spec, now.wall),",
    ),
    mutant(
        "a fire does not look for an active run",
        "turn.rs",
        "if let Some(run) = self.blocking_run(&spec.name) {",
        "if let Some(run) = self.blocking_run(&spec.name).filter(|_| false) {",
    ),
    mutant(
        "a run that is held is given up at a restart",
        "recovery.rs",
        "Proof::Held => {}",
        "Proof::Held => return self.abandon(id, &Reason::NeverStarted, now),",
    ),
    mutant(
        "a run that ended while jobd was down never ran",
        "recovery.rs",
        "Proof::Ended(report) => self.exited(id, &report),",
        "Proof::Ended(_) => return self.abandon(id, &Reason::NeverStarted, now),",
    ),
    mutant(
        "a run that is held is started again",
        "recovery.rs",
        "Proof::Held => {}",
        "Proof::Held => self.launch(id, now, effects),",
    ),
    mutant("a stuck shim is left alone", "overdue.rs", "effects.push(Effect::Reap { run: *id });", ""),
    mutant(
        "nobody wakes for a stuck shim",
        "scheduler.rs",
        "overdue.chain(waiting).chain(self.journal.next_wakeup()).min()",
        "overdue.chain(waiting).chain(self.journal.next_wakeup()).min().filter(|_| !self.is_settled())",
    ),
    mutant("a stuck shim is left alone by a stop", "requests.rs", "run.limit_stop(now);", ""),
    mutant(
        "a run that cannot be killed is called over",
        "overdue.rs",
        "run.noted = true;",
        "run.noted = true;
         let report = super::run::Report::lost(\"it cannot be killed\", None, now.wall);
         self.exited(id, &report);
         let Some(run) = self.runs.get(&id) else { return };",
    ),
    mutant(
        "a run that cannot be killed is told of at every look",
        "overdue.rs",
        "if run.noted {",
        "if run.noted && left.is_empty() {",
    ),
    mutant(
        "a run that cannot be killed is told of by every jobd",
        "recovery.rs",
        "self.add_run(Run { launched, noted, skips, told, ..Run::new(claim, phase) });",
        "self.add_run(Run { launched, noted: false, skips, told, ..Run::new(claim, phase) });",
    ),
    mutant(
        "a run that cannot be killed is told of to nobody",
        "overdue.rs",
        "for change in notify(&run.claim.alert, &notice) {",
        "for change in notify(&[], &notice) {",
    ),
    mutant(
        "an incident opens without an alert",
        "incident.rs",
        "(Change::OpenIncident { job, run: claim.run, status, at }, true)",
        "(Change::OpenIncident { job, run: claim.run, status, at }, false)",
    ),
    mutant(
        "every bad end is news",
        "incident.rs",
        "let is_news = !incident.kinds.contains(&status);",
        "let is_news = true;",
    ),
    mutant(
        "a kill by a person counts as a recovery",
        "incident.rs",
        "} else if status == Status::Success {",
        "} else if !status.is_bad() {",
    ),
    mutant(
        "open incidents are forgotten at a restart",
        "recovery.rs",
        "incidents: Incidents::new(snapshot.incidents),",
        "incidents: Incidents::default(),",
    ),
    mutant(
        "the cursor goes back with the clock",
        "agenda.rs",
        "let moved = entry.cursor < instant;",
        "let moved = true;",
    ),
    mutant("a far set-back is waited out", "scheduler.rs", "self.agenda.rewind(now.wall);", ""),
    mutant(
        "on a second pass fires are missed again",
        "agenda.rs",
        "let settled = self.cursor.min(fresh).max(self.position);",
        "let settled = self.position;",
    ),
    mutant(
        "the oldest missed fire is dropped",
        "fires.rs",
        "let instants: Vec<Timestamp> = fires.iter().map(",
        "let instants: Vec<Timestamp> = fires.iter().skip(1).map(",
    ),
    mutant(
        "the catch-up window is ignored",
        "policy.rs",
        "let in_window = young(window).min(on_time);",
        "let in_window = 0;",
    ),
    mutant(
        "a queue stops after its first run",
        "runs.rs",
        "for by_hand in [true, false] {",
        "for by_hand in [true; 0] {",
    ),
    mutant(
        "a fire that is taken is launched all the same",
        "runs.rs",
        "_ => self.taken(claim.run, effects),",
        "_ => self.granted(claim.run, 1, now, effects),",
    ),
    mutant(
        "what was decided hours ago is still started",
        "runs.rs",
        "} else if self.is_too_late(id, now) {",
        "} else if self.is_too_late(id, now) && self.runs.is_empty() {",
    ),
    mutant(
        "missed fires are not told",
        "fires.rs",
        "self.report_missed(missed, now, lateness);",
        "self.report_missed(Vec::new(), now, lateness);",
    ),
    mutant(
        "each start of jobd counts as a boot",
        "recovery.rs",
        "if last == Some(boot.id.as_str()) {",
        "if last == Some(\"\") {",
    ),
    mutant(
        "a fire that goes another way keeps its claim ahead",
        "arming.rs",
        "if self.arming.ahead.get(job).is_some_and(is_one) {",
        "if self.arming.ahead.get(job).is_some_and(is_one) && self.runs.is_empty() {",
    ),
    mutant(
        "a run goes by a claim that is not durable",
        "arming.rs",
        "            ahead.armed\n                && (ahead",
        "            (ahead",
    ),
    mutant(
        "a run that went before a crash is not taken up",
        "arming.rs",
        "if proof == Proof::NeverStarted {",
        "if proof != Proof::Held {",
    ),
    mutant(
        "a fire that went before a crash is decided again",
        "arming.rs",
        "at.filter(|at| self.agenda.settle(&job, *at))",
        "at.filter(|_| false)",
    ),
    mutant(
        "a withdrawn shim stays at its gate",
        "arming.rs",
        "self.arming.effects.push(Effect::Disarm { run: claim.run });",
        "",
    ),
    mutant(
        "a claim ahead that a former jobd left stays",
        "arming.rs",
        "            self.journal.push(Change::Withdraw { run });\n            return None;",
        "            return None;",
    ),
    mutant(
        "a lock is held twice",
        "turn.rs",
        "if let Some(run) = self.held.holder(name) {",
        "if let Some(run) = self.held.holder(name).filter(|_| false) {",
    ),
    mutant(
        "a pool has no end",
        "turn.rs",
        "let has_room = self.held.taken(name) + u64::from(*places) <= u64::from(size);",
        "let has_room = *places <= size;",
    ),
    mutant(
        "a fire does not look how many runs are active",
        "turn.rs",
        "if is_full { Err(Blocked::Full) } else { Ok(()) }",
        "Ok(())",
    ),
    mutant(
        "priority is ignored",
        "turn.rs",
        "priority: Reverse(priority),",
        "priority: Reverse(priority * 0),",
    ),
    mutant(
        "what waits is started in a pause",
        "turn.rs",
        "if !claim.is_by_hand() && self.pauses.is_paused(&claim.job) {",
        "if !claim.is_by_hand() && self.pauses.is_paused(&claim.job) && self.runs.is_empty() {",
    ),
    mutant(
        "a fire in a pause waits for its end",
        "fires.rs",
        "exclusion(spec, fire.at).or_else(|| self.pauses.reason(&spec.name, fire.starts, now.wall))",
        "exclusion(spec, fire.at).filter(|_| now.wall < fire.starts)",
    ),
    mutant(
        "pauses are forgotten at a restart",
        "recovery.rs",
        "pauses: Pauses::new(snapshot.pauses),",
        "pauses: Pauses::default(),",
    ),
    mutant(
        "a pause that is over starts nobody",
        "pause.rs",
        "until.unwrap_or(now.wall) });
            self.queue.open(&Wait::Resume);",
        "until.unwrap_or(now.wall) });",
    ),
    mutant(
        "a queue has no limit",
        "turn.rs",
        "waiting.count() >= spec.queue_limit",
        "waiting.count() > spec.queue_limit",
    ),
    mutant(
        "a queue is full before it is",
        "turn.rs",
        "waiting.count() >= spec.queue_limit",
        "waiting.count() + 1 >= spec.queue_limit",
    ),
    mutant(
        "all that wait for a replacement wait on",
        "turn.rs",
        "self.end_waiting(other, Status::Skipped, &Reason::Replaced { run: id }, now);",
        "self.queue.park(other, Wait::Nothing);",
    ),
    mutant(
        "a run waits for ever",
        "turn.rs",
        "begins.saturating_add(spec.catch_up_window + patience + Duration::from_millis(1)).ok()",
        "begins.saturating_add((spec.catch_up_window + patience) * 100).ok()",
    ),
    mutant(
        "what is made up for starts all at once",
        "turn.rs",
        "self.next_catch_up = self.seen.monotonic.after(self.settings.admission.interval());",
        "self.next_catch_up = self.seen.monotonic;",
    ),
    mutant(
        "a host has no time to settle",
        "admission.rs",
        "Monotonic::new(self.settle)",
        "Monotonic::new(Duration::ZERO)",
    ),
    mutant(
        "a sleep is told as a clock that was set",
        "scheduler.rs",
        "if shown > real + slept + CLOCK_STEP {",
        "if shown > real + CLOCK_STEP {",
    ),
    mutant(
        "nobody is told when nobody was there",
        "scheduler.rs",
        "if from < now.wall {",
        "if from < now.wall && reason == Reason::Down {",
    ),
    mutant(
        "a run in the way is told of at every skip",
        "accounts.rs",
        "if run.skips < SKIPS_TOLD || !run.told.insert(ConcernKind::InTheWay) {",
        "if run.skips < SKIPS_TOLD {",
    ),
    mutant(
        "a run in the way is told of by every jobd",
        "recovery.rs",
        "self.add_run(Run { launched, noted, skips, told, ..Run::new(claim, phase) });",
        "self.add_run(Run { launched, noted, skips: skips + told.len() as u64, ..Run::new(claim, phase) });",
    ),
    mutant(
        "a row of many counts one too few",
        "accounts.rs",
        "Change::Extend { run, until: last, fires: count }",
        "Change::Extend { run, until: last, fires: count - 1 }",
    ),
    mutant("nobody waits for a lock", "turn.rs", "let may = spec.busy == Busy::Skip && ", "let may = "),
    mutant(
        "what is past its window is folded",
        "fires.rs",
        "Some(run) if self.folded.contains(&n) =>",
        "Some(run) =>",
    ),
    mutant(
        "what a person makes up for has to be wanted by the policy",
        "requests.rs",
        "Claim { not_before: None, ..self.draft(&spec, at, trigger, now) }",
        "Claim { ..self.draft(&spec, at, trigger, now) }",
    ),
];

/// A package of the engine and its simulation alone.
struct Sandbox {
    root: PathBuf,
    source: PathBuf,
}

impl Sandbox {
    fn new(name: &str) -> Self {
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(root.join("src"));
        let _ = fs::remove_dir_all(root.join("tests"));
        copy_tree(&source.join("src/engine"), &root.join("src/engine"));
        copy_tree(&source.join("tests/sim"), &root.join("tests/sim"));
        fs::write(root.join("src/lib.rs"), "pub mod engine;\n").unwrap();
        fs::write(root.join("Cargo.toml"), manifest(&source)).unwrap();
        fs::copy(source.join("Cargo.lock"), root.join("Cargo.lock")).unwrap();
        Self { root, source }
    }

    /// Runs the simulation over the sandbox as it stands.
    fn simulate(&self) -> Output {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["test", "--offline", "--quiet", "--test", "sim", "every_history"]);
        cargo.current_dir(&self.root).env("CARGO_TARGET_DIR", self.root.join("target"));
        cargo.env("SEEDS", SEEDS).env_remove("SEED").env("RUST_BACKTRACE", "0").output().unwrap()
    }

    /// The engine's file with the bug in it.
    fn mutate(&self, mutant: &Mutant) -> String {
        let path = self.original(mutant);
        let text = fs::read_to_string(&path).unwrap();
        let places = text.matches(mutant.from).count();
        assert_eq!(places, 1, "«{}»: its text is to be found once in {}", mutant.bug, mutant.file);
        text.replace(mutant.from, mutant.to)
    }

    fn apply(&self, mutant: &Mutant) {
        fs::write(self.target(mutant), self.mutate(mutant)).unwrap();
    }

    fn undo(&self, mutant: &Mutant) {
        fs::copy(self.original(mutant), self.target(mutant)).unwrap();
    }

    fn original(&self, mutant: &Mutant) -> PathBuf {
        self.source.join("src/engine").join(mutant.file)
    }

    fn target(&self, mutant: &Mutant) -> PathBuf {
        self.root.join("src/engine").join(mutant.file)
    }
}

/// The engine's dependencies, in the versions the package names.
fn manifest(source: &Path) -> String {
    let text = fs::read_to_string(source.join("Cargo.toml")).unwrap();
    let needed = ["jiff", "serde", "sha2", "strsim", "thiserror"];
    let is_needed = |line: &&str| needed.iter().any(|name| line.starts_with(&format!("{name} = ")));
    let dependencies: Vec<&str> = text.lines().filter(is_needed).collect();
    assert_eq!(dependencies.len(), needed.len());
    format!(
        "[package]\nname = \"jobctl\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [profile.dev]\nopt-level = 1\ndebug = false\n\n[dependencies]\n{}\n",
        dependencies.join("\n")
    )
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Puts the bugs into the engine, one after the other, until no worker has one left. Those that nobody notices.
fn survivors(sandbox: &Sandbox, next: &AtomicUsize) -> Vec<&'static str> {
    let mut survivors = Vec::new();
    while let Some(mutant) = MUTANTS.get(next.fetch_add(1, Ordering::Relaxed)) {
        sandbox.apply(mutant);
        let output = sandbox.simulate();
        sandbox.undo(mutant);
        let said = text(&output);
        assert!(!said.contains("could not compile"), "«{}» does not compile:\n{said}", mutant.bug);
        match said.lines().find(|line| line.starts_with("seed ")) {
            Some(finding) if !output.status.success() => println!("{:<50} {finding}", mutant.bug),
            _ => survivors.push(mutant.bug),
        }
    }
    survivors
}

#[test]
fn the_simulation_finds_every_deliberate_bug() {
    let sandboxes = [Sandbox::new("mutants"), Sandbox::new("more-mutants")];
    let sound = sandboxes[0].simulate();
    assert!(sound.status.success(), "the sound engine fails its own simulation:\n{}", text(&sound));
    for mutant in MUTANTS {
        sandboxes[0].mutate(mutant);
    }
    let next = AtomicUsize::new(0);
    let survivors: Vec<&str> = thread::scope(|scope| {
        let workers = sandboxes.each_ref().map(|sandbox| scope.spawn(|| survivors(sandbox, &next)));
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(survivors.is_empty(), "the simulation does not notice: {survivors:#?}");
}
