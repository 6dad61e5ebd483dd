//! Sockets by their inodes: who is at the other end, and for how long nothing has come from there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::inet::{self, ExtensionFlags, InetRequest, InetResponse, SocketId};
use netlink_packet_sock_diag::unix::nlas::UnixDiagName;
use netlink_packet_sock_diag::unix::{self, ShowFlags, UnixRequest, UnixResponse};
use netlink_packet_sock_diag::{
    AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SockDiagMessage, TCP_LISTEN, TCP_SYN_SENT,
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::printable;

/// What one reading of answers takes, bytes; the kernel fills at most 32 KiB.
const ANSWER_BYTES: usize = 64 * 1024;
/// How many sockets of one kind are looked at: a host may have a million.
const LOOKS_MAX: usize = 100_000;
/// Where the length of a message stands, and how long it is.
const LENGTH_BYTES: usize = 4;

/// A socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// What descriptors name it by.
    pub inode: u64,
    /// `tcp`, `udp` or `unix`.
    pub kind: &'static str,
    /// `established`, `syn-sent`, `listen`, …
    pub state: &'static str,
    /// Its own address; none without one.
    pub local: Option<String>,
    /// The other end's address: of `unix`, the path it listens on.
    pub peer: Option<String>,
    /// The other end, of `unix`.
    pub peer_inode: Option<u64>,
    /// Bytes that have come and not been read; of one that listens, connections not taken.
    pub unread: u32,
    /// Bytes that were written and the peer has not taken.
    pub unsent: u32,
    /// TCP's own books.
    pub tcp: Option<Tcp>,
}

/// What TCP knows of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp {
    /// Bytes that ever came.
    pub received: u64,
    /// For how long none has; while none ever came, the age of the connection.
    pub since_received: Duration,
    /// For how long none was sent.
    pub since_sent: Duration,
    /// How often what waits for its acknowledgment was sent again.
    pub retransmits: u8,
}

/// The sockets of these inodes, as far as they are in our own network namespace.
///
/// # Errors
/// When the kernel does not let us ask.
pub fn sockets(wanted: &BTreeSet<u64>) -> io::Result<Vec<Socket>> {
    let mut left = wanted.clone();
    let mut found = Vec::new();
    for (family, protocol) in
        [(AF_INET, IPPROTO_TCP), (AF_INET6, IPPROTO_TCP), (AF_INET, IPPROTO_UDP), (AF_INET6, IPPROTO_UDP)]
    {
        if left.is_empty() {
            return Ok(found);
        }
        ask(inet_request(family, protocol), |answer| {
            if let SockDiagMessage::InetResponse(response) = answer
                && left.remove(&u64::from(response.header.inode))
            {
                found.push(inet_socket(&response, protocol));
            }
            !left.is_empty()
        })?;
    }
    if !left.is_empty() {
        found.extend(unix_sockets(&left)?);
    }
    Ok(found)
}

/// All of them are read: the other end has the name, and may come before or after.
fn unix_sockets(wanted: &BTreeSet<u64>) -> io::Result<Vec<Socket>> {
    let mut all = BTreeMap::new();
    ask(unix_request(), |answer| {
        if let SockDiagMessage::UnixResponse(response) = answer {
            all.insert(u64::from(response.header.inode), *response);
        }
        true
    })?;
    let name = |inode: u64| all.get(&inode).and_then(UnixResponse::name).map(unix_name);
    let socket = |(&inode, response): (&u64, &UnixResponse)| {
        let peer_inode = response.peer().map(u64::from);
        Socket {
            inode,
            kind: "unix",
            state: state_name(response.header.state),
            local: name(inode),
            peer: peer_inode.and_then(name),
            peer_inode,
            unread: response.receive_queue_size().unwrap_or_default(),
            unsent: response.send_queue_size().unwrap_or_default(),
            tcp: None,
        }
    };
    Ok(all.iter().filter(|(inode, _)| wanted.contains(inode)).map(socket).collect())
}

fn inet_request(family: u8, protocol: u8) -> SockDiagMessage {
    SockDiagMessage::InetRequest(InetRequest {
        family,
        protocol,
        extensions: ExtensionFlags::INFO,
        // One in TIME_WAIT has no process any more, and there may be very many.
        states: inet::StateFlags::all() - inet::StateFlags::TIME_WAIT,
        socket_id: if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() },
    })
}

fn unix_request() -> SockDiagMessage {
    SockDiagMessage::UnixRequest(UnixRequest {
        state_flags: unix::StateFlags::all(),
        inode: 0,
        show_flags: ShowFlags::NAME | ShowFlags::PEER | ShowFlags::RQLEN,
        cookie: [0xff; 8],
    })
}

fn inet_socket(response: &InetResponse, protocol: u8) -> Socket {
    let header = &response.header;
    let id = &header.socket_id;
    let tcp = response.nlas.iter().find_map(|nla| match nla {
        inet::nlas::Nla::TcpInfo(info) if protocol == IPPROTO_TCP => Some(Tcp {
            received: info.bytes_received,
            since_received: Duration::from_millis(info.last_data_recv.into()),
            since_sent: Duration::from_millis(info.last_data_sent.into()),
            retransmits: info.retransmits,
        }),
        _ => None,
    });
    let has_peer = id.destination_port != 0;
    Socket {
        inode: header.inode.into(),
        kind: if protocol == IPPROTO_TCP { "tcp" } else { "udp" },
        state: state_name(header.state),
        local: Some(SocketAddr::new(id.source_address, id.source_port).to_string()),
        peer: has_peer.then(|| SocketAddr::new(id.destination_address, id.destination_port).to_string()),
        peer_inode: None,
        unread: header.recv_queue,
        unsent: if header.state == TCP_LISTEN { 0 } else { header.send_queue },
        // Before there is a connection, its books are empty.
        tcp: tcp.filter(|_| !matches!(header.state, TCP_LISTEN | TCP_SYN_SENT)),
    }
}

