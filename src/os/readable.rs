//! Descriptors that the async runtime watches.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that the async runtime watches.
#[derive(Debug)]
pub struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Hands a descriptor over to the runtime.
    ///
    /// # Errors
    /// When it is of a kind that cannot be watched, or we are out of memory.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: the `AsyncFd` owns the descriptor, so it stays open and the same for as long as it is watched.
        #[expect(unsafe_code, reason = "tokio has no safe way to register an owned descriptor")]
        let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        Ok(Self(watched.map_err(io::Error::from)?))
    }

    /// Waits until it is readable.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub async fn wait(&self) -> io::Result<()> {
        self.0.readable().await.map(|mut guard| guard.retain_ready())
    }

    /// Waits until `read` has something, and returns it. `read` must answer `WouldBlock` when there is nothing.
    ///
    /// # Errors
    /// What `read` answers.
    pub async fn read_with<T>(&self, mut read: impl FnMut(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        self.0.async_io(Interest::READABLE, |fd| read(fd.as_fd())).await
    }
}

impl AsFd for Readable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
