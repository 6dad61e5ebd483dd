//! Arguments, run, exit code: nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use jobctl::daemon::{self, DaemonError, Places};

/// Runs jobs on a schedule, in the foreground, until SIGTERM. Runs under way go on without it.
#[derive(Debug, Parser)]
#[command(name = "jobd", version, about, max_term_width = 100)]
struct Arguments {
    /// The configuration [default: /etc/jobd/jobs.toml for root]
    #[arg(long, env = "JOBD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The state directory [default: /var/lib/jobd for root]
    #[arg(long, env = "JOBD_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The Unix socket jobctl talks to [default: /run/jobd/jobd.sock for root]
    #[arg(long, env = "JOBD_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Arguments { config, state_dir, socket } = Arguments::parse();
    let places = Places::or_defaults(config, state_dir, socket);
    match daemon::run(&places) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &DaemonError) -> ExitCode {
    eprintln!("jobd: {}", daemon::causes(error));
    ExitCode::from(if matches!(error, DaemonError::Config(_)) { 2 } else { 1 })
}