/// The kernel has one set of states for all kinds, by TCP's names.
const fn state_name(state: u8) -> &'static str {
    const NAMES: [&str; 12] = [
        "unknown",
        "established",
        "syn-sent",
        "syn-recv",
        "fin-wait-1",
        "fin-wait-2",
        "time-wait",
        "unconnected",
        "close-wait",
        "last-ack",
        "listen",
        "closing",
    ];
    if (state as usize) < NAMES.len() { NAMES[state as usize] } else { NAMES[0] }
}

fn unix_name(name: &UnixDiagName) -> String {
    match name {
        UnixDiagName::Pathname(path) => printable(path.as_bytes()),
        UnixDiagName::Abstract(name) => format!("@{}", printable(name)),
    }
}

/// Asks the kernel, and hands out each answer until there is no more, or `each` wants none.
fn ask(question: SockDiagMessage, mut each: impl FnMut(SockDiagMessage) -> bool) -> io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut packet = NetlinkMessage::new(header, question.into());
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    let socket = netlink_sys::Socket::new(NETLINK_SOCK_DIAG)?;
    // The kernel answers while it is asked, so there is never anything to wait for.
    socket.set_non_blocking(true)?;
    socket.send_to(&bytes, &netlink_sys::SocketAddr::new(0, 0), 0)?;
    let mut buffer = Vec::with_capacity(ANSWER_BYTES);
    for _ in 0..LOOKS_MAX {
        buffer.clear();
        if socket.recv(&mut buffer, 0)? == 0 || !take(&buffer, &mut each)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Hands out the answers of one reading, and says whether more are to be read.
fn take(mut bytes: &[u8], each: &mut impl FnMut(SockDiagMessage) -> bool) -> io::Result<bool> {
    while let Some(length) = bytes.first_chunk::<LENGTH_BYTES>() {
        let length = usize::try_from(u32::from_ne_bytes(*length)).unwrap_or(usize::MAX);
        let Some(message) = bytes.get(..length).filter(|message| !message.is_empty()) else { break };
        match NetlinkMessage::<SockDiagMessage>::deserialize(message).map(|message| message.payload) {
            Ok(NetlinkPayload::InnerMessage(answer)) => {
                if !each(answer) {
                    return Ok(false);
                }
            }
            Ok(NetlinkPayload::Done(_)) => return Ok(false),
            Ok(NetlinkPayload::Error(error)) => return Err(error.to_io()),
            // One of a kind we do not know says nothing about the others.
            Ok(_) | Err(_) => {}
        }
        bytes = &bytes[length.next_multiple_of(LENGTH_BYTES).min(bytes.len())..];
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::super::open_file;
    use super::*;

    fn inode(socket: &impl AsRawFd) -> u64 {
        let file = open_file(std::process::id(), u32::try_from(socket.as_raw_fd()).unwrap()).unwrap();
        file.target.strip_prefix("socket:[").unwrap().trim_end_matches(']').parse().unwrap()
    }

    #[track_caller]
    fn socket(of: &impl AsRawFd) -> Socket {
        let inode = inode(of);
        let found = sockets(&BTreeSet::from([inode, u64::MAX])).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].inode, inode);
        found[0].clone()
    }

    #[test]
    fn a_connection_is_told_with_its_peer_and_what_came() {
        use std::io::Write;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let client = TcpStream::connect(&address).unwrap();
        let found = socket(&client);
        assert_eq!((found.kind, found.state), ("tcp", "established"));
        assert_eq!((found.peer.as_deref(), found.unread), (Some(address.as_str()), 0));
        assert_eq!(found.tcp.unwrap().received, 0);
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b"seven b").unwrap();
        let found = socket(&client);
        assert_eq!((found.unread, found.tcp.unwrap().received), (7, 7));
        let found = socket(&listener);
        assert_eq!(
            (found.state, found.local.as_deref(), found.peer),
            ("listen", Some(address.as_str()), None)
        );
    }

    #[test]
    fn other_kinds_are_told_as_well() {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let client = TcpStream::connect(&address).unwrap();
        assert_eq!(socket(&client).peer, Some(address));
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.connect("127.0.0.1:53").unwrap();
        let found = socket(&udp);
        assert_eq!((found.kind, found.peer.as_deref()), ("udp", Some("127.0.0.1:53")));
    }

    #[test]
    fn a_unix_socket_is_told_by_the_path_of_its_peer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let client = UnixStream::connect(&path).unwrap();
        let (server, _) = listener.accept().unwrap();
        let found = socket(&client);
        assert_eq!((found.kind, found.state), ("unix", "established"));
        assert_eq!(found.peer, Some(path.display().to_string()));
        assert_eq!(found.peer_inode, Some(inode(&server)));
    }
}
