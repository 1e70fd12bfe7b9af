//! What clients ask of sliding sync.
//!
//! The shape is that of MSC4186 as clients send it today, with the filters by space and tag that
//! ruma's type leaves out, or as the proposal has it now: `range`, `required_state` as an object,
//! and what stands in the query elsewhere in the body.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ruma::{OwnedRoomId, UserId};
use serde::Deserialize;

use super::{
    required::{ANY, Required},
    snapshot::Position,
};
use crate::{rooms::Actor, store::StreamPosition, sync::Error};

/// The most lists, and the most rooms that are subscribed to.
const MAX_RULES: usize = 100;
/// The most ranges of a list.
const MAX_RANGES: usize = 20;
/// The most pairs of required state, of one rule and of all together.
const MAX_PAIRS: usize = 200;
const MAX_PAIRS_TOGETHER: usize = 4_000;
/// The most values of a filter, and of an extension's lists.
const MAX_VALUES: usize = 100;
/// The most events of a room in an answer; those who ask for more get as many.
const MAX_TIMELINE: u32 = 100;
/// The longest name of a connection or a list, in bytes.
const MAX_NAME: usize = 64;

/// The body of a request.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Body {
    /// What the client knows.
    #[serde(default)]
    pub pos: Option<String>,
    /// How long to wait when there is nothing, in milliseconds.
    #[serde(default)]
    pub timeout: Option<u64>,
    /// Whether the client's user is there.
    #[serde(default)]
    pub set_presence: Option<String>,
    #[serde(default)]
    conn_id: Option<String>,
    #[serde(default)]
    txn_id: Option<String>,
    #[serde(default)]
    lists: BTreeMap<String, BodyList>,
    #[serde(default)]
    room_subscriptions: BTreeMap<OwnedRoomId, BodyRule>,
    #[serde(default)]
    extensions: Extensions,
}

#[derive(Clone, Debug, Deserialize)]
struct BodyList {
    ranges: Option<Vec<(u64, u64)>>,
    range: Option<(u64, u64)>,
    #[serde(flatten)]
    rule: BodyRule,
    #[serde(default)]
    filters: Option<Filters>,
}

#[derive(Clone, Debug, Deserialize)]
struct BodyRule {
    #[serde(default)]
    required_state: BodyState,
    #[serde(default)]
    timeline_limit: u64,
}

/// Which state is wanted: (type, state key) pairs, or what to tell and what not.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum BodyState {
    Pairs(Vec<(String, String)>),
    Elements {
        #[serde(default)]
        include: Vec<Element>,
        #[serde(default)]
        exclude: Vec<Element>,
        #[serde(default)]
        lazy_members: bool,
    },
}

/// State events of a type, or of any, with a state key, or with any.
#[derive(Clone, Debug, Deserialize)]
struct Element {
    #[serde(rename = "type")]
    event_type: Option<String>,
    state_key: Option<String>,
}

impl Default for BodyState {
    fn default() -> Self {
        Self::Pairs(Vec::new())
    }
}

impl BodyState {
    fn len(&self) -> usize {
        match self {
            Self::Pairs(pairs) => pairs.len(),
            Self::Elements {
                include, exclude, ..
            } => include.len().saturating_add(exclude.len()),
        }
    }

    fn into_required(self, reader: &UserId) -> Required {
        let pairs = |elements: Vec<Element>| elements.into_iter().map(Element::into_pair).collect();
        match self {
            Self::Pairs(pairs) => Required::new(pairs, reader),
            Self::Elements {
                include,
                exclude,
                lazy_members,
            } => Required::of_elements(pairs(include), pairs(exclude), lazy_members),
        }
    }
}

impl Element {
    fn into_pair(self) -> (String, String) {
        let or_any = |text: Option<String>| text.unwrap_or_else(|| ANY.to_owned());
        (or_any(self.event_type), or_any(self.state_key))
    }
}

/// The filters of a list; all of them hold for its rooms.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Filters {
    pub(super) is_dm: Option<bool>,
    pub(super) is_encrypted: Option<bool>,
    #[serde(alias = "is_invited")]
    pub(super) is_invite: Option<bool>,
    pub(super) room_types: Option<Vec<Option<String>>>,
    #[serde(default)]
    pub(super) not_room_types: Vec<Option<String>>,
    pub(super) spaces: Option<Vec<OwnedRoomId>>,
    pub(super) tags: Option<Vec<String>>,
    #[serde(default)]
    pub(super) not_tags: Vec<String>,
}

