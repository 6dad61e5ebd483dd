//! Two runs that are under way while something happens to jobd.

use jobctl::engine::run::Status;

use crate::jobd::wait_for;
use crate::machine::Machine;

/// Both begin, wait for the word, and end; the second badly.
pub(crate) const JOBS: &str = r#"
[jobs.good]
schedule = "0 0 29 2 *"
timeout = "2m"
shell = "echo begin; until [ -e /srv/go ]; do sleep 0.05; done; echo end"

[jobs.bad]
schedule = "0 0 29 2 *"
timeout = "2m"
shell = "echo begin; until [ -e /srv/go ]; do sleep 0.05; done; echo end; exit 7"
"#;

pub(crate) struct Watched<'a> {
    machine: &'a Machine,
    good: u64,
    bad: u64,
}

impl<'a> Watched<'a> {
    /// Two runs that have begun.
    #[track_caller]
    pub(crate) fn begin(machine: &'a Machine) -> Self {
        machine.sh("rm -f /srv/go");
        let watched = Self { machine, good: machine.begin("good"), bad: machine.begin("bad") };
        for run in [watched.good, watched.bad] {
            wait_for("the job has begun", || (machine.output(run) == "begin\n").then_some(()));
        }
        watched
    }

    /// Neither has been disturbed: they run, they end in their own way, and that is what their rows say.
    #[track_caller]
    pub(crate) fn end_well(self) {
        let machine = self.machine;
        for run in [self.good, self.bad] {
            assert_eq!(machine.row(run).status, Status::Running);
        }
        machine.sh("touch /srv/go");
        for (run, status, code) in [(self.good, Status::Success, 0), (self.bad, Status::Failed, 7)] {
            let row = machine.ended(run);
            assert_eq!((row.status, row.exit_code, row.term_signal), (status, Some(code), None), "{row:?}");
            assert_eq!(row.output_bytes, Some(10));
            assert_eq!(machine.output(run), "begin\nend\n");
        }
    }

    /// The numbers of the two.
    pub(crate) const fn numbers(&self) -> [u64; 2] {
        [self.good, self.bad]
    }
}
