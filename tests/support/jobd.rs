//! A real jobd in a directory of its own, steered by the real jobctl.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use jobctl::clock;
use jobctl::engine::record::RunRecord;
use serde_json::Value;

/// How long anything may take that is to happen at once, on a machine with other things to do.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const JOBD: &str = env!("CARGO_BIN_EXE_jobd");
/// How soon a condition is looked at again.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Waits for a condition and returns what it found; fails the test with `what` when it never comes.
#[track_caller]
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, &mut condition)
}

/// As [`wait_for`], with another limit.
#[track_caller]
pub fn wait_within<T>(limit: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = clock::now().monotonic.after(limit);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(clock::now().monotonic < deadline, "waited {limit:?} in vain: {what}");
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// A jobd that is killed, and its directory removed, when the test is over.
pub struct Jobd {
    directory: tempfile::TempDir,
    child: Option<Child>,
}

impl Jobd {
    /// A directory with this `jobs.toml`; jobd is not started yet.
    pub fn new(config: &str) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("jobd-test-")
            .disable_cleanup(std::env::var_os("JOBD_TEST_KEEP").is_some())
            .tempdir()
            .unwrap();
        fs::write(directory.path().join("jobs.toml"), config).unwrap();
        Self { directory, child: None }
    }

    /// A jobd that is ready.
    pub fn started(config: &str) -> Self {
        let mut jobd = Self::new(config);
        jobd.start();
        jobd.wait_until_ready();
        jobd
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn state_dir(&self) -> PathBuf {
        self.path("state")
    }

    /// Starts jobd and does not wait for it.
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts jobd with these variables in its environment.
    pub fn start_with(&mut self, variables: &[(&str, &Path)]) {
        self.start_by(Command::new(JOBD), variables);
    }

    /// Starts jobd by a command that becomes it.
    pub fn start_by(&mut self, mut command: Command, variables: &[(&str, &Path)]) {
        assert!(self.child.is_none(), "jobd has been started");
        let log = File::options().create(true).append(true).open(self.path("jobd.log")).unwrap();
        self.places(&mut command);
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        // A group of its own: a Ctrl-C at the test is not one at the daemon.
        self.child = Some(command.process_group(0).spawn().unwrap());
    }

    /// Starts a jobd that refuses to work: its exit code, and what it says.
    #[track_caller]
    pub fn start_in_vain(&self, variables: &[(&str, &Path)]) -> (Option<i32>, String) {
        self.start_in_vain_by(Command::new(JOBD), variables)
    }

    /// The same by a command that becomes jobd, or waits for one.
    #[track_caller]
    pub fn start_in_vain_by(
        &self,
        mut command: Command,
        variables: &[(&str, &Path)],
    ) -> (Option<i32>, String) {
        self.places(&mut command);
        command.envs(variables.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null());
        let said = self.path("refusal");
        let mut child = Ended(command.stderr(File::create(&said).unwrap()).spawn().unwrap());
        let ended = wait_for("jobd refuses to work", || child.0.try_wait().unwrap());
        (ended.code(), fs::read_to_string(said).unwrap())
    }

    fn places(&self, command: &mut Command) {
        command
            .env("JOBD_CONFIG", self.path("jobs.toml"))
            .env("JOBD_STATE_DIR", self.state_dir())
            .env("JOBD_SOCKET", self.path("jobd.sock"))
            .env("JOBD_SHIM", env!("CARGO_BIN_EXE_jobd-shim"))
            .current_dir(self.directory.path());
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Waits until jobd has died by itself.
    #[track_caller]
    pub fn wait_until_dead(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        wait_for("jobd dies", || child.try_wait().unwrap())
    }

    #[track_caller]
    pub fn wait_until_ready(&mut self) {
        wait_for("jobd is ready", || {
            if let Some(ended) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("jobd ended with {ended}:\n{}", self.log());
            }
            self.jobctl(&["status"]).status.success().then_some(())
        });
    }

    /// What jobd has logged so far, over all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("jobd.log")).unwrap_or_default()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and the exit code.
    #[track_caller]
    pub fn stop(&mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(self.pid().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.exit_code()
    }

    /// Waits for a jobd that is about to end, and returns its exit code.
    #[track_caller]
    pub fn exit_code(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        wait_for("jobd ends", || child.try_wait().unwrap()).code()
    }

    /// jobctl with these arguments, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jobctl"));
        self.places(&mut command);
        command.args(arguments);
        command
    }

    /// Runs jobctl to its end.
    pub fn jobctl(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What jobctl prints; it must succeed.
    #[track_caller]
    pub fn tell(&self, arguments: &[&str]) -> String {
        let output = self.jobctl(arguments);
        let (said, complained) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "jobctl {arguments:?}: {}\n{said}{complained}", output.status);
        said
    }

    /// What jobctl prints with `--json`.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.tell(&arguments)).unwrap()
    }

    /// The newest rows of a job, newest first.
    #[track_caller]
    pub fn history(&self, job: &str) -> Vec<RunRecord> {
        let answer = self.json(&["history", "--job", job, "-n", "1000"]);
        serde_json::from_value(answer["runs"].clone()).unwrap()
    }

    /// Starts a run by hand, and returns its number.
    #[track_caller]
    pub fn begin(&self, job: &str) -> u64 {
        self.json(&["run", job])["run_id"].as_u64().unwrap()
    }

    /// Waits until a run is over, and returns its row.
    #[track_caller]
    pub fn ended(&self, run: u64) -> RunRecord {
        wait_for("the run is over", || Some(self.run(run)).filter(|row| row.status.is_final()))
    }

    /// The row of a run.
    #[track_caller]
    pub fn run(&self, run: u64) -> RunRecord {
        serde_json::from_value(self.json(&["show", &run.to_string()])["run"].clone()).unwrap()
    }
}

/// A process that does not outlive its test.
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Jobd {
    /// The processes of its jobs: all that bear a message file of its state directory in their environment.
    pub fn job_processes(&self) -> Vec<i32> {
        processes("environ", &format!("JOBD_MESSAGE_FILE={}/", self.state_dir().display()))
    }

    /// Its shims: they are named by the run's folder.
    pub fn shims(&self) -> Vec<i32> {
        processes("cmdline", &format!("\0{}/runs/", self.state_dir().display()))
    }
}

/// The living processes in whose file in `/proc` a text occurs.
pub fn processes(file: &str, text: &str) -> Vec<i32> {
    let holds = |pid: &i32| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    let entries = fs::read_dir("/proc").unwrap();
    // A zombie's files are empty: it does not count.
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(holds).collect()
}

/// `kill -9`; a process that is gone already is as good.
pub fn kill_9(pid: i32) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
}

impl Drop for Jobd {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // The runs go on by themselves, and their folders are about to go.
        for pid in self.shims().into_iter().chain(self.job_processes()) {
            kill_9(pid);
        }
        if std::thread::panicking() {
            eprintln!("jobd's log:\n{}", self.log());
        }
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
