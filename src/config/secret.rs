//! Secrets: given inline or in a file of their own, wiped from memory, never shown.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::Problem;

/// What stands in for a secret wherever it would be shown.
const HIDDEN: &str = "***";

/// The part of an error message that says why no value is quoted in it.
pub(super) const NOT_SHOWN: &str = "the value is not shown here";

/// A text that must not be seen: it has no `Display`, and `Debug` and `Serialize` give `***`.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Keeps `text` as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret itself, for the one place that uses it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The errors of `String` quote what they found, which may be the secret without quotes.
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => Ok(Self::new(text)),
            _ => Err(Error::custom(format_args!(
                "expected a text in quotes; {NOT_SHOWN}"
            ))),
        }
    }
}

/// A secret and the file that may hold it, with the keys of both.
pub(super) struct Source<'a> {
    pub(super) key: &'static str,
    pub(super) file_key: &'static str,
    pub(super) inline: &'a mut Option<Secret>,
    pub(super) file: &'a Option<PathBuf>,
}

impl Source<'_> {
    /// Reads the file, if one is named, into the place of the inline secret.
    pub(super) fn resolve(self) -> Result<(), Problem> {
        let Some(file) = self.file else { return Ok(()) };
        let problem = |message: String| Problem::new(self.file_key, message);
        if self.inline.is_some() {
            return Err(problem(format!(
                "contradicts `{}`: give one of the two",
                self.key
            )));
        }
        let secret = read(file).map_err(|error| problem(format!("{}: {error}", file.display())))?;
        *self.inline = Some(secret);
        Ok(())
    }
}

/// Why a secret file was refused.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("anybody on this machine may read it (mode {0:04o}); run `chmod o-rwx` on it")]
    Exposed(u32),
    #[error("is empty")]
    Empty,
}

/// Reads a secret file, without the line end that editors add.
fn read(path: &Path) -> Result<Secret, ReadError> {
    check_mode(path)?;
    let text = Zeroizing::new(fs::read_to_string(path)?);
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(ReadError::Empty),
        secret => Ok(Secret::new(secret)),
    }
}

#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), ReadError> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
    let for_others = mode & 0o007;
    if for_others == 0 {
        Ok(())
    } else {
        Err(ReadError::Exposed(mode))
    }
}

#[cfg(not(unix))]
fn check_mode(_path: &Path) -> Result<(), ReadError> {
    Ok(())
}
