//! What a client knows of its rooms, and the positions that name it.
//!
//! A position is a place in the stream and the number of a snapshot. A snapshot says which rooms
//! the client was told of, and in which detail; those that it does not call behind were told up to
//! the place in the stream. So most answers change the place only, and write nothing: a snapshot
//! is written when a room comes in, changes its detail, or has news while it is out of sight.
//! Snapshots never change. An answer that was lost is asked for again with the same position, and
//! so with the same snapshot. Each process finds them in the database.

use std::{fmt, str::FromStr, sync::Arc};

use imbl::HashMap;
use moka::sync::Cache;
use serde::{Deserialize, Serialize};

use super::required::Required;
use crate::{
    store::{DeviceNid, RoomNid, StreamPosition},
    sync::SyncToken,
};

/// How much memory the snapshots take, in bytes.
const MEMORY: u64 = 32 << 20;

/// What one connection of a client knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub(super) id: i64,
    pub(super) device: DeviceNid,
    pub(super) conn_id: String,
    /// Whether global account data was told.
    pub(super) account_data: bool,
    pub(super) rooms: HashMap<RoomNid, Sent>,
}

/// What it knows of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// As what the room was told.
    pub(super) kind: Kind,
    /// The place in the stream up to which it was told, if that is not the position's.
    pub(super) behind: Option<StreamPosition>,
    /// How many of the newest events it has, if there are as many.
    pub(super) limit: u32,
    /// The state that it has.
    pub(super) required: Arc<Required>,
    /// Whether it was called a direct chat.
    pub(super) is_direct: bool,
    /// Whether the account data of the room was told.
    pub(super) account_data: bool,
    /// Whether the receipts of the room were told.
    pub(super) receipts: bool,
}

/// As what a room is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// By its stripped state.
    Stripped,
    /// As one that the user is in.
    Joined,
    /// As one that the user was in.
    Left,
}

/// A snapshot as the database has it.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "a")]
    account_data: bool,
    /// Each kind of required state once.
    #[serde(rename = "s")]
    required: Vec<Arc<Required>>,
    #[serde(rename = "r")]
    rooms: Vec<StoredRoom>,
}

/// Room, flags, behind or 0, limit, and which of the required states.
type StoredRoom = (i64, u8, i64, u32, usize);

const LEFT: u8 = 1;
const STRIPPED: u8 = 2;
const DIRECT: u8 = 4;
const ACCOUNT_DATA: u8 = 8;
const RECEIPTS: u8 = 16;

/// The snapshots in memory.
pub(in crate::sync) fn memory() -> Cache<i64, Arc<Snapshot>> {
    Cache::builder()
        .max_capacity(MEMORY)
        .weigher(|_, snapshot: &Arc<Snapshot>| {
            u32::try_from(512 + snapshot.rooms.len() * 128).unwrap_or(u32::MAX)
        })
        .build()
}

impl Snapshot {
    /// One that knows nothing.
    pub(super) fn new(device: DeviceNid, conn_id: &str) -> Self {
        Self {
            id: 0,
            device,
            conn_id: conn_id.to_owned(),
            account_data: false,
            rooms: HashMap::new(),
        }
    }

