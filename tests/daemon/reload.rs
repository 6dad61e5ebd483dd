//! Reloading: jobd executes its program anew, and to the runs that is a restart.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jobctl::engine::record::RunRecord;
use jobctl::engine::run::Status;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::jobd::{JOBD, Jobd, text, wait_for};
use crate::systemd::Notified;
use crate::webhook::Webhook;
use crate::{by_hand, lines};

/// Waits at its gate, says which of its entries it is, and fails in a way of its own.
fn gated(name: &str, word: &str) -> String {
    let entry = format!(
        "shell = '''\necho first; until [ -e gate ]; do sleep 0.05; done\necho {word}; exit 7\n'''\ntimeout = \"1m\""
    );
    by_hand(name, &entry)
}

fn configure(jobd: &Jobd, config: &str) {
    fs::write(jobd.path("jobs.toml"), config).unwrap();
}

/// Sends SIGHUP and waits until another jobd than before is ready, in the same process.
#[track_caller]
fn hang_up(jobd: &Jobd) {
    let before = jobd.json(&["status"])["started_at"].clone();
    kill(pid(jobd), Signal::SIGHUP).unwrap();
    wait_for("the next jobd is ready", || {
        let status = jobd.jobctl(&["status", "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&status.stdout).ok()?;
        (status.status.success() && report["started_at"] != before).then_some(())
    });
}

fn pid(jobd: &Jobd) -> Pid {
    Pid::from_raw(jobd.pid().try_into().unwrap())
}

/// The children of jobd that have ended and that it has taken no note of.
fn zombies(jobd: &Jobd) -> Vec<String> {
    let stat = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("stat")).ok();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let is_ours = |stat: &String| {
        let fields = stat.rsplit_once(')').unwrap().1;
        fields.starts_with(&format!(" Z {} ", jobd.pid()))
    };
    entries.filter_map(stat).filter(is_ours).collect()
}

#[test]
fn a_good_configuration_takes_over_and_runs_end_under_their_own_specs() {
    let jobs = ["removed", "renamed", "changed"].map(|name| gated(name, "old")).concat();
    let jobd = Jobd::started(&jobs);
    let runs = ["removed", "renamed", "changed"].map(|name| jobd.begin(name));
    for run in runs {
        wait_for("it waits", || jobd.tell(&["logs", &run.to_string()]).contains("first").then_some(()));
    }
    let before = runs.map(|run| jobd.run(run));
    let process = jobd.pid();
    let short = gated("changed", "new").replace("1m", "1s").replace("exit 7", "exit 0");
    configure(&jobd, &(gated("called_otherwise", "new") + &short));
    assert_eq!(jobd.tell(&["reload"]), "reloaded: 2 jobs\n");
    assert_eq!(jobd.json(&["status"])["pid"], process);
    assert_eq!(runs.map(|run| jobd.run(run)), before, "their rows say what they said");
    // Longer than the new limit of one of them.
    let later = jobd.begin("called_otherwise");
    wait_for("time passes", || (jobd.run(later).started_at > before[2].started_at).then_some(()));
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    fs::write(jobd.path("gate"), "").unwrap();
    for run in runs {
        let row = jobd.ended(run);
        assert_eq!((row.status, row.exit_code), (Status::Failed, Some(7)), "{row:?}");
        assert_eq!(jobd.tell(&["logs", &run.to_string()]), "first\nold\n");
    }
    assert_eq!(jobd.ended(later).message.as_deref(), Some("new"));
    let row = jobd.ended(jobd.begin("changed"));
    assert_eq!((row.status, row.message.as_deref()), (Status::Success, Some("new")));
    assert_eq!(jobd.history("removed").len(), 1, "its history stays");
}

#[test]
fn a_configuration_with_mistakes_changes_nothing() {
    let good = gated("gated", "old");
    let jobd = Jobd::started(&good);
    let run = jobd.begin("gated");
    let started_at = jobd.json(&["status"])["started_at"].clone();
    configure(&jobd, &good.replace("timeout", "tiemout"));
    let refused = jobd.jobctl(&["reload"]);
    let said = text(&refused.stderr);
    assert_eq!((refused.status.code(), text(&refused.stdout).as_str()), (Some(1), ""), "{said}");
    let validated = text(&jobd.jobctl(&["validate"]).stderr);
    assert!(said.starts_with(&validated) && validated.contains("jobs.toml:"), "{said}\n{validated}");
    assert!(said.contains("nothing has changed"), "{said}");

    let status = jobd.json(&["status"]);
    assert_eq!((&status["started_at"], &status["jobs"]), (&started_at, &1.into()));
    let problem = status["problems"][0].as_str().unwrap();
    assert!(problem.contains("refused at") && problem.contains("jobs.toml:7:1: "), "{problem}");
    assert!(problem.contains("tiemout") && jobd.log().contains("tiemout"), "{problem}");
    // The next one that is refused takes the place of this one.
    fs::remove_file(jobd.path("jobs.toml")).unwrap();
    kill(pid(&jobd), Signal::SIGHUP).unwrap();
    wait_for("it is refused", || {
        let problems = jobd.json(&["status"])["problems"].clone();
        problems[0]
            .as_str()
            .unwrap()
            .contains("No such file")
            .then(|| assert_eq!(problems[1], serde_json::Value::Null))
    });
    configure(&jobd, &good);
    let outcome = jobd.json(&["reload"]);
    assert_eq!(outcome, serde_json::json!({ "reloaded": true, "jobs": 1, "problems": [], "report": null }));
    assert_eq!(jobd.json(&["status"])["problems"], serde_json::json!([]));
    assert_eq!(jobd.run(run).status, Status::Running);
    fs::write(jobd.path("gate"), "").unwrap();
    assert_eq!(jobd.ended(run).exit_code, Some(7));
}

/// Seconds at which rows of a job begin and that its entries wrote down, both in order.
fn seconds(rows: &[RunRecord]) -> Vec<i64> {
    let mut seconds: Vec<i64> = rows.iter().filter_map(|row| Some(row.scheduled_at?.as_second())).collect();
    seconds.sort_unstable();
    seconds
}

#[test]
fn no_fire_is_lost_or_doubled_by_reloads_and_nobody_is_told_of_them() {
    let webhook = Webhook::started();
    let job = |name: &str, catch_up: &str| {
        format!(
            "[jobs.{name}]\nschedule = \"* * * * * *\"\ncatch_up = \"{catch_up}\"\n\
             shell = 'echo \"$JOBD_SCHEDULED_AT\" >> {name}'\n"
        )
    };
    let names = ["skip", "latest", "all"];
    let jobd = Jobd::started(&webhook.config(&names.map(|name| job(name, name)).concat()));
    for round in 0..12 {
        // Right before, at and after the second, as it comes.
        let fired = lines(&jobd, "all").len();
        if round % 3 == 0 {
            hang_up(&jobd);
        } else {
            jobd.tell(&["reload"]);
        }
        if round % 4 == 0 {
            wait_for("it fires", || (lines(&jobd, "all").len() > fired).then_some(()));
        }
    }
    wait_for("it has fired a few times", || (jobd.history("all").len() > 4).then_some(()));
    for name in names {
        let rows = wait_for("its runs are over", || {
            Some(jobd.history(name)).filter(|rows| rows.iter().all(|row| row.status == Status::Success))
        });
        let found = seconds(&rows);
        assert_eq!(found, (found[0]..=found[found.len() - 1]).collect::<Vec<_>>(), "{name}");
        let mut started = lines(&jobd, name);
        started.sort_unstable();
        started.dedup();
        assert!(
            lines(&jobd, name).len() == started.len() && started.len() >= found.len(),
            "{name}: {started:?}"
        );
    }
    assert_eq!(webhook.delivered(&jobd), Vec::<String>::new());
}

#[test]
fn whoever_follows_a_run_outlasts_a_reload_and_no_zombie_stays() {
    let jobd = Jobd::started(&gated("gated", "last"));
    let mut command = jobd.command(&["run", "gated", "--follow"]);
    let follower = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A child that is about to become the job still looks like its shim.
    wait_for("it waits", || (!jobd.job_processes().is_empty()).then_some(()));
    let shims = jobd.shims();
    jobd.tell(&["reload"]);
    hang_up(&jobd);
    assert_eq!(jobd.shims(), shims);
    fs::write(jobd.path("gate"), "").unwrap();
    let output = follower.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "first\nlast\n", "{}", text(&output.stderr));
    wait_for("every child is taken note of", || {
        (jobd.shims().is_empty() && zombies(&jobd).is_empty()).then_some(())
    });
}

