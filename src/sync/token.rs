//! Sync tokens: a place in the stream, the newest typing notice and presence that were seen, and how
//! far messages to the device were.

use std::{fmt, str::FromStr};

use crate::store::StreamPosition;

/// What `next_batch` holds: `s<stream position>_<typing>_<presence>`, and `d<to-device position>` where
/// not all messages to the device were in the answer.
///
/// The last two parts are the times in milliseconds of the newest changes that the client knows;
/// typing and presence are not in the stream. The last one is left out where it is 0. A token of one
/// process is good for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncToken {
    /// Everything up to here was seen.
    pub position: StreamPosition,
    /// The newest typing change that was seen.
    pub typing: i64,
    /// The newest change of who is there that was seen.
    pub presence: i64,
    /// Messages to the device up to here were seen; never after `position`.
    pub to_device: StreamPosition,
}

impl SyncToken {
    /// The token of a place in the stream, for whom typing and presence are of no interest.
    pub fn at(position: StreamPosition) -> Self {
        Self {
            position,
            to_device: position,
            ..Self::default()
        }
    }
}

/// A text that is no sync token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a sync token")]
pub struct InvalidToken;

impl fmt::Display for SyncToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}_{}", self.position, self.typing)?;
        if self.presence > 0 {
            write!(f, "_{}", self.presence)?;
        }
        if self.to_device != self.position {
            write!(f, "d{}", self.to_device)?;
        }
        Ok(())
    }
}

impl FromStr for SyncToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let numbers = text.strip_prefix('s').ok_or(InvalidToken)?;
        let (numbers, to_device) = match numbers.split_once('d') {
            Some((numbers, to_device)) => (numbers, Some(to_device)),
            None => (numbers, None),
        };
        let (position, rest) = numbers.split_once('_').unwrap_or((numbers, "0"));
        let (typing, presence) = rest.split_once('_').unwrap_or((rest, "0"));
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<i64>().ok()).flatten()
        };
        let position = number(position).ok_or(InvalidToken)?;
        let to_device = match to_device {
            Some(text) => number(text).ok_or(InvalidToken)?,
            None => position,
        };
        Ok(Self {
            position: StreamPosition(position),
            typing: number(typing).ok_or(InvalidToken)?,
            presence: number(presence).ok_or(InvalidToken)?,
            to_device: StreamPosition(to_device.min(position)),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{InvalidToken, SyncToken};

    #[test]
    fn tokens_are_read_back() {
        for text in [
            "s0_0",
            "s12_345",
            "s12_345_67",
            "s9223372036854775807_1",
            "s12_345d7",
            "s12_345_67d7",
        ] {
            assert_eq!(text.parse::<SyncToken>().unwrap().to_string(), text);
        }
        assert_eq!("s5_1_0".parse::<SyncToken>().unwrap().to_string(), "s5_1");
        assert_eq!("s5".parse::<SyncToken>().unwrap().to_string(), "s5_0");
        // Nobody has seen messages that come after what they have seen.
        assert_eq!("s5_0d9".parse::<SyncToken>().unwrap().to_string(), "s5_0");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "s",
            "s-1_0",
            "s1_",
            "t1_1",
            "s1_1_",
            "s1_1d",
            "d1",
            "s1d1d1",
            "s1_1_1_1",
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
