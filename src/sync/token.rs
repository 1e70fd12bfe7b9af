//! Sync tokens: a place in the stream, and the newest typing notice that was seen.

use std::{fmt, str::FromStr};

use crate::store::StreamPosition;

/// What `next_batch` holds: `s<stream position>_<typing>`.
///
/// The typing part is the time in milliseconds of the newest typing change that the client knows;
/// typing is not in the stream. A token of one process is good for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncToken {
    /// Everything up to here was seen.
    pub position: StreamPosition,
    /// The newest typing change that was seen.
    pub typing: i64,
}

/// A text that is no sync token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a sync token")]
pub struct InvalidToken;

impl fmt::Display for SyncToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}_{}", self.position, self.typing)
    }
}

impl FromStr for SyncToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let numbers = text.strip_prefix('s').ok_or(InvalidToken)?;
        let (position, typing) = numbers.split_once('_').unwrap_or((numbers, "0"));
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<i64>().ok()).flatten()
        };
        Ok(Self {
            position: StreamPosition(number(position).ok_or(InvalidToken)?),
            typing: number(typing).ok_or(InvalidToken)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{InvalidToken, SyncToken};

    #[test]
    fn tokens_are_read_back() {
        for text in ["s0_0", "s12_345", "s9223372036854775807_1"] {
            assert_eq!(text.parse::<SyncToken>().unwrap().to_string(), text);
        }
        assert_eq!("s5".parse::<SyncToken>().unwrap().to_string(), "s5_0");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "s",
            "s-1_0",
            "s1_",
            "t1_1",
            "s1_1_1",
            "s+1_0",
            "s99999999999999999999_0",
        ] {
            assert_eq!(text.parse::<SyncToken>(), Err(InvalidToken), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<SyncToken>();
        }
    }
}
