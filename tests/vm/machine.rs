//! A virtual machine: Debian's kernel and systemd, jobd as it is installed, and a disk that is thrown away.
//!
//! The tests talk to an agent inside it (`agent.sh`), so that a scenario is written in one place, whatever becomes of
//! the machine meanwhile.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;

use jobctl::clock;
use jobctl::engine::record::RunRecord;
use jobctl::engine::run::Status;
use serde_json::Value;
use tempfile::TempDir;

/// How long an answer may take, that of a machine that starts included: it may be emulated, on a busy host.
const PATIENCE: Duration = Duration::from_mins(5);
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How much of the console is worth reading after a failure, lines.
const CONSOLE_LINES: usize = 80;

const KERNEL_ARGUMENTS: &str =
    "root=/dev/nvme0n1 rw console=ttyS0 quiet mitigations=off systemd.journald.forward_to_console=1";

/// Where `scripts/vm-image.sh` leaves kernel and disk.
fn image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let programs = Path::new(env!("CARGO_BIN_EXE_jobd")).parent().unwrap();
        let made = Command::new(root.join("scripts/vm-image.sh")).arg(programs).status().unwrap();
        assert!(made.success(), "the virtual machine can't be made");
        root.join("target/vm")
    })
}

/// Hardware help where there is any. `/dev/kvm` alone proves nothing: it is also there where it starts no machine.
fn accelerator() -> &'static str {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap();
    let can = processor.split_whitespace().any(|flag| matches!(flag, "vmx" | "svm"));
    let may = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    if can && may { "kvm" } else { "tcg" }
}

/// A machine that is killed, and its disk removed, when the test is over.
pub(crate) struct Machine {
    folder: TempDir,
    qemu: Child,
    agent: BufReader<UnixStream>,
    /// Of the boot it is in.
    pub(crate) boot_id: String,
}

impl Machine {
    /// A machine with a fresh disk that is up, without jobd.
    pub(crate) fn up() -> Self {
        let folder = tempfile::Builder::new().prefix("jobd-vm-").tempdir().unwrap();
        let made = Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
            .arg(image().join("disk.img"))
            .arg(folder.path().join("disk"))
            .status();
        assert!(made.unwrap().success());
        let (qemu, agent) = power_on(folder.path());
        let mut machine = Self { folder, qemu, agent: BufReader::new(agent), boot_id: String::new() };
        machine.boot_id = machine.await_boot();
        machine
    }

    /// A machine whose jobd works by this `jobs.toml`, and will after each boot.
    pub(crate) fn with_jobs(config: &str) -> Self {
        let mut machine = Self::up();
        machine.supervise(config);
        machine
    }

    /// Installs `jobs.toml` and starts jobd, now and at each boot.
    pub(crate) fn supervise(&mut self, config: &str) {
        self.sh(&format!("cat >/etc/jobd/jobs.toml <<'END'\n{config}\nEND\n"));
        self.sh("systemctl enable --now jobd");
    }

    /// Runs shell, which must succeed: what it wrote, to stdout and stderr.
    #[track_caller]
    pub(crate) fn sh(&mut self, script: &str) -> String {
        let (code, output) = self.try_sh(script);
        assert_eq!(code, 0, "{script}\n{output}");
        output
    }

    /// Runs shell: its exit code and what it wrote.
    #[track_caller]
    pub(crate) fn try_sh(&mut self, script: &str) -> (i32, String) {
        self.tell(script);
        self.answer().expect("the machine answers")
    }

    #[track_caller]
    fn tell(&mut self, script: &str) {
        write!(self.agent.get_mut(), "{}\n{script}", script.len()).expect("the machine hears");
    }

    fn answer(&mut self) -> std::io::Result<(i32, String)> {
        let mut head = String::new();
        self.agent.read_line(&mut head)?;
        let (code, length) = head.trim().split_once(' ').ok_or(ErrorKind::UnexpectedEof)?;
        let mut output = vec![0; length.parse().unwrap()];
        self.agent.read_exact(&mut output)?;
        Ok((code.parse().unwrap(), String::from_utf8_lossy(&output).into_owned()))
    }

    /// Waits for the agent's first word.
    #[track_caller]
    fn await_boot(&mut self) -> String {
        loop {
            // What the agent of the boot before still said is of no interest.
            let (_, said) = self.answer().expect("the machine comes up");
            let said = said.trim();
            if said.len() == "00000000-0000-0000-0000-000000000000".len() && said != self.boot_id {
                return said.to_owned();
            }
        }
    }

    /// `systemctl reboot`, and the wait for the machine to be up again.
    pub(crate) fn reboot(&mut self) {
        self.tell("systemctl reboot");
        self.boot_id = self.await_boot();
        self.await_jobd();
    }

    /// Takes the power away, in the middle of whatever goes on, and gives it back. What was not synced is lost: in the
    /// machine's memory, and in that of its disk, whose own tables are written at a sync only.
    pub(crate) fn cut_power(&mut self) {
        self.qemu.kill().unwrap();
        self.qemu.wait().unwrap();
        let (qemu, agent) = power_on(self.folder.path());
        (self.qemu, self.agent) = (qemu, BufReader::new(agent));
        self.boot_id = self.await_boot();
        self.await_jobd();
    }

