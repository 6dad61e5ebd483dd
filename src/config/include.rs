//! The files that an `include` names.

use std::io;
use std::path::{Path, PathBuf};

use super::diagnostic::{quoted, shown};

/// Why an include names no files.
#[derive(Debug, thiserror::Error)]
pub(super) enum IncludeError {
    #[error("the include is empty")]
    Empty,
    #[error("include {}: only the last part of a path may hold * or ?", quoted(.0))]
    Folder(String),
    #[error("{} can't be listed: {source}", shown(folder))]
    Unreadable { folder: PathBuf, source: io::Error },
}

impl IncludeError {
    /// What would be right.
    pub(super) fn help(&self) -> &'static str {
        match self {
            Self::Empty | Self::Folder(_) => "for example: include = [\"conf.d/*.toml\"]",
            Self::Unreadable { .. } => "let jobd read the folder, or leave the include out",
        }
    }
}

/// The files a pattern names, relative to the folder of the including file, in the order of their names. Names that
/// begin with a dot are taken only by a pattern that does; a pattern may match nothing.
pub(super) fn expand(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, IncludeError> {
    let path = join(folder, pattern);
    let (above, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    if name.is_empty() {
        return Err(IncludeError::Empty);
    }
    if above.contains(['*', '?']) {
        return Err(IncludeError::Folder(pattern.to_owned()));
    }
    if !name.contains(['*', '?']) {
        return Ok(vec![path]);
    }
    let folder = super::file::folder(&path);
    let unreadable = |source| IncludeError::Unreadable { folder: folder.clone(), source };
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let found = entry.map_err(unreadable)?.file_name();
        if let Some(text) = found.to_str()
            && (name.starts_with('.') || !text.starts_with('.'))
            && matches(name, text)
        {
            names.push(text.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names.into_iter().map(|name| path.with_file_name(name)).collect())
}

/// Joins without a `./` ahead, so that reports name files as people do.
fn join(folder: &Path, pattern: &str) -> PathBuf {
    if folder == Path::new(".") { PathBuf::from(pattern) } else { folder.join(pattern) }
}

/// Whether a name fits a pattern: `*` is any run of characters, `?` is one. In time by the product of the lengths:
/// only the last `*` is ever tried again.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((star_p, star_n)) = star else { return false };
                star = Some((star_p, star_n + 1));
                p = star_p + 1;
                n = star_n + 1;
            }
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name) in [
            ("*.toml", "a.toml"),
            ("*", "x"),
            ("a?c", "a나c"),
            ("*a*b*", "xxaxxbxx"),
            ("**x", "x"),
            ("a*", "a"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.toml", "a.toml~"), ("?", ""), ("a?c", "ac"), ("*ab", "aba"), ("a", "ab")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        assert!(!matches(&"*a".repeat(2000), &"a".repeat(1999)));
    }
}
