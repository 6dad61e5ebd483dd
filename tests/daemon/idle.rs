//! Nothing that fires polls: of a jobd with nothing to do only the house-keeping wakes, whose scheduler looks twice a
//! second whether its time has come.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::by_hand;
use crate::jobd::{Jobd, wait_within};

/// How often each thread of a process, but that of the house-keeping, has gone to sleep of its own accord, and so how
/// often it has woken up.
fn sleeps(pid: u32) -> BTreeMap<String, u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let keeps_house = |path: &std::path::Path| {
        fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "house-keeping")
    };
    let of_thread = |path: std::path::PathBuf| {
        // A thread that ends just now has woken up to do so, and is missing the next time.
        let status = fs::read_to_string(path.join("status")).unwrap_or_default();
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        (path.display().to_string(), count.map_or(0, |count| count.trim().parse().unwrap()))
    };
    threads.map(|entry| entry.unwrap().path()).filter(|path| !keeps_house(path)).map(of_thread).collect()
}

#[test]
fn an_idle_jobd_sleeps() {
    let jobd = Jobd::started(&by_hand("job", "shell = \"exit 0\""));
    jobd.tell(&["run", "job", "--wait"]);
    // Helper threads end some seconds after their last work; then there is peace.
    let limit = 2 * crate::jobd::PATIENCE;
    wait_within(limit, "no thread wakes up for some seconds", || {
        let before = sleeps(jobd.pid());
        // What is measured is what happens while time passes.
        assert!(Command::new("sleep").arg("4").status().unwrap().success());
        (sleeps(jobd.pid()) == before).then_some(())
    });
}
