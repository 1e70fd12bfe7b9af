//! The tokens with which clients go on in what was found.
//!
//! `42.10.57` goes on before place 42 of the stream, ten results further, of 57 in all; with `.r5`
//! or `.u5` after it, in one group only: the room or the sender with that number.

use std::{fmt, str::FromStr};

use crate::{
    rooms::NoToken,
    store::{RoomNid, StreamPosition, UserNid},
};

/// One group of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneGroup {
    /// Those of a room.
    Room(RoomNid),
    /// Those of a sender.
    Sender(UserNid),
}

/// Where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchToken {
    /// Before this place of the stream.
    pub before: StreamPosition,
    /// After so many of what is found there.
    pub offset: usize,
    /// How many results there are in all.
    pub count: usize,
    /// In this group.
    pub group: Option<OneGroup>,
}

impl FromStr for SearchToken {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Self, NoToken> {
        let mut parts = text.split('.');
        let mut next = || digits(parts.next().ok_or(NoToken)?);
        let (before, offset, count) = (next()?, next()?, next()?);
        let group = parts.next().map(group_of).transpose()?;
        if parts.next().is_some() {
            return Err(NoToken);
        }
        let size = |number| usize::try_from(number).map_err(|_| NoToken);
        Ok(Self {
            before: StreamPosition(before),
            offset: size(offset)?,
            count: size(count)?,
            group,
        })
    }
}

impl fmt::Display for SearchToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.before, self.offset, self.count)?;
        match self.group {
            None => Ok(()),
            Some(OneGroup::Room(room)) => write!(f, ".r{room}"),
            Some(OneGroup::Sender(user)) => write!(f, ".u{user}"),
        }
    }
}

fn group_of(text: &str) -> Result<OneGroup, NoToken> {
    if let Some(room) = text.strip_prefix('r') {
        return Ok(OneGroup::Room(RoomNid(digits(room)?)));
    }
    let user = text.strip_prefix('u').ok_or(NoToken)?;
    Ok(OneGroup::Sender(UserNid(digits(user)?)))
}

/// Digits only: `i64` would parse signs as well.
fn digits(text: &str) -> Result<i64, NoToken> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NoToken);
    }
    text.parse().map_err(|_| NoToken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_as_they_are_written() {
        for text in ["42.10.57", "0.0.0", "42.0.57.r5", "42.0.57.u9"] {
            let token: SearchToken = text.parse().unwrap();
            assert_eq!(token.to_string(), text);
        }
        let odd = [
            "",
            "42",
            "42.1",
            "-1.0.0",
            "42.1.2.",
            "42.1.2.x1",
            "42.1.2.r",
            "42.1.2.r1.3",
            "99999999999999999999.0.0",
            "é.1.2",
        ];
        for text in odd {
            assert_eq!(text.parse::<SearchToken>(), Err(NoToken), "{text}");
        }
    }
}
