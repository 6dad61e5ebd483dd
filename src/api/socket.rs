//! The Unix socket: how it comes to be, who is let in, and for how long without a word.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

use super::peers::{Access, Peer};

/// Connections open at once. Each costs a descriptor and a few KiB; a person needs one.
pub const CONNECTIONS_MAX: usize = 64;
/// From connecting to the first byte of an answer. A little more than the longest wait of
/// [`super::server::WAIT_MAX`], so it ends only those who never finish their request.
const SILENCE_MAX: Duration = Duration::from_secs(65);
/// How long accepting rests when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Owner and group may connect.
const MODE: u32 = 0o660;
/// What a connection above the limit gets.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n\
Content-Length: 105\r\n\r\n{\"error\":\"jobd has too many open connections\",\"help\":\"try again in a moment\",\
\"code\":\"unavailable\"}       ";

/// Why the socket can't be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A jobd is there already.
    #[error(
        "a jobd is already listening on {0}: stop it (systemctl stop jobd), or give this one another --socket"
    )]
    InUse(PathBuf),
    /// Something else has the name.
    #[error("{0} exists and is not a socket: move it away, or give another --socket")]
    NotASocket(PathBuf),
    /// The operating system refuses.
    #[error("can't listen on {path}")]
    Os {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The listening socket with its limits; takes the place of axum's own listener.
#[derive(Debug)]
pub struct Socket {
    inner: UnixListener,
    access: Access,
    free: Arc<Semaphore>,
    /// Whether the last connection could not be accepted, which is told once.
    is_short: bool,
}

impl Socket {
    /// Listens on `path`, readable and writable for owner and group. A socket file that nobody listens on is replaced.
    ///
    /// # Errors
    /// When somebody listens there, something else is there, or the operating system refuses.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let os = |source| BindError::Os { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(os)?;
        }
        make_room(path)?;
        // Under another name until its mode is right, so that nobody connects before; the rename also takes the
        // place of a socket that was left behind.
        let mut fresh = path.as_os_str().to_owned();
        fresh.push("~");
        let fresh = PathBuf::from(fresh);
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(os(error)),
            _ => {}
        }
        let inner = UnixListener::bind(&fresh).map_err(os)?;
        std::fs::set_permissions(&fresh, Permissions::from_mode(MODE)).map_err(os)?;
        let meta = std::fs::metadata(&fresh).map_err(os)?;
        std::fs::rename(&fresh, path).map_err(os)?;
        let access = Access { owner: nix::unistd::geteuid().as_raw(), group: meta.gid() };
        Ok(Self { inner, access, free: Arc::new(Semaphore::new(CONNECTIONS_MAX)), is_short: false })
    }

    /// Who may steer through it.
    #[must_use]
    pub const fn access(&self) -> Access {
        self.access
    }
}

/// Sees to it that a socket may be put at `path`: nothing is there, or a socket that nobody listens on.
fn make_room(path: &Path) -> Result<(), BindError> {
    let os = |source| BindError::Os { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(os(error)),
        Ok(meta) if !meta.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(BindError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(os(error)),
    }
}

impl axum::serve::Listener for Socket {
    type Io = Connection;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let stream = match self.inner.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    if !self.is_short {
                        tracing::warn!(%error, "can't accept connections for now");
                    }
                    self.is_short = true;
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            self.is_short = false;
            let Ok(credentials) = stream.peer_cred() else { continue };
            let peer = Peer { uid: credentials.uid(), gid: credentials.gid() };
            match Arc::clone(&self.free).try_acquire_owned() {
                Ok(slot) => return (Connection::new(stream, slot), peer),
                // The answer fits the socket's buffer; a peer that is gone needs none.
                Err(_) => drop(stream.try_write(BUSY)),
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(Peer { uid: self.access.owner, gid: self.access.group })
    }
}

impl Connected<IncomingStream<'_, Socket>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Socket>) -> Self {
        *stream.remote_addr()
    }
}

/// One connection: it holds a slot, and is cut off when its request is not there in time to be answered.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    silence: Option<Pin<Box<Sleep>>>,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: UnixStream, slot: OwnedSemaphorePermit) -> Self {
        Self { stream, silence: Some(Box::pin(sleep(SILENCE_MAX))), _slot: slot }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            return Poll::Ready(read);
        }
        let silent_for_too_long =
            self.silence.as_mut().is_some_and(|limit| limit.as_mut().poll(context).is_ready());
        if silent_for_too_long { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.silence = None;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.silence = None;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_answer_says_its_true_length() {
        let text = std::str::from_utf8(BUSY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
        serde_json::from_str::<super::super::types::ErrorBody>(body).unwrap();
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobd.sock");
        let first = Socket::bind(&path).unwrap();
        assert!(matches!(Socket::bind(&path), Err(BindError::InUse(_))));
        drop(first);
        assert!(path.exists(), "the file stays behind, as after kill -9");
        let _second = Socket::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.txt");
        std::fs::write(&path, "keep me").unwrap();
        let error = Socket::bind(&path).unwrap_err();
        assert!(error.to_string().contains("is not a socket"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"keep me");
    }
}