/// What is asked for beside rooms.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Extensions {
    pub(super) account_data: OfRooms,
    pub(super) receipts: OfRooms,
    pub(super) typing: OfRooms,
    pub(super) to_device: Messages,
    pub(super) e2ee: Switch,
    #[serde(rename = "io.element.msc4308.thread_subscriptions")]
    pub(super) thread_subscriptions: Changes,
}

/// What has changed since, of which the newest is told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Changes {
    enabled: Option<bool>,
    /// How much is told.
    pub(super) limit: Option<u64>,
}

impl Changes {
    /// Whether it is asked for.
    pub(super) fn is_on(&self) -> bool {
        self.enabled == Some(true)
    }
}

/// Messages to the device.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Messages {
    enabled: Option<bool>,
    since: Option<String>,
}

impl Messages {
    /// Whether they are asked for.
    pub(super) fn is_on(&self) -> bool {
        self.enabled == Some(true)
    }

    /// Up to where the client has them.
    pub(super) fn since(&self) -> Result<Option<StreamPosition>, Error> {
        let since = self.since.as_deref().map(str::parse).transpose();
        let since = since
            .ok()
            .filter(|since| since.is_none_or(|since: i64| since >= 0));
        let since = since.ok_or(Error::Invalid("since of to_device is not one of ours"))?;
        Ok(since.map(StreamPosition))
    }
}

/// An extension that is on or off.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Switch {
    enabled: Option<bool>,
}

impl Switch {
    /// Whether it is asked for.
    pub(super) fn is_on(&self) -> bool {
        self.enabled == Some(true)
    }
}

/// An extension that tells something of rooms.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OfRooms {
    enabled: Option<bool>,
    lists: Option<Vec<String>>,
    rooms: Option<Vec<String>>,
}

impl OfRooms {
    /// Whether it is asked for.
    pub(super) fn is_on(&self) -> bool {
        self.enabled == Some(true)
    }

    /// Whether it is asked for of a room that is in these lists, and may be subscribed to.
    pub(super) fn is_on_for(&self, lists: &[&str], subscribed: Option<&OwnedRoomId>) -> bool {
        let by_list = match &self.lists {
            None => !lists.is_empty(),
            Some(wanted) => {
                let is_wanted = |list: &&str| wanted.iter().any(|one| one == list || one == "*");
                lists.iter().any(is_wanted)
            }
        };
        let by_room = subscribed.is_some_and(|room| match &self.rooms {
            None => true,
            Some(wanted) => wanted.iter().any(|one| one == "*" || one == room.as_str()),
        });
        self.is_on() && (by_list || by_room)
    }

    fn is_bounded(&self) -> bool {
        let within =
            |list: &Option<Vec<String>>| list.as_ref().is_none_or(|list| list.len() <= MAX_VALUES);
        within(&self.lists) && within(&self.rooms)
    }
}

/// A request that makes sense.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks.
    pub(super) actor: Actor,
    /// What the client knows.
    pub(super) pos: Option<Position>,
    /// How long to wait when there is nothing.
    pub(super) timeout: Duration,
    pub(super) conn_id: String,
    pub(super) txn_id: Option<String>,
    pub(super) lists: Vec<List>,
    pub(super) subscriptions: BTreeMap<OwnedRoomId, Rule>,
    pub(super) extensions: Extensions,
}

/// A list of rooms.
#[derive(Clone, Debug)]
pub(super) struct List {
    pub(super) name: String,
    /// First and last index; all rooms if there are none.
    pub(super) ranges: Option<Vec<(usize, usize)>>,
    pub(super) rule: Rule,
    pub(super) filters: Filters,
}

/// What is wanted of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) limit: u32,
    pub(super) required: Arc<Required>,
}

impl Rule {
    fn new(body: BodyRule, reader: &UserId) -> Self {
        let limit = u32::try_from(body.timeline_limit).unwrap_or(u32::MAX);
        Self {
            limit: limit.min(MAX_TIMELINE),
            required: Arc::new(body.required_state.into_required(reader)),
        }
    }

