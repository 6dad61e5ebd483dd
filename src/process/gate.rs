//! jobd's side of the gate at which a shim waits that was started ahead of its run's instant.
//!
//! It is a socket: the shim says once that it is there, one byte back opens the gate, and the end of the stream, by
//! whatever makes an end of jobd, makes the shim leave without a trace.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use crate::os::Readable;

/// A gate that is closed. Dropping it lets the shim leave.
#[derive(Debug)]
pub struct Gate(Readable);

impl Gate {
    /// A gate, and the end of it that is the shim's.
    ///
    /// # Errors
    /// When we are out of descriptors.
    pub(super) fn new() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok((Self(Readable::new(ours.into())?), theirs.into()))
    }

    /// Waits until the shim is there; `false` if it never will be.
    pub async fn is_reached(&self) -> bool {
        let mut word = [0];
        self.0.read_with(|gate| Ok(rustix::io::read(gate, &mut word)?)).await.is_ok_and(|read| read > 0)
    }

    /// Waits until the shim has left.
    pub async fn left(&self) {
        while self.is_reached().await {}
    }

    /// Opens it: the job starts now, also if the shim is still on its way. `false` if the shim has left, and nothing
    /// is started.
    #[must_use]
    pub fn open(&self) -> bool {
        loop {
            match rustix::io::write(self.0.as_fd(), &[0]).map_err(io::Error::from) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done.is_ok(),
            }
        }
    }
}
