//! Users: resolved by name before a fork, since the name service is not safe after it.

use std::ffi::CString;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist};

/// Whom a process runs as: numbers alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The user's own group.
    pub gid: u32,
    /// All groups, the own one included.
    pub groups: Vec<u32>,
}

/// A user as a job sees itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The login name.
    pub name: String,
    /// The home folder.
    pub home: PathBuf,
    /// Whom to become; `None` to stay who we are.
    pub identity: Option<Identity>,
}

impl Account {
    /// Our own.
    ///
    /// # Errors
    /// When the user database cannot be read.
    pub fn own() -> io::Result<Self> {
        let uid = geteuid();
        Ok(match User::from_uid(uid)? {
            Some(user) => Self { name: user.name, home: user.dir, identity: None },
            // A container may run under a number that has no entry.
            None => Self { name: uid.to_string(), home: PathBuf::from("/"), identity: None },
        })
    }

    /// The user of this name. Without root's rights there is only one to become: oneself.
    ///
    /// # Errors
    /// `ENOENT` when there is no such user, `EPERM` when we may not become it.
    pub fn named(name: &str) -> io::Result<Self> {
        let user = User::from_name(name)?.ok_or(Errno::ENOENT)?;
        let own = geteuid();
        let identity = if own == Uid::from_raw(0) {
            let c_name = CString::new(name).map_err(|_| Errno::EINVAL)?;
            let groups = getgrouplist(&c_name, user.gid)?.into_iter().map(Gid::as_raw).collect();
            Some(Identity { uid: user.uid.as_raw(), gid: user.gid.as_raw(), groups })
        } else if own == user.uid {
            None
        } else {
            return Err(Errno::EPERM.into());
        };
        Ok(Self { name: user.name, home: user.dir, identity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name_or_refused() {
        let missing = Account::named("no-such-user").unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(Errno::ENOENT as i32));
        let own = Account::own().unwrap();
        assert!(own.home.is_absolute());
        let other = Account::named("nobody");
        if geteuid().is_root() {
            let identity = other.unwrap().identity.unwrap();
            assert_ne!(identity.uid, 0);
            assert!(identity.groups.contains(&identity.gid));
        } else {
            assert_eq!(other.unwrap_err().raw_os_error(), Some(Errno::EPERM as i32));
        }
    }
}
