//! Secrets: named in the configuration, read only when they are needed, shown never.
//!
//! **Invariant:** [`SecretText`] has no `Debug`, `Display` or `Serialize`, and no error carries any of it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::file;

/// Where a secret comes from.
#[derive(Clone)]
pub enum Secret {
    /// It stands in the configuration itself.
    Text(SecretText),
    /// An environment variable of the process that reads it.
    Env(String),
    /// The text of a file, without the white space around it.
    File(PathBuf),
}

/// The secret itself.
#[derive(Clone)]
pub struct SecretText(String);

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment variable is not set.
    #[error("environment variable {0} is not set")]
    NoVariable(String),
    /// There is nothing in it.
    #[error("{0} is empty")]
    Empty(String),
    /// It is no UTF-8 text.
    #[error("{0} is not UTF-8 text")]
    NotText(String),
    /// The file cannot be read.
    #[error("{path} cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Secret {
    /// Reads it now; a changed variable or file is seen at the next call.
    ///
    /// # Errors
    /// When its source is missing, unreadable, empty or no text.
    pub fn read(&self) -> Result<SecretText, SecretError> {
        let (text, name) = match self {
            Self::Text(text) => return Ok(text.clone()),
            Self::Env(name) => {
                let shown = format!("environment variable {name}");
                let value = std::env::var_os(name).ok_or_else(|| SecretError::NoVariable(name.clone()))?;
                (value.into_string().map_err(|_| SecretError::NotText(shown.clone()))?, shown)
            }
            Self::File(path) => {
                let shown = path.display().to_string();
                let failed = |source| SecretError::File { path: path.clone(), source };
                let bytes = file::read_secret(path).map_err(failed)?;
                (String::from_utf8(bytes).map_err(|_| SecretError::NotText(shown.clone()))?, shown)
            }
        };
        let trimmed = text.trim();
        if trimmed.is_empty() { Err(SecretError::Empty(name)) } else { Ok(SecretText(trimmed.to_owned())) }
    }
}

/// Names the source, never the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl SecretText {
    /// Makes a secret of a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret, for the one call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}
