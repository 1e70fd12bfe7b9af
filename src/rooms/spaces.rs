//! Walking through spaces: depth first, a page at a time.
//!
//! Client-server API v1.19, `GET /rooms/{roomId}/hierarchy`. A page ends with a token that holds where
//! the walk is as places among the ordered children, so that the walk goes on from there,
//! in any process. What a page looks at is bounded, whatever rooms point at each other.

use std::{collections::HashMap, fmt, sync::Arc};

use ruma::{OwnedRoomId, OwnedUserId, RoomId, events::StateEventType, room::RoomType};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    Error, Rooms,
    outline::{Onlooker, Outline},
};
use crate::{
    event::{Pdu, Room},
    store::live::{LiveRoom, RoomHead},
};

/// The rooms on a page where the client does not say.
const PAGE: u64 = 50;
/// The most rooms on a page.
const MAX_PAGE: u64 = 100;
/// How deep the walk goes at most.
const MAX_DEPTH: usize = 20;
/// How many children are looked at for one page, shown or not.
const MAX_LOOKED_AT: usize = 1_000;
/// How many children are read together.
const BATCH: usize = 64;
/// The most children of one space that are walked and told.
const MAX_CHILDREN: usize = 2_000;
/// The longest `order` of a child, in bytes.
const MAX_ORDER: usize = 50;

/// Which part of a space somebody wants to see.
#[derive(Clone, Debug, Default)]
pub struct HierarchyQuery {
    /// A token of an earlier page.
    pub from: Option<String>,
    /// How many rooms; 50 if the client does not say, at most 100.
    pub limit: Option<u64>,
    /// How far to go down; at most 20, which is also where the client does not say.
    pub max_depth: Option<u64>,
    /// Whether only suggested children are walked and told.
    pub suggested_only: bool,
}

/// A page of a space.
#[derive(Debug, Default)]
pub struct HierarchyPage {
    /// The rooms, with the `m.space.child` events of those that are spaces.
    pub rooms: Vec<(Outline, Vec<Box<RawValue>>)>,
    /// The token of the next page, if there is one.
    pub next_batch: Option<String>,
}

impl Rooms {
    /// A page of what a space holds.
    ///
    /// # Errors
    /// [`Error::Forbidden`] where there is no such room, or the onlooker may not know of it;
    /// [`Error::Invalid`] for a token that is none, or of a walk with other parameters.
    pub async fn hierarchy(
        &self,
        onlooker: &Onlooker,
        room_id: &RoomId,
        query: &HierarchyQuery,
    ) -> Result<HierarchyPage, Error> {
        let root = self.find_room(room_id).await?;
        let root = root.and_then(|room| onlooker.known(&room));
        let root = root.ok_or_else(|| Error::Forbidden("you may not see this room".to_owned()))?;
        let limit = query.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
        let mut walk = Walk {
            rooms: self,
            onlooker,
            suggested_only: query.suggested_only,
            max_depth: depth(query.max_depth),
            frames: Vec::new(),
            shown: Vec::new(),
            page: HierarchyPage::default(),
            looked_at: 0,
        };
        match query.from.as_deref() {
            None => walk.show(&root),
            Some(token) => walk.resume(&root, Token::parse(token)?).await?,
        }
        walk.go_on(usize::try_from(limit).unwrap_or(usize::MAX))
            .await?;
        Ok(walk.page)
    }
}

fn depth(wanted: Option<u64>) -> usize {
    let wanted = wanted.and_then(|depth| usize::try_from(depth).ok());
    wanted.unwrap_or(MAX_DEPTH).min(MAX_DEPTH)
}

/// A walk that is under way.
struct Walk<'a> {
    rooms: &'a Rooms,
    onlooker: &'a Onlooker,
    suggested_only: bool,
    max_depth: usize,
    /// The spaces between the root and here, each with the place of its next child.
    frames: Vec<Frame>,
    /// The rooms of this page.
    shown: Vec<OwnedRoomId>,
    page: HierarchyPage,
    looked_at: usize,
}

/// A space whose children are being walked.
struct Frame {
    space: OwnedRoomId,
    children: Vec<OwnedRoomId>,
    /// The place of the next child.
    next: usize,
    /// The children that were read last, by id.
    read: HashMap<OwnedRoomId, Arc<LiveRoom>>,
    /// The place after those.
    read_to: usize,
}

