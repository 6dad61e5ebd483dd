//! The bytes of a run's output file as a stream, to its present end or to the run's.

use std::io::{self, SeekFrom};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::stream::{Stream, try_unfold};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::supervisor::Api;
use super::types::State;
use crate::engine::run::RunId;
use crate::run::RunFolder;

/// The most that is read at once.
const PIECE: usize = 64 * 1024;
/// How often a file is looked at again, only while somebody follows it.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

struct Follower {
    api: Api,
    run: RunId,
    offset: u64,
    follow: bool,
    file: Option<File>,
    over: bool,
}

/// The output of a run from `offset` on. A file that is not there yet, or never will be, is an empty one. Followed, it
/// ends well only when the run is over: whoever sees it break off knows that there may be more.
pub(super) fn output(
    mut api: Api,
    run: RunId,
    offset: u64,
    follow: bool,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    // The row is looked at once in any case, whether or not a commit comes.
    api.commits.mark_changed();
    let over = !follow;
    let follower = Follower { api, run, offset, follow, file: None, over };
    try_unfold(
        follower,
        |mut follower| async move { Ok(follower.next().await?.map(|bytes| (bytes, follower))) },
    )
}

impl Follower {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            // Whether the run is over is asked before the read: what was written up to then is read after it.
            if self.follow && !self.over {
                self.over = self.run_is_over().await?;
            }
            let bytes = self.read().await?;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
            if self.over {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn read(&mut self) -> io::Result<Bytes> {
        if self.file.is_none() {
            self.file = self.open().await?;
        }
        let Some(file) = &mut self.file else { return Ok(Bytes::new()) };
        let mut piece = Vec::with_capacity(PIECE);
        file.read_buf(&mut piece).await?;
        Ok(piece.into())
    }

    async fn open(&self) -> io::Result<Option<File>> {
        let Some(folder) = self.api.records.folder(self.run) else { return Ok(None) };
        match File::open(RunFolder::at(folder).output_path()).await {
            Ok(mut file) => {
                file.seek(SeekFrom::Start(self.offset)).await?;
                Ok(Some(file))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks the store only when it has committed something since.
    async fn run_is_over(&mut self) -> io::Result<bool> {
        if self.api.facts.borrow().state == State::Stopping {
            return Err(io::Error::other("jobd is stopping"));
        }
        if !self.api.commits.has_changed().map_err(io::Error::other)? {
            return Ok(false);
        }
        self.api.commits.borrow_and_update();
        let run = self.api.records.run(self.run).await.map_err(io::Error::other)?;
        Ok(run.is_none_or(|run| run.status.is_final()))
    }
}
