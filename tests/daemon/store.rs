//! A store that cannot be written for a while: nothing starts that is not recorded, and nothing is lost.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jobctl::engine::record::RunRecord;
use jobctl::engine::run::Status;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::jobd::{Jobd, wait_for};
use crate::{lines, with_database};

const EACH_SECOND: &str =
    "[jobs.ticking]\nschedule = \"* * * * * *\"\nshell = 'echo \"$JOBD_RUN_ID\" >> starts'\n";

/// Why the store cannot be written, as `jobctl status` has it.
fn store_error(jobd: &Jobd) -> Option<String> {
    jobd.json(&["status"])["store"]["error"].as_str().map(str::to_owned)
}

/// The runs that have rows, and the runs that were started.
fn rows_and_starts(jobd: &Jobd) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let started = lines(jobd, "starts").iter().map(|line| line.parse().unwrap()).collect();
    // The rows are read after the starts: whatever was started before has one.
    (jobd.history("ticking").iter().map(|row| row.run_id.0).collect(), started)
}

#[track_caller]
fn assert_all_is_accounted_for(jobd: &Jobd, trouble: usize) {
    let rows = wait_for("runs start again", || {
        let rows = jobd.history("ticking");
        (rows.len() > trouble + 2 && rows[0].status == Status::Success).then_some(rows)
    });
    let seconds: Vec<i64> = rows.iter().rev().map(|row| row.scheduled_at.unwrap().as_second()).collect();
    let every: Vec<i64> = (seconds[0]..=seconds[seconds.len() - 1]).collect();
    assert_eq!(seconds, every, "each second has one row");
    let ran = |row: &&RunRecord| row.status == Status::Success;
    let ran: Vec<String> = rows.iter().rev().filter(ran).map(|row| row.run_id.to_string()).collect();
    let mut starts = lines(jobd, "starts");
    starts.truncate(ran.len());
    assert_eq!(starts, ran, "each run was started once");
}

#[track_caller]
fn fires(jobd: &Jobd) {
    wait_for("it fires", || (!lines(jobd, "starts").is_empty()).then_some(()));
}

#[test]
fn nothing_starts_while_the_database_is_locked() {
    let jobd = Jobd::started(EACH_SECOND);
    fires(&jobd);
    let trouble = with_database(&jobd, async |database| {
        sqlx::query("PRAGMA busy_timeout = 30000").execute(&mut *database).await.unwrap();
        sqlx::query("BEGIN EXCLUSIVE").execute(&mut *database).await.unwrap();
        let error = wait_for("the failure is seen", || store_error(&jobd));
        assert!(error.contains("locked by another process"), "{error}");
        let (rows, starts) = rows_and_starts(&jobd);
        let claims = sqlx::query_scalar("SELECT run_id FROM claims").fetch_all(&mut *database).await;
        let claims: BTreeSet<u64> = claims.unwrap().into_iter().map(i64::unsigned_abs).collect();
        let known = &rows | &claims;
        assert!(starts.is_subset(&known), "{starts:?} were started, {known:?} have rows or claims");
        sqlx::query("ROLLBACK").execute(&mut *database).await.unwrap();
        rows.len()
    });
    wait_for("the failure has passed", || store_error(&jobd).is_none().then_some(()));
    assert_all_is_accounted_for(&jobd, trouble);
}

/// A file system of its own for a state directory.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where one may not mount.
    fn mounted(path: &Path) -> Option<Self> {
        fs::create_dir(path).unwrap();
        let made = mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some("size=4m,mode=711"));
        made.is_ok().then(|| Self(path.to_owned()))
    }

    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        for size in [65_536, 4_096] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn nothing_starts_while_the_disk_is_full() {
    let mut jobd = Jobd::new(EACH_SECOND);
    let Some(disk) = SmallDisk::mounted(&jobd.state_dir()) else {
        // Whoever may not mount has the locked database to show the same by; root has no excuse.
        assert!(!nix::unistd::geteuid().is_root(), "a small disk could not be mounted");
        return;
    };
    jobd.start();
    jobd.wait_until_ready();
    fires(&jobd);
    disk.fill();
    let error = wait_for("the failure is seen", || store_error(&jobd));
    assert!(error.contains("the disk is full"), "{error}");
    let (rows, starts) = rows_and_starts(&jobd);
    assert!(starts.is_subset(&rows), "{starts:?} were started, {rows:?} have rows");
    disk.free();
    wait_for("the failure has passed", || store_error(&jobd).is_none().then_some(()));
    assert_all_is_accounted_for(&jobd, rows.len());
}
