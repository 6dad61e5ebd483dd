//! What the kernel's controllers hold a run to, and what happens when the machine's own memory is gone.

use jobctl::engine::run::Status;

use crate::machine::Machine;

const JOBS: &str = r#"
timezone = "UTC"
[defaults]
timeout = "5m"
kill_grace = "1s"

[jobs.hungry]
schedule = "@yearly"
command = ["tail", "/dev/zero"]
limits = { memory = "64MiB", required = true }

[jobs.bomb]
schedule = "@yearly"
command = ["bash", "-c", "while :; do sleep 1000 & done"]
limits = { pids = 20, required = true }
timeout = "10s"

[jobs.busy]
schedule = "@yearly"
shell = "while :; do :; done"
limits = { cpu = "20%", required = true }
timeout = "20s"

[jobs.good]
schedule = "@yearly"
shell = "exit 0"

# Holds so much, and waits.
[jobs.glutton]
schedule = "@yearly"
shell = "mkfifo /run/full; exec dd if=/dev/zero bs=200M count=1 3<>/run/full >/run/full"
"#;

impl Machine {
    fn jobd_pid(&mut self) -> u64 {
        self.json("status")["pid"].as_u64().unwrap()
    }

    /// Runs out of its limit of memory, and the row tells.
    #[track_caller]
    fn runs_out_of_memory(&mut self, job: &str) -> String {
        let run = self.begin(job);
        let row = self.ended(run);
        let told = row.error_message.clone().unwrap_or_default();
        assert_eq!(row.status, Status::Failed, "{row:#?}");
        assert!(told.to_lowercase().contains("memory"), "{row:#?}");
        told
    }
}

#[test]
fn a_run_is_held_to_its_limits() {
    let mut machine = Machine::with_jobs(JOBS);
    let told = machine.runs_out_of_memory("hungry");
    assert!(told.contains("64"), "{told}");

    let bomb = machine.begin("bomb");
    machine.wait_for("the bomb has gone off", |machine| {
        (machine.sh("pgrep -fc '^sleep 1000$' || true").trim().parse::<u32>().unwrap() > 10).then_some(())
    });
    machine.runs_well("good");
    assert!(machine.sh("pgrep -fc '^sleep 1000$' || true").trim().parse::<u32>().unwrap() <= 20);
    let row = machine.ended(bomb);
    assert_eq!(row.status, Status::Timeout, "{row:#?}");
    assert_eq!(machine.sh("pgrep -fc '^sleep 1000$' || true").trim(), "0", "none is left");

    let row = machine.begin("busy");
    let row = machine.ended(row);
    let (cpu, took) = (row.cpu_ms.unwrap(), row.duration_ms.unwrap());
    assert_eq!(row.status, Status::Timeout);
    assert!((took / 20..took * 3 / 10).contains(&cpu), "{cpu} ms in {took} ms");
}

#[test]
fn jobd_restarts_beside_runs_with_limits() {
    let mut machine = Machine::with_jobs(JOBS);
    let busy = machine.begin("busy");
    let pid = machine.running(busy).pid;
    machine.sh("systemctl restart jobd");
    machine.runs_out_of_memory("hungry");
    let row = machine.ended(busy);
    assert_eq!((row.status, row.pid), (Status::Timeout, pid), "{row:#?}");
}

/// The kernel is asked for the kill, and chooses by itself whom: to wait until nothing is left, takes minutes.
#[test]
fn a_job_that_takes_the_machines_memory_dies_alone() {
    let mut machine = Machine::with_jobs(JOBS);
    let jobd = machine.jobd_pid();
    let run = machine.begin("glutton");
    let pid = machine.running(run).pid.unwrap();
    machine.wait_for("the job has its memory", |machine| {
        let size = machine.sh(&format!("ps -o rss= -p {pid}")).trim().parse::<u64>().unwrap();
        (size > 200_000).then_some(())
    });
    machine.sh("echo f >/proc/sysrq-trigger");
    let row = machine.ended(run);
    let told = row.error_message.clone().unwrap_or_default();
    assert!(row.status == Status::Failed && told.contains("out of memory"), "{row:#?}");
    assert_eq!(machine.jobd_pid(), jobd, "jobd was never in danger");
    machine.runs_well("good");
}
