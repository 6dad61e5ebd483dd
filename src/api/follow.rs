//! The records of a run's output file as a stream, to its present end or to the run's.

use std::fs::File;
use std::io;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::stream::{Stream, try_unfold};
use tokio::task::spawn_blocking;

use super::supervisor::Api;
use crate::engine::run::RunId;
use crate::output::Follow;
use crate::run::RunFolder;

/// How often a file is looked at again, only while somebody follows it.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

struct Follower {
    api: Api,
    run: RunId,
    offset: u64,
    follow: bool,
    reader: Option<Follow>,
    over: bool,
}

/// The output of a run from `offset` on, where a record begins; what its limit has left out is passed over, with the
/// note about it. A file that is not there yet, or never will be, is an empty one. Followed, it ends well only when the
/// run is over: whoever sees it break off knows that there may be more.
pub(super) fn output(
    mut api: Api,
    run: RunId,
    offset: u64,
    follow: bool,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    // The row is looked at once in any case, whether or not a commit comes.
    api.commits.mark_changed();
    let follower = Follower { api, run, offset, follow, reader: None, over: false };
    try_unfold(
        follower,
        |mut follower| async move { Ok(follower.next().await?.map(|bytes| (bytes, follower))) },
    )
}

impl Follower {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            // Whether the run is over is asked before the read: what was written up to then is read after it.
            if !self.over {
                let answer = self.run_is_over().await;
                self.over = if self.follow { answer? } else { answer.unwrap_or(false) };
            }
            let bytes = self.read().await?;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
            if self.over || !self.follow {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn read(&mut self) -> io::Result<Bytes> {
        let Some(mut reader) = self.reader.take().map_or_else(|| self.open(), |reader| Ok(Some(reader)))?
        else {
            return Ok(Bytes::new());
        };
        let over = self.over;
        let read = spawn_blocking(move || reader.next(over).map(|piece| (piece, reader)));
        let (piece, reader) = read.await.map_err(io::Error::other)??;
        self.reader = Some(reader);
        Ok(piece.into())
    }

    fn open(&self) -> io::Result<Option<Follow>> {
        let Some(folder) = self.api.records.folder(self.run) else { return Ok(None) };
        match File::open(RunFolder::at(folder).output_path()) {
            Ok(file) => Ok(Some(Follow::new(file, self.offset))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks the store only when it has committed something since.
    async fn run_is_over(&mut self) -> io::Result<bool> {
        let state = self.api.facts.borrow().state;
        if state.is_leaving() {
            return Err(io::Error::other(format!("jobd is {}", state.as_str())));
        }
        if !self.api.commits.has_changed().map_err(io::Error::other)? {
            return Ok(false);
        }
        self.api.commits.borrow_and_update();
        let run = self.api.records.run(self.run).await.map_err(io::Error::other)?;
        Ok(run.is_none_or(|run| run.status.is_final()))
    }
}
