//! What systemd is told: ready when reconciled, alive while the loop goes round, stopping when asked to.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use jobctl::engine::run::Status;

use crate::downtime::{backdate, hourly};
use crate::jobd::{Jobd, PATIENCE};

/// The socket that systemd would listen on.
pub struct Notified(UnixDatagram);

impl Notified {
    pub fn new(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    #[track_caller]
    fn next(&self) -> String {
        let mut bytes = [0; 1024];
        let length = self.0.recv(&mut bytes).expect("jobd says something");
        String::from_utf8(bytes[..length].to_vec()).unwrap().trim_end().to_owned()
    }

    /// Waits for a word, and returns what came before it.
    #[track_caller]
    pub fn until(&self, word: &str) -> Vec<String> {
        let said: Vec<String> =
            std::iter::repeat_with(|| self.next()).take_while(|found| found != word).collect();
        said
    }
}

#[test]
fn systemd_hears_when_jobd_is_ready_alive_and_stopping() {
    let job =
        format!("[jobs.hourly]\nschedule = \"{}\"\ncatch_up = \"skip\"\nshell = \"exit 0\"\n", hourly());
    let mut jobd = Jobd::started(&job);
    assert_eq!(jobd.stop(), Some(0));
    backdate(&jobd);
    let path = jobd.path("notify");
    let notified = Notified::new(&path);
    // systemd names the process whose watchdog it is, which is known only to the process itself here.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "WATCHDOG_PID=$$ exec \"$0\"", env!("CARGO_BIN_EXE_jobd")]);
    jobd.start_by(command, &[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", Path::new("200000"))]);

    notified.until("READY=1");
    assert_eq!(jobd.jobctl(&["status"]).status.code(), Some(0));
    let rows = jobd.history("hourly");
    assert_eq!(rows.len(), 5, "what the downtime cost is durable before jobd says that it is ready");
    assert!(rows.iter().all(|row| row.status == Status::Missed));
    for _ in 0..3 {
        notified.until("WATCHDOG=1");
    }
    assert_eq!(jobd.stop(), Some(0));
    let said = notified.until("STOPPING=1");
    assert!(said.iter().all(|word| word == "WATCHDOG=1" || word.starts_with("STATUS=")), "{said:?}");
}

#[test]
fn a_jobd_that_cannot_start_never_says_ready() {
    let jobd = Jobd::new("not = \"a configuration\"\n");
    let path = jobd.path("notify");
    let notified = Notified::new(&path);
    let (code, _) = jobd.start_in_vain(&[("NOTIFY_SOCKET", &path)]);
    assert_eq!(code, Some(2));
    notified.0.set_nonblocking(true).unwrap();
    assert!(notified.0.recv(&mut [0; 64]).is_err(), "it has ended, and said nothing");
}
