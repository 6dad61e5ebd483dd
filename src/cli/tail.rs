//! The output file of a run, read without jobd.

use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use super::error::CliError;
use super::offline::Offline;
use crate::engine::record::RunRecord;
use crate::output::Follow;
use crate::run::RunFolder;

/// How often a file that is followed is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A reader that stands somewhere in an output file.
pub(crate) struct Tail<'a> {
    offline: &'a Offline<'a>,
    run: RunRecord,
    path: PathBuf,
    offset: u64,
    follow: bool,
    reader: Option<Follow>,
}

impl<'a> Tail<'a> {
    pub(crate) fn new(
        offline: &'a Offline<'a>,
        run: RunRecord,
        folder: PathBuf,
        offset: u64,
        follow: bool,
    ) -> Self {
        Self { offline, run, path: RunFolder::at(folder).output_path(), offset, follow, reader: None }
    }

    /// The next piece and the reader behind it; none at the end of the file, or of the run.
    pub(crate) async fn step(mut self) -> Result<Option<(Vec<u8>, Self)>, CliError> {
        loop {
            // Asked before the read, so that all that was written up to then is read.
            let run = self.offline.present(self.run.clone());
            let over = run.status.is_final();
            let piece = self.read(over)?;
            if !piece.is_empty() {
                return Ok(Some((piece, self)));
            }
            if over || !self.follow {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn read(&mut self, over: bool) -> Result<Vec<u8>, CliError> {
        let error = |source| CliError::Read { path: self.path.clone(), source };
        if self.reader.is_none() {
            match File::open(&self.path) {
                Ok(file) => self.reader = Some(Follow::new(file, self.offset)),
                Err(gone) if gone.kind() == ErrorKind::NotFound => {}
                Err(other) => return Err(error(other)),
            }
        }
        self.reader.as_mut().map_or(Ok(Vec::new()), |reader| reader.next(over).map_err(error))
    }
}