    /// Whether both say the same.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.account_data == other.account_data && self.rooms == other.rooms
    }

    /// As it is stored.
    pub(super) fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut required: Vec<Arc<Required>> = Vec::new();
        let mut numbers = std::collections::HashMap::new();
        let mut rooms = Vec::with_capacity(self.rooms.len());
        for (room, sent) in &self.rooms {
            let number = *numbers
                .entry(Arc::clone(&sent.required))
                .or_insert_with(|| {
                    required.push(Arc::clone(&sent.required));
                    required.len() - 1
                });
            let kind = match sent.kind {
                Kind::Joined => 0,
                Kind::Left => LEFT,
                Kind::Stripped => STRIPPED,
            };
            let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
            let flags = kind
                | flag(sent.is_direct, DIRECT)
                | flag(sent.account_data, ACCOUNT_DATA)
                | flag(sent.receipts, RECEIPTS);
            let behind = sent.behind.map_or(0, |behind| behind.0);
            rooms.push((room.0, flags, behind, sent.limit, number));
        }
        serde_json::to_string(&Stored {
            account_data: self.account_data,
            required,
            rooms,
        })
    }

    /// What was stored.
    pub(super) fn from_json(
        id: i64,
        device: DeviceNid,
        conn_id: String,
        json: &str,
    ) -> Result<Self, serde_json::Error> {
        let stored: Stored = serde_json::from_str(json)?;
        let rooms = stored.rooms.into_iter().filter_map(|room| {
            let (room, flags, behind, limit, number) = room;
            let has = |flag: u8| flags & flag != 0;
            let sent = Sent {
                kind: if has(LEFT) {
                    Kind::Left
                } else if has(STRIPPED) {
                    Kind::Stripped
                } else {
                    Kind::Joined
                },
                behind: (behind > 0).then_some(StreamPosition(behind)),
                limit,
                required: Arc::clone(stored.required.get(number)?),
                is_direct: has(DIRECT),
                account_data: has(ACCOUNT_DATA),
                receipts: has(RECEIPTS),
            };
            Some((RoomNid(room), sent))
        });
        Ok(Self {
            id,
            device,
            conn_id,
            account_data: stored.account_data,
            rooms: rooms.collect(),
        })
    }
}

/// What `pos` holds: `p<snapshot>_<place in the stream>_<typing>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The snapshot.
    pub snapshot: i64,
    /// The place in the stream, and the newest typing notice that was seen.
    pub token: SyncToken,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SyncToken {
            position, typing, ..
        } = self.token;
        write!(f, "p{}_{position}_{typing}", self.snapshot)
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let mut parts = text.strip_prefix('p').ok_or(InvalidPosition)?.split('_');
        let mut number = || {
            let part = parts.next().ok_or(InvalidPosition)?;
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.then(|| part.parse::<i64>().ok()).flatten();
            number.ok_or(InvalidPosition)
        };
        let snapshot = number()?;
        let position = SyncToken::at(StreamPosition(number()?));
        let position = Self {
            snapshot,
            token: SyncToken {
                typing: number()?,
                ..position
            },
        };
        match parts.next() {
            None => Ok(position),
            Some(_) => Err(InvalidPosition),
        }
    }
}

/// A text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position")]
pub struct InvalidPosition;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use ruma::user_id;

    use super::{InvalidPosition, Kind, Position, Sent, Snapshot};
    use crate::{
        store::{DeviceNid, RoomNid, StreamPosition},
        sync::sliding::required::Required,
    };

    #[test]
    fn positions_are_read_back() {
        for text in ["p0_0_0", "p17_12_345", "p9223372036854775807_1_1"] {
            assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "", "p", "p1", "p1_2", "p1_2_3_4", "p-1_2_3", "s1_2_3", "p1__3", "p1_2_",
        ] {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<Position>();
        }
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let mut snapshot = Snapshot::new(DeviceNid(3), "room-list");
        snapshot.id = 7;
        snapshot.account_data = true;
        let pairs = vec![("m.room.name".to_owned(), String::new())];
        let required = [
            Required::default(),
            Required::new(pairs, user_id!("@me:example.org")),
        ];
        let kinds = [Kind::Joined, Kind::Left, Kind::Stripped];
        for (number, kind) in (1..).zip(kinds) {
            let sent = Sent {
                kind,
                behind: (kind == Kind::Left).then_some(StreamPosition(number)),
                limit: 20,
                required: Arc::new(required[usize::from(kind == Kind::Left)].clone()),
                is_direct: kind == Kind::Joined,
                account_data: kind == Kind::Left,
                receipts: kind == Kind::Stripped,
            };
            snapshot.rooms.insert(RoomNid(number), sent);
        }
        let json = snapshot.to_json().unwrap();
        let read = Snapshot::from_json(7, DeviceNid(3), "room-list".to_owned(), &json);
        assert_eq!(read.unwrap(), snapshot);
    }
}
