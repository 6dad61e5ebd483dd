//! Arguments, run, exit code: nothing else.

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use jobctl::shim::{self, Begin, evidence};

/// Wait at the gate.
const GATE_FLAG: &str = "--gate";

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1).peekable();
    if arguments.next_if(|first| first == evidence::FLAG).is_some() {
        return exit_code(evidence::gather(arguments));
    }
    let begin = arguments.next_if(|first| first == GATE_FLAG).map_or(Begin::Now, |_| Begin::AtGate);
    let (Some(folder), None) = (arguments.next(), arguments.next()) else {
        eprintln!(
            "usage: jobd-shim [--gate] RUN_FOLDER (started by jobd, with the run's lock on standard input)"
        );
        return ExitCode::from(2);
    };
    exit_code(shim::run(PathBuf::from(folder), begin))
}

fn exit_code(done: Result<(), impl Error>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jobd-shim: {}", shim::causes(&error));
            ExitCode::FAILURE
        }
    }
}
