//! Our own program file, to be executed anew.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The file that this process was started from, and how.
#[derive(Debug, Clone)]
pub(super) struct Program {
    file: PathBuf,
    name: OsString,
    arguments: Vec<OsString>,
}

impl Program {
    /// By the path that was executed, a symbolic link kept as it is: what that path leads to later is the upgrade.
    /// `/proc/self/exe` would lead to the old file for ever.
    pub(super) fn of_process() -> io::Result<Self> {
        let executed = Path::new(OsStr::from_bytes(rustix::param::linux_execfn().to_bytes()));
        // Executed by descriptor, a program has no path of its own.
        let nameless = executed.as_os_str().is_empty()
            || executed.starts_with("/dev/fd")
            || executed.starts_with("/proc");
        let file = if nameless { env::current_exe()? } else { std::path::absolute(executed)? };
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_else(|| file.clone().into());
        Ok(Self { file, name, arguments: arguments.collect() })
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// Becomes the program as it is now, in this very process. Returns only when that fails.
    pub(super) fn execute(&self) -> io::Error {
        Command::new(&self.file).arg0(&self.name).args(&self.arguments).exec()
    }
}