#[test]
fn systemd_hears_of_a_reload_and_a_stop_after_it_is_a_stop() {
    let jobd = Jobd::new(&by_hand("quiet", "shell = \"exit 0\""));
    let path = jobd.path("notify");
    let notified = Notified::new(&path);
    let mut jobd = jobd;
    jobd.start_with(&[("NOTIFY_SOCKET", &path)]);
    notified.until("READY=1");
    jobd.wait_until_ready();
    jobd.tell(&["reload"]);
    let mut said = notified.until("READY=1");
    said.retain(|word| !word.starts_with("STATUS=1 "));
    let [reloading] = &said[..] else { panic!("{said:?}") };
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    // Both at once: whichever is read first, jobd ends.
    kill(pid(&jobd), Signal::SIGHUP).unwrap();
    assert_eq!(jobd.stop(), Some(0), "{}", jobd.log());
    assert!(notified.until("STOPPING=1").iter().all(|word| !word.starts_with("MAINPID")));
}

/// Puts a program into the place of another as `install` does, without a moment in which there is none.
fn replace(path: &Path, text: &str) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).unwrap();
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(fresh, path).unwrap();
}

#[test]
fn an_upgraded_program_takes_over_and_a_broken_one_does_not() {
    let mut jobd = Jobd::new(&by_hand("quiet", "shell = \"exit 0\""));
    let program: PathBuf = jobd.path("jobd");
    std::os::unix::fs::symlink(JOBD, &program).unwrap();
    jobd.start_by(Command::new(&program), &[]);
    jobd.wait_until_ready();
    let started_at = jobd.json(&["status"])["started_at"].clone();
    for (broken, why) in [
        ("#!/bin/sh\necho 'no such library' >&2; exit 127\n", "exit status: 127: no such library"),
        ("#!/nowhere/interpreter\n", "No such file or directory"),
    ] {
        replace(&program, broken);
        let refused = jobd.jobctl(&["reload"]);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("cannot take over") && said.contains(why), "{said}");
    }
    assert_eq!(jobd.json(&["status"])["started_at"], started_at);
    replace(&program, &format!("#!/bin/sh\nexport UPGRADED=yes; exec {JOBD} \"$@\"\n"));
    assert_eq!(jobd.tell(&["reload"]), "reloaded: 1 job\n");
    let environment = fs::read(format!("/proc/{}/environ", jobd.pid())).unwrap();
    assert!(text(&environment).contains("UPGRADED=yes"));
    assert_eq!(jobd.json(&["status"])["problems"], serde_json::json!([]));
}

#[test]
fn a_new_schedule_fires_from_the_reload_on() {
    let rare = by_hand("tick", "shell = \"echo $JOBD_SCHEDULED_AT >> ticks\"");
    let jobd = Jobd::started(&rare);
    let often = |line: &str| {
        if line.starts_with("schedule") { "schedule = \"* * * * * *\"" } else { line }.to_owned()
    };
    configure(&jobd, &rare.lines().map(often).collect::<Vec<_>>().join("\n"));
    let before = jobctl::clock::now().wall.as_second();
    jobd.tell(&["reload"]);
    let rows = wait_for("it fires", || Some(jobd.history("tick")).filter(|rows| rows.len() > 1));
    let found = seconds(&rows);
    assert!(found[0] > before && found[1] == found[0] + 1, "{found:?}");
}
