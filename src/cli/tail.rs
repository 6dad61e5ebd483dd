//! The output file of a run, read without jobd.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use super::error::CliError;
use super::offline::Offline;
use crate::engine::record::RunRecord;
use crate::run::RunFolder;

/// The most that is read at once.
const PIECE: u64 = 64 * 1024;
/// How often a file that is followed is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A reader that stands somewhere in an output file.
pub(crate) struct Tail<'a> {
    offline: &'a Offline<'a>,
    run: RunRecord,
    path: PathBuf,
    offset: u64,
    follow: bool,
}

impl<'a> Tail<'a> {
    pub(crate) fn new(
        offline: &'a Offline<'a>,
        run: RunRecord,
        folder: PathBuf,
        offset: u64,
        follow: bool,
    ) -> Self {
        Self { offline, run, path: RunFolder::at(folder).output_path(), offset, follow }
    }

    /// The next piece and the reader behind it; none at the end of the file, or of the run.
    pub(crate) async fn step(mut self) -> Result<Option<(Vec<u8>, Self)>, CliError> {
        loop {
            // Asked before the read, so that all that was written up to then is read.
            let run = self.offline.present(self.run.clone());
            let over = !self.follow || run.status.is_final();
            let piece = self.read()?;
            if !piece.is_empty() {
                return Ok(Some((piece, self)));
            }
            if over {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn read(&mut self) -> Result<Vec<u8>, CliError> {
        let error = |source| CliError::Read { path: self.path.clone(), source };
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(gone) if gone.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(other) => return Err(error(other)),
        };
        file.seek(SeekFrom::Start(self.offset)).map_err(error)?;
        let mut piece = Vec::new();
        let length = file.take(PIECE).read_to_end(&mut piece).map_err(error)?;
        self.offset += length as u64;
        Ok(piece)
    }
}
