//! Who is at the other end of a connection, and what that lets them do.
//!
//! The kernel tells (`SO_PEERCRED`); nothing the peer says is believed. Whoever could connect may look. To steer takes
//! uid 0, the daemon's own uid, or the socket's group.

use std::ffi::CString;

use nix::unistd::{Gid, Uid, User, getgrouplist};

/// The process at the other end, as it was when it connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

/// Who may steer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The daemon's own user.
    pub owner: u32,
    /// The socket's group.
    pub group: u32,
}

impl Access {
    /// Whether the peer may start and stop runs. May ask the user database, which can take its time.
    #[must_use]
    pub fn may_steer(self, peer: Peer) -> bool {
        peer.uid == 0 || peer.uid == self.owner || peer.gid == self.group || belongs(peer, self.group)
    }
}

/// Whether the user database counts the peer's user among the group.
fn belongs(peer: Peer, group: u32) -> bool {
    let Some(user) = user(peer.uid) else { return false };
    let Ok(name) = CString::new(user.name) else { return false };
    getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&Gid::from_raw(group)))
}

/// The peer in words, for the records: `uid 1000 (mina)`. May ask the user database.
#[must_use]
pub fn describe(peer: Peer) -> String {
    match user(peer.uid) {
        Some(user) => format!("uid {} ({})", peer.uid, user.name),
        None => format!("uid {}", peer.uid),
    }
}

fn user(uid: u32) -> Option<User> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An id that no user or group of a test machine has.
    const NOBODY_HAS: u32 = 4_000_000_001;

    #[test]
    fn root_the_owner_and_the_group_steer_and_others_look() {
        let access = Access { owner: 4_000_000_002, group: 4_000_000_003 };
        let peer = |uid, gid| Peer { uid, gid };
        assert!(access.may_steer(peer(0, NOBODY_HAS)));
        assert!(access.may_steer(peer(access.owner, NOBODY_HAS)));
        assert!(access.may_steer(peer(NOBODY_HAS, access.group)));
        assert!(!access.may_steer(peer(NOBODY_HAS, NOBODY_HAS)));
    }

    #[test]
    fn membership_is_looked_up() {
        // Root's own group is the one membership that every machine has.
        assert!(belongs(Peer { uid: 0, gid: NOBODY_HAS }, 0));
        assert!(!belongs(Peer { uid: 0, gid: NOBODY_HAS }, NOBODY_HAS));
    }

    #[test]
    fn a_peer_is_described_with_its_name_where_it_has_one() {
        assert_eq!(describe(Peer { uid: 0, gid: 0 }), "uid 0 (root)");
        assert_eq!(describe(Peer { uid: NOBODY_HAS, gid: 0 }), format!("uid {NOBODY_HAS}"));
    }
}