    /// What either of the two wants.
    pub(super) fn union(&self, other: &Self) -> Self {
        let required = if self.required.covers(&other.required) {
            Arc::clone(&self.required)
        } else {
            Arc::new(self.required.union(&other.required))
        };
        Self {
            limit: self.limit.max(other.limit),
            required,
        }
    }
}

impl Request {
    /// Who asks.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Looks at whether a request makes sense, and is bounded.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn new(
        actor: Actor,
        pos: Option<Position>,
        timeout: Duration,
        body: Body,
    ) -> Result<Self, Error> {
        if body.lists.len() > MAX_RULES {
            return Err(Error::Invalid("There are too many lists"));
        }
        if body.room_subscriptions.len() > MAX_RULES {
            return Err(Error::Invalid("There are too many room subscriptions"));
        }
        let conn_id = body.conn_id.unwrap_or_default();
        let names = body.lists.keys().chain([&conn_id]);
        if names.into_iter().any(|name| !is_name(name)) {
            return Err(Error::Invalid("conn_id or the name of a list is too long"));
        }
        if body.txn_id.as_ref().is_some_and(|id| id.len() > 255) {
            return Err(Error::Invalid("txn_id is too long"));
        }
        let rules = body.lists.values().map(|list| &list.rule);
        let rules = rules.chain(body.room_subscriptions.values());
        let pairs: Vec<usize> = rules.map(|rule| rule.required_state.len()).collect();
        let together: usize = pairs.iter().sum();
        if pairs.iter().any(|pairs| *pairs > MAX_PAIRS) || together > MAX_PAIRS_TOGETHER {
            return Err(Error::Invalid("required_state is too long"));
        }
        let extensions = &body.extensions;
        let of_rooms = [
            &extensions.account_data,
            &extensions.receipts,
            &extensions.typing,
        ];
        extensions.to_device.since()?;
        if extensions.thread_subscriptions.limit == Some(0) {
            return Err(Error::Invalid("An extension has a limit of 0"));
        }
        if !of_rooms.into_iter().all(OfRooms::is_bounded) {
            return Err(Error::Invalid("An extension has too many lists or rooms"));
        }
        let reader = actor.user_id.clone();
        let lists = body.lists.into_iter();
        let lists = lists.map(|(name, list)| List::new(name, list, &reader));
        let lists = lists.collect::<Result<_, _>>()?;
        let subscriptions = body.room_subscriptions.into_iter();
        let subscriptions = subscriptions.map(|(room, rule)| (room, Rule::new(rule, &reader)));
        Ok(Self {
            actor,
            pos,
            timeout,
            conn_id,
            txn_id: body.txn_id,
            lists,
            subscriptions: subscriptions.collect(),
            extensions: body.extensions,
        })
    }
}

impl List {
    fn new(name: String, list: BodyList, reader: &UserId) -> Result<Self, Error> {
        let one = list.range.map(|range| vec![range]);
        let ranges = list.ranges.or(one);
        if ranges
            .as_ref()
            .is_some_and(|ranges| ranges.len() > MAX_RANGES)
        {
            return Err(Error::Invalid("A list has too many ranges"));
        }
        if ranges.iter().flatten().any(|(first, last)| first > last) {
            return Err(Error::Invalid("A range ends before it begins"));
        }
        let filters = list.filters.unwrap_or_default();
        if !filters.is_bounded() {
            return Err(Error::Invalid("A filter has too many values"));
        }
        let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let ranges = ranges.map(|ranges| {
            let ranges = ranges.into_iter();
            ranges
                .map(|(first, last)| (index(first), index(last)))
                .collect()
        });
        Ok(Self {
            name,
            ranges,
            rule: Rule::new(list.rule, reader),
            filters,
        })
    }
}

impl Filters {
    fn is_bounded(&self) -> bool {
        fn len<T>(list: Option<&Vec<T>>) -> usize {
            list.map_or(0, Vec::len)
        }
        [
            len(self.room_types.as_ref()),
            self.not_room_types.len(),
            len(self.spaces.as_ref()),
            len(self.tags.as_ref()),
            self.not_tags.len(),
        ]
        .into_iter()
        .all(|len| len <= MAX_VALUES)
    }
}

/// PostgreSQL's texts hold no NUL.
fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME && !name.contains('\0')
}
