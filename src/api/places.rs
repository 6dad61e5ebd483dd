//! Where the configuration, the state directory and the socket are, when nobody says.
//!
//! `jobd` and `jobctl` must agree on it, so it stands where both look.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The socket of the system's jobd.
pub const SYSTEM_SOCKET: &str = "/run/jobd/jobd.sock";

/// The three paths by which a jobd is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// `jobs.toml`.
    pub config: PathBuf,
    /// The state directory.
    pub state_dir: PathBuf,
    /// The Unix socket.
    pub socket: PathBuf,
}

impl Places {
    /// What was said, and the defaults for this process's user where nothing was.
    #[must_use]
    pub fn or_defaults(config: Option<PathBuf>, state_dir: Option<PathBuf>, socket: Option<PathBuf>) -> Self {
        let root = nix::unistd::geteuid().is_root();
        let defaults = Self::defaults(root, |name| std::env::var_os(name));
        Self {
            config: config.unwrap_or(defaults.config),
            state_dir: state_dir.unwrap_or(defaults.state_dir),
            socket: socket.unwrap_or(defaults.socket),
        }
    }

    /// The defaults: the system's places for root, a user's own XDG folders for anyone else. `variable` reads the
    /// environment.
    #[must_use]
    pub fn defaults(root: bool, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        if root {
            return Self {
                config: "/etc/jobd/jobs.toml".into(),
                state_dir: "/var/lib/jobd".into(),
                socket: SYSTEM_SOCKET.into(),
            };
        }
        let home = variable("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        // The XDG specification wants relative paths ignored.
        let folder = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state_dir = folder("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state")).join("jobd");
        let socket = folder("XDG_RUNTIME_DIR").map_or_else(|| state_dir.clone(), |path| path.join("jobd"));
        Self {
            config: folder("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("jobd/jobs.toml"),
            socket: socket.join("jobd.sock"),
            state_dir,
        }
    }

    /// Whether the system's jobd is another one than this.
    #[must_use]
    pub fn is_not_the_system(&self) -> bool {
        self.socket != Path::new(SYSTEM_SOCKET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_the_systems_places() {
        let places = Places::defaults(true, |_| Some("/elsewhere".into()));
        assert_eq!(places.config, Path::new("/etc/jobd/jobs.toml"));
        assert_eq!(places.state_dir, Path::new("/var/lib/jobd"));
        assert_eq!(places.socket, Path::new("/run/jobd/jobd.sock"));
    }

    #[test]
    fn others_have_their_own() {
        let plain = Places::defaults(false, |name| (name == "HOME").then(|| "/home/mina".into()));
        assert_eq!(plain.config, Path::new("/home/mina/.config/jobd/jobs.toml"));
        assert_eq!(plain.state_dir, Path::new("/home/mina/.local/state/jobd"));
        assert_eq!(plain.socket, Path::new("/home/mina/.local/state/jobd/jobd.sock"));
        let xdg = Places::defaults(false, |name| match name {
            "XDG_CONFIG_HOME" => Some("/c".into()),
            "XDG_STATE_HOME" => Some("relative".into()),
            "XDG_RUNTIME_DIR" => Some("/run/user/1000".into()),
            _ => Some("/home/mina".into()),
        });
        assert_eq!(xdg.config, Path::new("/c/jobd/jobs.toml"));
        assert_eq!(xdg.state_dir, Path::new("/home/mina/.local/state/jobd"));
        assert_eq!(xdg.socket, Path::new("/run/user/1000/jobd/jobd.sock"));
    }
}