    #[track_caller]
    fn await_jobd(&mut self) {
        self.wait_for("jobd is ready", |machine| {
            (machine.try_sh("systemctl is-active jobd").0 == 0).then_some(())
        });
    }

    /// What `jobctl` prints with `--json`. An emulated machine on a busy host may take longer to answer than it waits.
    #[track_caller]
    pub(crate) fn json(&mut self, arguments: &str) -> Value {
        let script = format!("jobctl --json {arguments} 2>/dev/null");
        self.wait_for(&script, |machine| {
            let (code, said) = machine.try_sh(&script);
            (code == 0).then(|| serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}")))
        })
    }

    /// The facts of every message so far, in the words of the store.
    pub(crate) fn notices(&mut self) -> Vec<String> {
        let facts = self.sh("sqlite3 -readonly /var/lib/jobd/state.db 'SELECT facts FROM outbox'");
        facts.lines().map(str::to_owned).collect()
    }

    /// A run by hand succeeds.
    #[track_caller]
    pub(crate) fn runs_well(&mut self, job: &str) {
        let run = self.begin(job);
        assert_eq!(self.ended(run).status, Status::Success);
    }

    /// All rows of a job, oldest first.
    #[track_caller]
    pub(crate) fn rows(&mut self, job: &str) -> Vec<RunRecord> {
        let mut rows: Vec<RunRecord> = Vec::new();
        loop {
            let before = rows.last().map(|row| format!("--before {}", row.run_id)).unwrap_or_default();
            let mut page = self.json(&format!("history --job {job} -n 250 {before}"));
            let page: Vec<RunRecord> = serde_json::from_value(page["runs"].take()).unwrap();
            if page.is_empty() {
                rows.reverse();
                return rows;
            }
            rows.extend(page);
        }
    }

    /// Starts a run by hand, and returns its number.
    pub(crate) fn begin(&mut self, job: &str) -> u64 {
        self.json(&format!("run {job}"))["run_id"].as_u64().unwrap()
    }

    /// The row of a run.
    pub(crate) fn run(&mut self, run: u64) -> RunRecord {
        serde_json::from_value(self.json(&format!("show {run}"))["run"].take()).unwrap()
    }

    /// Waits until a run is over, and returns its row.
    #[track_caller]
    pub(crate) fn ended(&mut self, run: u64) -> RunRecord {
        self.wait_for("the run is over", |machine| Some(machine.run(run)).filter(|row| row.status.is_final()))
    }

    /// Waits until a run's job has been started.
    #[track_caller]
    pub(crate) fn running(&mut self, run: u64) -> RunRecord {
        self.wait_for("the run is under way", |machine| {
            Some(machine.run(run)).filter(|row| row.status == Status::Running && row.pid.is_some())
        })
    }

    /// Waits for something, and returns what it found.
    #[track_caller]
    pub(crate) fn wait_for<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = clock::now().monotonic.after(PATIENCE);
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(clock::now().monotonic < deadline, "waited {PATIENCE:?} in vain: {what}");
            sleep(LOOK_INTERVAL);
        }
    }
}

/// Starts the machine on the disk in this folder.
fn power_on(folder: &Path) -> (Child, UnixStream) {
    let console = fs::OpenOptions::new().create(true).append(true).open(folder.join("console")).unwrap();
    let [port, disk] = ["agent", "disk"].map(|name| folder.join(name).display().to_string());
    let _ = fs::remove_file(&port);
    let accelerator = accelerator();
    let mut qemu = Command::new("qemu-system-x86_64")
        .args([
            "-machine",
            "q35",
            "-accel",
            accelerator,
            "-cpu",
            if accelerator == "kvm" { "host" } else { "qemu64" },
        ])
        .args(["-m", "1024", "-smp", "1", "-nic", "none", "-display", "none", "-serial", "stdio"])
        .args([
            "-drive",
            &format!("file={disk},format=qcow2,if=none,id=disk"),
            "-device",
            "nvme,drive=disk,serial=1",
        ])
        .args(["-chardev", &format!("socket,id=agent,path={port},server=on,wait=off")])
        .args(["-device", "virtio-serial", "-device", "virtserialport,chardev=agent,name=agent"])
        .arg("-kernel")
        .arg(image().join("kernel"))
        .args(["-append", KERNEL_ARGUMENTS])
        .stdin(Stdio::null())
        .stdout(console.try_clone().unwrap())
        .stderr(console)
        .spawn()
        .unwrap();
    let deadline = clock::now().monotonic.after(PATIENCE);
    loop {
        if let Ok(agent) = UnixStream::connect(&port) {
            agent.set_read_timeout(Some(PATIENCE)).unwrap();
            return (qemu, agent);
        }
        let ended = qemu.try_wait().unwrap();
        assert!(ended.is_none() && clock::now().monotonic < deadline, "qemu does not start: {ended:?}");
        sleep(Duration::from_millis(20));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        if std::thread::panicking() {
            let console = fs::read(self.folder.path().join("console")).unwrap_or_default();
            let console = String::from_utf8_lossy(&console);
            let lines: Vec<&str> = console.lines().collect();
            eprintln!(
                "the end of the console:\n{}",
                lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n")
            );
        }
    }
}
