//! Runs of the real `jobd-shim`, in a state directory of their own.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::time::Duration;

use jobctl::clock;
use jobctl::engine::job::Command;
use jobctl::engine::policy::Leftover;
use jobctl::engine::resources::Resources;
use jobctl::engine::run::{Report, RunId, Trigger};
use jobctl::engine::stop::StopLadder;
use jobctl::os;
use jobctl::output::{Line, Parser, Stream};
use jobctl::process::{Launcher, Shim, watch};
use jobctl::run::{Mark, RunFolder, RunSpec};
use tempfile::TempDir;

/// No run here takes longer by far; a test that waits for so long has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// A run that can be launched.
pub(crate) struct Run {
    pub(crate) state: TempDir,
    pub(crate) folder: RunFolder,
    pub(crate) spec: RunSpec,
}

/// The launcher of the shim that was built for this test.
pub(crate) fn launcher() -> Launcher {
    Launcher { shim: env!("CARGO_BIN_EXE_jobd-shim").into() }
}

impl Run {
    /// A run of a line for the shell.
    pub(crate) fn shell(line: &str) -> Self {
        Self::of(Command::Shell(line.to_owned()))
    }

    /// A run of a program.
    pub(crate) fn argv(words: &[&str]) -> Self {
        Self::of(Command::Argv(words.iter().map(|word| (*word).to_owned()).collect()))
    }

    fn of(command: Command) -> Self {
        let state = tempfile::tempdir().unwrap();
        fs::set_permissions(state.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let due_at = "2026-03-01T01:00:00Z".parse().unwrap();
        let spec = RunSpec {
            version: 1,
            run: RunId(42),
            job: "report.daily".to_owned().try_into().unwrap(),
            boot_id: os::boot_id().unwrap(),
            due_at,
            trigger: Trigger::Schedule,
            attempt: 1,
            command,
            cwd: "/".into(),
            env: BTreeMap::new(),
            env_file: None,
            user: None,
            umask: 0o022,
            timeout_ms: None,
            stop: StopLadder::term(Duration::from_secs(10)),
            silence: None,
            leftover: Leftover::default(),
            output_limit: None,
            stdin: None,
            groups: None,
            no_new_privileges: false,
            resources: Resources::default(),
            nofile_soft: None,
            zone: "Asia/Seoul".to_owned(),
            lang: "C.UTF-8".to_owned(),
            cgroup: true,
        };
        let folder = RunFolder::new(state.path(), due_at, spec.run);
        Self { state, folder, spec }
    }

    /// The same run with other entries in its spec.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut RunSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    pub(crate) async fn launch(&self) -> Shim {
        launcher().launch(&self.folder, &self.spec).await.unwrap()
    }

    /// Launches it and waits for its end.
    pub(crate) async fn finish(&self) -> Report {
        let shim = self.launch().await;
        self.end(Some(shim)).await
    }

    pub(crate) async fn end(&self, shim: Option<Shim>) -> Report {
        in_time(watch(&self.folder, shim, || clock::now().wall)).await.unwrap()
    }

    /// What the job wrote to a stream, as the output file has it.
    pub(crate) fn output(&self, stream: Stream) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut parser = Parser::default();
        parser.feed(&fs::read(self.folder.output_path()).unwrap_or_default(), |line| match line {
            Line::Record(record) if record.stream == stream => record.append_to(&mut bytes),
            Line::Record(_) => {}
            Line::Unreadable(bytes) => panic!("unreadable: {}", String::from_utf8_lossy(bytes)),
        });
        assert_eq!(parser.pending(), 0);
        bytes
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.output(Stream::Stdout)).unwrap()
    }

    /// Waits until the job has written this.
    pub(crate) async fn until_written(&self, text: &str) {
        until(|| {
            let bytes = fs::read(self.folder.output_path()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).contains(text)
        })
        .await;
    }

    pub(crate) fn mark(&self) -> Mark {
        self.folder.mark().unwrap().unwrap()
    }

    /// The processes of the run that live, its main one and all below, but not the shim.
    pub(crate) fn processes(&self) -> Vec<os::Process> {
        os::with_environment(&format!("JOBD_MESSAGE_FILE={}", self.folder.message_path().display()))
    }

    /// A copy of a file in the state directory that may be executed. Another process makes it: what this one opens for
    /// writing, a process that another test is just starting has open too, and then it cannot be executed.
    pub(crate) fn executable(&self, name: &str, source: &Path) -> PathBuf {
        let path = self.state.path().join(name);
        let installed = Program::new("install").args(["-m", "755"]).arg(source).arg(&path).status();
        assert!(installed.unwrap().success());
        path
    }

    /// A file in the state directory.
    pub(crate) fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.state.path().join(name);
        fs::write(&path, contents).unwrap();
        path
    }
}

/// Waits for a future, but not for ever.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes far too long")
}

/// Waits until something is so.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    in_time(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}
