//! Values that no log line and no printout shows, and the files that hold them.
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, fs, os::unix::fs::PermissionsExt};

use super::error::ConfigError;

/// Larger files hold something else.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// Permission to write for the group, and every permission for others.
const TOO_OPEN: u32 = 0o027;

/// A value that is shown as `***`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A value of any origin.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The content of the file that the key `file_key` names; the written value when there is no file.
    pub(super) fn or_file(self, file_key: &str, file: &str) -> Result<Self, ConfigError> {
        if file.is_empty() { Ok(self) } else { Self::read(file_key, file) }
    }

    /// Without the newline at its end.
    fn read(key: &str, path: &str) -> Result<Self, ConfigError> {
        // Without a slash it may be the secret itself, set in the wrong place.
        let shown = if path.contains('/') { path } else { "***" };
        let wrong = |expected: &dyn fmt::Display| ConfigError::value(key, shown, expected);
        let unreadable = |error: std::io::Error| wrong(&format_args!("a file that can be read: {error}"));
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
            return Err(wrong(&"a file with one secret"));
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(wrong(&"a file with a secret: it is empty"));
        }
        if text.contains(char::is_control) {
            return Err(wrong(&"a file with one secret on one line: it has control characters"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Checks that no user but the owner and the group can read the file of a secret, and none but the owner can replace it.
/// A file of certificates is one of a secret when it has the private key too. A file that cannot be read is found elsewhere.
///
/// # Errors
/// The mode of the file, if the end of `key` says that it has a secret.
pub fn check_permissions(key: &str, path: &str) -> Result<(), ConfigError> {
    let ends_with = |ends: &[&str]| ends.iter().any(|end| key.ends_with(end));
    let is_secret = ends_with(&["password_file", "secret_file", "key_file"])
        || ends_with(&["ca_file", "certificate_file"]) && has_private_key(path);
    let mode = if is_secret { fs::metadata(path).ok().filter(fs::Metadata::is_file) } else { None };
    match mode.map(|file| file.permissions().mode() & 0o777) {
        Some(mode) if mode & TOO_OPEN != 0 => {
            let expected = format!(
                "a file that only its owner and group can read: its mode is {mode:04o}; chmod 0640 (in Kubernetes \
                 defaultMode: 0440 and fsGroup)"
            );
            Err(ConfigError::value(key, path, expected))
        }
        _ => Ok(()),
    }
}

fn has_private_key(path: &str) -> bool {
    fs::read(path).is_ok_and(|text| String::from_utf8_lossy(&text).contains("PRIVATE KEY-----"))
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The error of the deserializer would show the value.
        String::deserialize(deserializer).map(Self).map_err(|_| D::Error::custom("expected a text in quotes"))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"***\"" })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { "***" })
    }
}
