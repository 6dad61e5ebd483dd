//! Arguments, run, exit code: nothing else.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use jobctl::shim;

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let (Some(folder), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: jobd-shim RUN_FOLDER (started by jobd, with the run's lock on standard input)");
        return ExitCode::from(2);
    };
    match shim::run(PathBuf::from(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jobd-shim: {}", shim::causes(&error));
            ExitCode::FAILURE
        }
    }
}
