//! The names of media, and of their objects.
//!
//! Specification v1.19, client-server API, "Matrix Content (mxc://) URIs" and "Security
//! considerations": an id is never a path.

use ruma::ServerName;

use super::Error;
use crate::random::Random;

/// How long the ids are that this server gives out.
const LENGTH: usize = 32;
/// The longest id that is looked for.
const MAX_LENGTH: usize = 255;

/// The two parts of an mxc: URI, if they are such.
///
/// # Errors
/// [`Error::Invalid`].
pub(super) fn check(server_name: &str, media_id: &str) -> Result<(), Error> {
    if ServerName::parse(server_name).is_err() {
        return Err(Error::Invalid("not a server name"));
    }
    if !is_media_id(media_id) {
        return Err(Error::Invalid("not a media id"));
    }
    Ok(())
}

/// Whether a text can be a media id.
pub(super) fn is_media_id(text: &str) -> bool {
    let is_usable = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (1..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(is_usable)
}

/// A new id: 190 bits of chance.
pub(super) fn new(random: &Random) -> String {
    random.alphanumeric(LENGTH)
}

/// The name of a new object. It says nothing of what is in it.
pub(super) fn object_key(random: &Random) -> String {
    let name = hex(&random.bytes::<16>());
    let folder: String = name.chars().take(2).collect();
    format!("{folder}/{name}")
}

/// Bytes as letters and digits.
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// The server and the media id of an mxc: URI.
pub fn split(uri: &str) -> Option<(&str, &str)> {
    let (server_name, media_id) = uri.strip_prefix("mxc://")?.split_once('/')?;
    check(server_name, media_id).ok()?;
    Some((server_name, media_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_letters_digits_dashes_and_underscores() {
        let cases = [
            ("example.org", "abcXYZ_-09", true),
            ("example.org:8448", "a", true),
            ("[::1]", "a", true),
            ("example.org", "", false),
            ("example.org", "..", false),
            ("example.org", "a/b", false),
            ("example.org", "a%2fb", false),
            ("example.org", "a\0", false),
            ("example.org", "é", false),
            ("", "a", false),
            // A name by its grammar, and never a path.
            ("..", "a", true),
            ("exa/mple.org", "a", false),
            ("example.org", &"a".repeat(255), true),
            ("example.org", &"a".repeat(256), false),
        ];
        for (server_name, media_id, expected) in cases {
            let found = check(server_name, media_id).is_ok();
            assert_eq!(found, expected, "{server_name} {media_id}");
        }
        assert_eq!(split("mxc://a.org/b"), Some(("a.org", "b")));
        for wrong in [
            "",
            "mxc://",
            "mxc://a.org",
            "mxc://a.org/",
            "http://a.org/b",
            "mxc://a.org/b/c",
        ] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn objects_are_spread_over_folders() {
        let key = object_key(&Random::seeded(1));
        assert_eq!(key.len(), 35);
        assert_eq!(key.get(..2), key.get(3..5));
    }
}
