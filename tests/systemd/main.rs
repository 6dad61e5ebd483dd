//! jobd under a real systemd: `make systemd`.
//!
//! Each test boots a systemd of its own in namespaces (`boot.sh`), with jobd installed by `make install`, and judges
//! by what `systemctl`, `jobctl` and the journal say. It takes root, and a Debian that `scripts/systemd-root.sh` makes.
//!
//! The kernel is this host's. What takes another one, as limits of memory on a host whose controllers belong to version
//! 1 of the control groups, is not shown here.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod failure;
mod host;
mod machine;
mod sandbox;
mod survival;
mod watched;

#[expect(dead_code, unreachable_pub, reason = "other tests use the rest")]
#[path = "../support/jobd.rs"]
mod jobd;
#[expect(dead_code, unreachable_pub, reason = "other tests use the rest")]
#[path = "../support/webhook.rs"]
mod webhook;

/// Says what a test is at.
fn step(what: &str) {
    let thread = std::thread::current();
    println!("{}: {what}", thread.name().unwrap_or_default());
}
