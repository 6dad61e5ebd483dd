//! Arguments, run, exit code: nothing else.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use jobctl::daemon::{self, DaemonError, Places, Verdict};

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
    /// Only say, in JSON, whether the configuration would be taken: 0 if so, 2 if it has mistakes
    #[arg(long, hide = true)]
    check: bool,
    /// Only tell the channels of `[defaults] alert` that this unit, which runs jobd, has failed
    #[arg(long, hide = true, value_name = "UNIT", conflicts_with = "check")]
    announce_failure: Option<String>,
}

fn main() -> ExitCode {
    let Arguments { config, state_dir, socket, check, announce_failure } = Arguments::parse();
    let places = Places::or_defaults(config, state_dir, socket);
    if check {
        return tell(&daemon::check(&places));
    }
    if let Some(unit) = announce_failure {
        return daemon::announce_failure(&places, &unit)
            .map_or_else(|error| fail(&error, 1), |()| ExitCode::SUCCESS);
    }
    match daemon::run(&places) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, if matches!(error, DaemonError::Config(_)) { 2 } else { 1 }),
    }
}

fn tell(verdict: &Verdict) -> ExitCode {
    match serde_json::to_string(verdict) {
        Ok(line) => println!("{line}"),
        Err(error) => eprintln!("jobd: {error}"),
    }
    ExitCode::from(if verdict.report.is_some() { 2 } else { 0 })
}

fn fail(error: &dyn Error, code: u8) -> ExitCode {
    eprintln!("jobd: {}", daemon::causes(error));
    ExitCode::from(code)
}
