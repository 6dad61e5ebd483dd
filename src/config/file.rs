//! Opens files that may be anything, and reads only what a configuration may be.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::diagnostic::shown;

/// The largest configuration file.
pub(super) const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The largest secret.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Why a file is not taken as configuration.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("{} cannot be read: {source}", shown(path))]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is {kind}, not a regular file", shown(path))]
    NotRegular { path: PathBuf, kind: &'static str },
    #[error("{} is {}; a configuration is at most 1 MiB", shown(path), size(*bytes))]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("{} is no text: byte {} is not UTF-8", shown(path), before.len())]
    NotText { path: PathBuf, before: String },
    #[error("{} {fault}; jobd as root takes its configuration from root alone", shown(path))]
    Untrusted { path: PathBuf, fault: Fault },
}

impl FileError {
    /// What to do about it.
    pub(super) fn help(&self) -> Option<String> {
        match self {
            Self::Untrusted { path, fault } => Some(fault.remedy(path)),
            Self::NotText { .. } => Some("save the file as UTF-8".to_owned()),
            Self::Unreadable { .. } | Self::NotRegular { .. } | Self::TooLarge { .. } => None,
        }
    }
}

/// What lets others than root change a file or a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("belongs to user {0}")]
    Owner(u32),
    #[error("can be written by others (mode {0:04o})")]
    Mode(u32),
}

impl Fault {
    fn remedy(self, path: &Path) -> String {
        match self {
            Self::Owner(_) => format!("chown root {}", shown(path)),
            Self::Mode(_) => format!("chmod go-w {}", shown(path)),
        }
    }
}

/// Whether anyone but root could change what has this owner and mode. The sticky bit is no excuse: in such a
/// folder anyone may still put a file in place before root does.
pub(super) fn fault(uid: u32, mode: u32) -> Option<Fault> {
    if uid != 0 {
        Some(Fault::Owner(uid))
    } else if mode & 0o022 != 0 {
        Some(Fault::Mode(mode & 0o7777))
    } else {
        None
    }
}

/// A file's text, and what tells it from every other file.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) text: String,
    /// Device and inode.
    pub(super) identity: (u64, u64),
}

/// Reads a configuration file; with `trust`, only if nobody but root can change it.
pub(super) fn read(path: &Path, trust: bool) -> Result<Text, FileError> {
    let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
    let file = open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular { path: path.to_owned(), kind: kind(&metadata) });
    }
    if trust {
        check_trust(path, &metadata)?;
    }
    let too_large = |bytes| FileError::TooLarge { path: path.to_owned(), bytes };
    if metadata.len() > FILE_BYTES_MAX {
        return Err(too_large(metadata.len()));
    }
    let bytes = read_at_most(file, FILE_BYTES_MAX).map_err(unreadable)?;
    let length = bytes.len() as u64;
    if length > FILE_BYTES_MAX {
        return Err(too_large(length));
    }
    let text = String::from_utf8(bytes).map_err(|error| not_text(path, &error))?;
    Ok(Text { text, identity: (metadata.dev(), metadata.ino()) })
}

/// Reads the file of a secret.
pub(super) fn read_secret(path: &Path) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other(format!("it is {}, not a regular file", kind(&metadata))));
    }
    let bytes = read_at_most(file, SECRET_BYTES_MAX)?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(io::Error::other("it is larger than 64 KiB"));
    }
    Ok(bytes)
}

/// Opens without waiting for a writer of a FIFO, and without taking a terminal.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

/// Reads one byte more than allowed, so that a file which grew is noticed.
fn read_at_most(file: File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Checks the open file, its folder, and the folder it really lies in when the path is a symbolic link.
fn check_trust(path: &Path, metadata: &Metadata) -> Result<(), FileError> {
    let refuse = |path: &Path, metadata: &Metadata| match fault(metadata.uid(), metadata.mode()) {
        Some(fault) => Err(FileError::Untrusted { path: path.to_owned(), fault }),
        None => Ok(()),
    };
    refuse(path, metadata)?;
    let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
    let real = path.canonicalize().map_err(unreadable)?;
    for folder in [folder(path), folder(&real)] {
        let metadata = std::fs::metadata(&folder)
            .map_err(|source| FileError::Unreadable { path: folder.clone(), source })?;
        refuse(&folder, &metadata)?;
    }
    Ok(())
}

/// The folder a file lies in.
pub(super) fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A file named in another, relative to its folder; without a `./` ahead, so that reports name files as people do.
pub(super) fn beside(path: &Path, name: &str) -> PathBuf {
    let folder = folder(path);
    if folder == Path::new(".") { PathBuf::from(name) } else { folder.join(name) }
}

fn not_text(path: &Path, error: &std::string::FromUtf8Error) -> FileError {
    let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    FileError::NotText { path: path.to_owned(), before: String::from_utf8_lossy(valid).into_owned() }
}

fn kind(metadata: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// A size as people say it.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000_000 => format!("{} kB", bytes / 1000),
        10_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, fault, size};

    #[test]
    fn root_trusts_only_what_root_alone_can_change() {
        for mode in [0o100_644, 0o100_600, 0o100_400, 0o40_755, 0o40_700] {
            assert_eq!(fault(0, mode), None, "{mode:o}");
        }
        assert_eq!(fault(0, 0o100_664), Some(Fault::Mode(0o664)));
        assert_eq!(fault(0, 0o100_646), Some(Fault::Mode(0o646)));
        assert_eq!(fault(0, 0o41_777), Some(Fault::Mode(0o1777)));
        assert_eq!(fault(1000, 0o100_600), Some(Fault::Owner(1000)));
    }

    #[test]
    fn sizes_are_said_as_people_say_them() {
        assert_eq!(size(1_048_577), "1048 kB");
        assert_eq!(size(100_000_000), "100 MB");
    }
}
