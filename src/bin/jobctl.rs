//! Arguments, run, exit code: nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    jobctl::cli::run(&jobctl::cli::files::Files)
}
