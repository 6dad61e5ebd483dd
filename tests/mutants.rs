//! Who tests the simulation? Each of these deliberate bugs in the engine must be found by it within a few histories.
//!
//! A mutant is a text of the engine's source and what stands there instead. The engine depends on nothing of ours, so
//! a package of its own is made of it and the simulation, and built once for each bug.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

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
        "overdue.chain(self.journal.next_wakeup()).min()",
        "overdue.min()",
    ),
    mutant(
        "what was missed while down is forgotten",
        "recovery.rs",
        "self.agenda.insert(spec, job.cursor),",
        "self.agenda.insert(spec, now.wall),",
    ),
    mutant(
        "a fire does not look for an active run",
        "scheduler.rs",
        "match self.blocking_run(&spec.name) {",
        "match None::<RunId> {",
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
        "Proof::Ended(report) => self.exited(id, &report, now),",
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
        "overdue.chain(self.journal.next_wakeup()).min()",
        "overdue.chain(self.journal.next_wakeup()).min().filter(|_| !self.is_settled())",
    ),
    mutant("a stuck shim is left alone by a stop", "requests.rs", "run.limit_stop(now);", ""),
    mutant(
        "a run that cannot be killed is called over",
        "overdue.rs",
        "run.noted = true;",
        "run.noted = true;
         let report = super::run::Report::lost(\"it cannot be killed\", None, now.wall);
         self.exited(id, &report, now);
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
        "self.add_run(Run { launched, noted, ..Run::new(claim, phase) });",
        "self.add_run(Run { launched, noted: false, ..Run::new(claim, phase) });",
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
        "scheduler.rs",
        "let (Some(&first), Some(&last)) = (fires.first(), fires.last()) else { return };",
        "let Some((_, fires)) = fires.split_first() else { return };
         let (Some(&first), Some(&last)) = (fires.first(), fires.last()) else { return };",
    ),
    mutant(
        "the catch-up window is ignored",
        "policy.rs",
        "let in_window = young(window).min(on_time);",
        "let in_window = 0;",
    ),
    mutant(
        "a queue stops after its first run",
        "scheduler.rs",
        "        self.start_next(&run.claim.job, now);
    }

    /// Ends a run that has not begun.",
        "    }

    /// Ends a run that has not begun.",
    ),
    mutant(
        "a fire that is taken is launched all the same",
        "scheduler.rs",
        "_ => self.taken(claim.run, effects),",
        "_ => self.granted(claim.run, 1, now, effects),",
    ),
    mutant(
        "what was decided hours ago is still started",
        "scheduler.rs",
        "} else if self.is_too_late(id, now) {",
        "} else if self.is_too_late(id, now) && self.runs.is_empty() {",
    ),
    mutant(
        "missed fires are not told",
        "scheduler.rs",
        "self.report_missed(missed, now, lateness);",
        "self.report_missed(Vec::new(), now, lateness);",
    ),
    mutant(
        "each start of jobd counts as a boot",
        "recovery.rs",
        "if last == Some(boot.id.as_str()) {",
        "if last == Some(\"\") {",
    ),
];

/// A package of the engine and its simulation alone.
struct Sandbox {
    root: PathBuf,
    source: PathBuf,
}

impl Sandbox {
    fn new() -> Self {
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("mutants");
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
    let needed = ["jiff", "serde", "strsim", "thiserror"];
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

#[test]
fn the_simulation_finds_every_deliberate_bug() {
    let sandbox = Sandbox::new();
    let sound = sandbox.simulate();
    assert!(sound.status.success(), "the sound engine fails its own simulation:\n{}", text(&sound));
    for mutant in MUTANTS {
        sandbox.mutate(mutant);
    }
    let mut survivors = Vec::new();
    for mutant in MUTANTS {
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
    assert!(survivors.is_empty(), "the simulation does not notice: {survivors:#?}");
}
