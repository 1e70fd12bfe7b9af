//! The tokens with which clients name a point of a room's line.
//!
//! `t17` is the point after the event at room position 17: backward from there come 17, 16, …, and
//! forward 18, 19, …; `t0` is before the first event. `s42`, `s42_1700000000000` and
//! `s42_1700000000000_1700000000000` are tokens of a sync, that is a point of the stream, with the
//! times of the newest typing notice and presence, and `p7_42_1700000000000` is a position of
//! sliding sync: they stand for the point after the room's newest event at or before it.

use std::str::FromStr;

use crate::{
    rooms::{Error, Rooms},
    store::{RoomNid, RoomPosition, StreamPosition, stream},
};

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// After an event of the room.
    Room(RoomPosition),
    /// A place in the stream.
    Stream(StreamPosition),
}

/// A text that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoToken;

impl FromStr for Token {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Self, NoToken> {
        if let Some(position) = text.strip_prefix('t') {
            return Ok(Self::Room(RoomPosition(number(position)?)));
        }
        if let Some(sliding) = text.strip_prefix('p') {
            let mut parts = sliding.split('_');
            let mut part = || number(parts.next().ok_or(NoToken)?);
            let (_, position, _) = (part()?, part()?, part()?);
            return match parts.next() {
                None => Ok(Self::Stream(StreamPosition(position))),
                Some(_) => Err(NoToken),
            };
        }
        let sync = text.strip_prefix('s').ok_or(NoToken)?;
        // How far messages to the device were says nothing of rooms.
        let (sync, to_device) = sync.split_once('d').unwrap_or((sync, "0"));
        number(to_device)?;
        let (position, rest) = sync.split_once('_').unwrap_or((sync, "0"));
        let (typing, presence) = rest.split_once('_').unwrap_or((rest, "0"));
        number(typing)?;
        number(presence)?;
        Ok(Self::Stream(StreamPosition(number(position)?)))
    }
}

/// Digits only: `i64` would parse signs as well.
fn number(text: &str) -> Result<i64, NoToken> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NoToken);
    }
    text.parse().map_err(|_| NoToken)
}

/// The token of the point after a position.
pub fn token_after(position: RoomPosition) -> String {
    format!("t{position}")
}

impl Rooms {
    /// The point of a room that a token stands for.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is no token.
    pub(super) async fn resolve(&self, room: RoomNid, token: &str) -> Result<RoomPosition, Error> {
        let parsed = token.parse::<Token>();
        let parsed = parsed.map_err(|NoToken| Error::Invalid("invalid pagination token".into()))?;
        match parsed {
            Token::Room(position) => Ok(position),
            Token::Stream(at) => {
                let mut conn = self.0.store.conn().await?;
                let found = stream::room_positions(&mut conn, &[(room, at)]).await?;
                let found = found.first().map(|(_, position)| *position);
                Ok(found.unwrap_or_default())
            }
        }
    }
}