impl Walk<'_> {
    /// Shows a room, and goes into it if it is a space.
    fn show(&mut self, head: &Arc<RoomHead>) {
        let room = head.room();
        let children = children(room, self.suggested_only);
        let events = children.iter().map(Child::stripped).collect();
        self.shown.push(room.room_id().to_owned());
        self.page.rooms.push((Outline::of(room), events));
        self.enter(room, children);
    }

    fn enter(&mut self, room: &Room, children: Vec<Child<'_>>) {
        if self.frames.len() < self.max_depth && !children.is_empty() {
            self.frames.push(Frame {
                space: room.room_id().to_owned(),
                children: children.into_iter().map(|child| child.room_id).collect(),
                next: 0,
                read: HashMap::new(),
                read_to: 0,
            });
        }
    }

    /// Goes back to where a page ended.
    async fn resume(&mut self, root: &Arc<RoomHead>, token: Token) -> Result<(), Error> {
        if token.suggested_only != self.suggested_only || token.max_depth != self.max_depth {
            let message = "suggested_only and max_depth cannot change on paginated requests";
            return Err(Error::Invalid(message.to_owned()));
        }
        let mut head = Arc::clone(root);
        for (depth, next) in token.way.iter().enumerate() {
            self.enter(head.room(), children(head.room(), self.suggested_only));
            let Some(frame) = self.frames.get_mut(depth) else {
                break;
            };
            frame.next = *next;
            if depth + 1 == token.way.len() {
                break;
            }
            // The walk is somewhere in the child before the next one.
            let child = next
                .checked_sub(1)
                .and_then(|place| frame.children.get(place));
            let child = match child.cloned() {
                Some(child) => self.rooms.find_room(&child).await?,
                None => None,
            };
            // Where the way has changed since, the walk goes on with what follows.
            let Some(child) = child.and_then(|room| self.onlooker.known(&room)) else {
                break;
            };
            head = child;
        }
        Ok(())
    }

    /// Walks on until the page is full, or the space has ended.
    async fn go_on(&mut self, limit: usize) -> Result<(), Error> {
        while let Some(frame) = self.frames.last_mut() {
            let Some(child) = frame.children.get(frame.next).cloned() else {
                self.frames.pop();
                continue;
            };
            if self.page.rooms.len() >= limit || self.looked_at >= MAX_LOOKED_AT {
                self.page.next_batch = Some(self.token().to_string());
                return Ok(());
            }
            self.looked_at += 1;
            let room = frame.read(self.rooms).await?;
            frame.next += 1;
            if self.shown.contains(&child) || self.is_on_the_way(&child) {
                continue;
            }
            if let Some(head) = room.and_then(|room| self.onlooker.known(&room)) {
                self.show(&head);
            }
        }
        Ok(())
    }

    /// Whether the walk came through a space to get here: to go into it again would never end.
    fn is_on_the_way(&self, room_id: &RoomId) -> bool {
        self.frames.iter().any(|frame| frame.space == room_id)
    }

    /// Where the walk is.
    fn token(&self) -> Token {
        Token {
            suggested_only: self.suggested_only,
            max_depth: self.max_depth,
            way: self.frames.iter().map(|frame| frame.next).collect(),
        }
    }
}

impl Frame {
    /// The room of the next child, if this server knows it.
    async fn read(&mut self, rooms: &Rooms) -> Result<Option<Arc<LiveRoom>>, Error> {
        if self.next >= self.read_to {
            let end = self.children.len().min(self.next + BATCH);
            let wanted: Vec<&RoomId> = self
                .children
                .get(self.next..end)
                .unwrap_or_default()
                .iter()
                .map(|room_id| &**room_id)
                .collect();
            let store = &rooms.0.store;
            let numbers: Vec<_> = store.room_numbers(&wanted).await?.into_values().collect();
            let read = store.load_rooms(&numbers).await?.into_iter();
            self.read = read
                .map(|room| (room.head().room().room_id().to_owned(), room))
                .collect();
            self.read_to = end;
        }
        let child = self.children.get(self.next);
        Ok(child.and_then(|child| self.read.get(child).cloned()))
    }
}

/// A child of a space, by its event.
struct Child<'a> {
    room_id: OwnedRoomId,
    pdu: &'a Arc<Pdu>,
    order: Option<String>,
}

