//! One jobd that is killed again and again, and what is to be seen of it afterwards.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use jobctl::clock;
use jobctl::engine::record::RunRecord;
use jobctl::engine::run::RunId;
use jobctl::run::find;
use jobctl::store::{Reader, RunFilter};

use crate::jobd::{Jobd, kill_9, wait_for, wait_within};
use crate::webhook::Webhook;
use crate::{Figures, alerts, ends};

const JOBS: usize = 4;
const PAGE: u32 = 500;
/// How long it may take until the last fire is settled and the last alert told, on a machine with much else to do.
const SETTLING: Duration = Duration::from_mins(5);

pub struct Victim {
    jobd: Jobd,
    webhook: Webhook,
    /// The seconds before which no job was known, and at which each was.
    born: (i64, i64),
    /// The runs whose shims were killed.
    bereft: BTreeSet<RunId>,
}

/// Each job fires each second, says who it is, prints what can be checked, takes its time, and exits with a code that
/// can be. It has a channel of its own, as a channel takes one message a second.
fn config(url: &str) -> String {
    let mut text = String::from("timezone = \"UTC\"\nlanguage = \"ko\"\n");
    write!(text, "[defaults]\ntimeout = \"1m\"\nalert = [\"jobd\"]\n").unwrap();
    write!(text, "[channels.jobd]\ntype = \"slack\"\nurl = \"{url}\"\n").unwrap();
    for job in 0..JOBS {
        let catch_up = ["skip", "latest", "all"][job % 3];
        write!(
            text,
            "[channels.job{job}]\ntype = \"slack\"\nurl = \"{url}\"\n[jobs.job{job}]\nalert = [\"job{job}\"]\n\
             schedule = \"* * * * * *\"\ncatch_up = \"{catch_up}\"\nshell = '''\n{}'''\n",
            ends::script()
        )
        .unwrap();
    }
    text
}

/// A number from the kernel's own source of chance.
fn chance(below: u64) -> u64 {
    let mut bytes = [0; 8];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut bytes).unwrap();
    u64::from_le_bytes(bytes) % below
}

/// Lets a random time pass: what is tested is that no moment is special.
fn pass(most: Duration) {
    std::thread::sleep(Duration::from_micros(chance(u64::try_from(most.as_micros()).unwrap())));
}

impl Victim {
    pub fn started() -> Self {
        let webhook = Webhook::started();
        let mut jobd = Jobd::new(&config(&webhook.url()));
        let before = clock::now().wall.as_second();
        jobd.start();
        jobd.wait_until_ready();
        let known = clock::now().wall.as_second();
        Self { jobd, webhook, born: (before, known), bereft: BTreeSet::new() }
    }

    /// Is killed so often, and judged.
    pub fn suffer(mut self, kills: u32) -> Figures {
        for kill in 0..kills {
            pass(Duration::from_millis(1_500));
            if kill % 2 == 0 {
                self.kill_a_shim();
            }
            self.jobd.kill();
            // Every eighth downtime is long enough for fires to count as missed.
            pass(Duration::from_millis(if kill % 8 == 0 { 6_000 } else { 500 }));
            if kill % 4 == 1 {
                self.kill_a_shim();
            }
            self.jobd.start();
        }
        self.jobd.wait_until_ready();
        self.judge(kills)
    }

    /// Kills the shim of some run, if one runs within a second.
    fn kill_a_shim(&mut self) {
        for _ in 0..20 {
            let shims = self.jobd.shims();
            if shims.is_empty() {
                pass(Duration::from_millis(100));
                continue;
            }
            let pid = shims[usize::try_from(chance(shims.len() as u64)).unwrap()];
            // What a shim has just forked looks like it until it becomes the job.
            let is_shim = parent_of(pid).is_some_and(|parent| !shims.contains(&parent));
            let Some(run) = run_of(pid).filter(|_| is_shim) else { continue };
            // Before the kill: a shim that ends by itself meanwhile is in the list for nothing.
            self.bereft.insert(run);
            kill_9(pid);
            return;
        }
    }

    fn judge(mut self, kills: u32) -> Figures {
        let until = clock::now().wall.as_second();
        let is_due = |row: &RunRecord| row.scheduled_at.is_some_and(|at| at.as_second() <= until);
        let due = |rows: Vec<RunRecord>| -> Vec<RunRecord> { rows.into_iter().filter(is_due).collect() };
        let settled = wait_within(SETTLING, "every fire is settled", || {
            Some(due(self.rows())).filter(|rows| rows.iter().all(|row| row.status.is_final()))
        });
        let expected = alerts::of(&settled);
        wait_within(SETTLING, "every incident is told", || {
            let texts = self.webhook.texts();
            let told = alerts::told(&texts);
            expected.iter().all(|key| told.contains_key(key)).then_some(())
        });
        self.jobd.stop();
        let rows = self.rows();
        let mut figures = Figures { kills, shims: self.bereft.len(), ..Figures::default() };
        self.each_second_has_one_row(&settled, until);
        ends::are_true(&self.jobd, &due(rows.clone()), &self.bereft);
        (figures.alerts, figures.told_twice) = alerts::are_true(&rows, &self.webhook.texts());
        self.nothing_is_left(&rows);
        figures.add(&settled);
        figures
    }

    fn rows(&self) -> Vec<RunRecord> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let reader = Reader::open(&self.jobd.state_dir()).await.unwrap();
            let mut rows: Vec<RunRecord> = Vec::new();
            loop {
                let before_run = rows.last().map(|row| row.run_id);
                let filter = RunFilter { before_run, limit: PAGE, ..RunFilter::default() };
                let page = reader.runs(&filter).await.unwrap();
                if page.is_empty() {
                    return rows;
                }
                rows.extend(page);
            }
        })
    }

    fn each_second_has_one_row(&self, rows: &[RunRecord], until: i64) {
        let (before, known) = self.born;
        for job in (0..JOBS).map(|job| format!("job{job}")) {
            let of_job = rows.iter().filter(|row| row.task_name.as_str() == job);
            let mut seconds: Vec<i64> = of_job
                .flat_map(|row| {
                    let at = row.scheduled_at.unwrap().as_second();
                    at..at + i64::try_from(row.fires).unwrap()
                })
                .collect();
            seconds.sort_unstable();
            let first = seconds[0];
            assert!(
                before < first && first <= known + 1,
                "{job} was known from {before} to {known}, not {first}"
            );
            assert_eq!(seconds, (first..=until).collect::<Vec<_>>(), "the rows of {job} are not its fires");
        }
    }

    /// No shim, no process of a job and no control group: those that still ran when jobd was stopped end by themselves.
    fn nothing_is_left(&self, rows: &[RunRecord]) {
        wait_for("every process is gone", || {
            (self.jobd.shims().is_empty() && self.jobd.job_processes().is_empty()).then_some(())
        });
        for run in rows.iter().map(|row| row.run_id) {
            let mark = find(&self.jobd.state_dir(), run).and_then(|folder| folder.mark().unwrap());
            let group = mark.and_then(|mark| mark.cgroup).filter(|group| group.exists());
            assert_eq!(group, None, "the control group of run {run} is left");
        }
    }
}

/// The run of a shim, by its command line.
fn run_of(shim: i32) -> Option<RunId> {
    let words = fs::read_to_string(format!("/proc/{shim}/cmdline")).ok()?;
    let folder = words.split('\0').nth(1)?;
    folder.rsplit('/').next()?.parse().ok().map(RunId)
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