#[derive(Deserialize)]
struct ChildContent {
    via: Vec<serde_json::Value>,
    #[serde(default)]
    order: Option<serde_json::Value>,
    #[serde(default)]
    suggested: Option<serde_json::Value>,
}

/// The children of a space in the order of the specification ("Ordering of children within a
/// space"). Events without `via` say that a child was removed.
fn children(room: &Room, suggested_only: bool) -> Vec<Child<'_>> {
    if room_type(room) != Some(RoomType::Space) {
        return Vec::new();
    }
    let events = room.state_of_type(&StateEventType::SpaceChild);
    let mut children: Vec<_> = events
        .filter_map(|event| {
            let room_id = RoomId::parse(event.pdu.state_key()?).ok()?;
            let content = event.pdu.content_as::<ChildContent>()?;
            let is_linked = content.via.iter().any(serde_json::Value::is_string);
            let is_suggested = content.suggested == Some(true.into());
            let order = content.order.and_then(valid_order);
            (is_linked && (is_suggested || !suggested_only)).then_some(Child {
                room_id,
                pdu: &event.pdu,
                order,
            })
        })
        .collect();
    children.sort_by(|a, b| {
        let key = |child: &Child<'_>| (child.order.is_none(), child.pdu.origin_server_ts());
        let ordered = key(a).0.cmp(&key(b).0).then_with(|| a.order.cmp(&b.order));
        let aged = ordered.then_with(|| key(a).1.cmp(&key(b).1));
        aged.then_with(|| a.room_id.cmp(&b.room_id))
    });
    children.truncate(MAX_CHILDREN);
    children
}

fn room_type(room: &Room) -> Option<RoomType> {
    #[derive(Deserialize)]
    struct Create {
        #[serde(rename = "type")]
        room_type: Option<RoomType>,
    }
    let create = room.state_content::<Create>(&StateEventType::RoomCreate, "");
    create.and_then(|create| create.room_type)
}

fn valid_order(order: serde_json::Value) -> Option<String> {
    let serde_json::Value::String(order) = order else {
        return None;
    };
    let is_valid =
        order.len() <= MAX_ORDER && order.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    is_valid.then_some(order)
}

impl Child<'_> {
    /// The event as it is told: stripped, with its time.
    fn stripped(&self) -> Box<RawValue> {
        #[derive(Serialize)]
        struct Stripped<'a> {
            #[serde(rename = "type")]
            event_type: &'static str,
            state_key: &'a RoomId,
            content: &'a RawValue,
            sender: OwnedUserId,
            origin_server_ts: ruma::MilliSecondsSinceUnixEpoch,
        }
        let stripped = Stripped {
            event_type: "m.space.child",
            state_key: &self.room_id,
            content: self.pdu.content(),
            sender: self.pdu.sender().to_owned(),
            origin_server_ts: self.pdu.origin_server_ts(),
        };
        // Strings, a number and JSON always have a JSON form.
        serde_json::value::to_raw_value(&stripped).unwrap_or_default()
    }
}

/// Where a page ended, as clients hold it: what the walk was asked for, and for each space on the way
/// the place of its next child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    suggested_only: bool,
    max_depth: usize,
    way: Vec<usize>,
}

impl Token {
    pub(super) fn parse(token: &str) -> Result<Self, Error> {
        let invalid = || Error::Invalid("this is not a token of a hierarchy".to_owned());
        let number = |text: &str| {
            let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse::<usize>().ok();
            number.filter(|_| is_plain).ok_or_else(invalid)
        };
        let (suggested_only, rest) = match token.split_at_checked(1) {
            Some(("a", rest)) => (false, rest),
            Some(("s", rest)) => (true, rest),
            _ => return Err(invalid()),
        };
        let (max_depth, way) = rest.split_once('_').ok_or_else(invalid)?;
        let way = match way {
            "" => Vec::new(),
            way => way.split('.').map(number).collect::<Result<_, _>>()?,
        };
        let max_depth = number(max_depth)?;
        if max_depth > MAX_DEPTH || way.len() > MAX_DEPTH {
            return Err(invalid());
        }
        Ok(Self {
            suggested_only,
            max_depth,
            way,
        })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.suggested_only { 's' } else { 'a' };
        let way: Vec<_> = self.way.iter().map(ToString::to_string).collect();
        write!(f, "{kind}{}_{}", self.max_depth, way.join("."))
    }
}
