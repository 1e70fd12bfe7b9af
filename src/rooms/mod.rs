//! Rooms: what happens in them, and what can be read of them.
//!
//! The path of an event: an operation (`create`, `membership`, `send`, …) hands drafts to
//! [`update`], which waits for its turn on the room, asks the operation's plan with the
//! newest head whether and what to send, asks the policy whether that may be ([`gate`]), builds
//! and signs the events on top of that head, hands one write to the journal, and waits for the
//! commit. When another process was faster it does so again on the new head. Whoever reads hears
//! of it from the store's memory; nothing is called from here.

mod account_data;
mod create;
mod delayed;
mod delayed_sending;
mod directory;
mod error;
mod explain;
mod exposure;
mod filters;
mod gate;
mod guests;
mod locks;
mod membership;
mod notifications;
mod outcome;
mod outline;
mod persist;
mod push_rules;
mod read;
mod receipts;
mod relate;
mod reports;
mod retention;
mod search;
mod send;
mod spaces;
mod state_rules;
mod subscriptions;
mod tally;
#[cfg(test)]
mod tests;
mod typing;
mod unread;
mod update;
mod upgrade;

use std::sync::Arc;

use arc_swap::ArcSwap;
use moka::sync::Cache;
use ruma::{
    CanonicalJsonObject, OwnedEventId, OwnedServerName, OwnedUserId, RoomId, RoomVersionId,
    ServerName, ServerSigningKeyId, UserId, signatures::JsonError,
};
use tokio::sync::Notify;

pub use self::{
    create::Says,
    delayed::{Delayed, DelayedAction, DelayedLimits},
    directory::{DirectoryPage, DirectoryQuery},
    error::Error,
    membership::{InvitingRoom, Joining, SignedInvite, SomeRooms, ThirdPartyInvite},
    notifications::NotificationsPage,
    outcome::{Asked, outcome},
    outline::{Onlooker, Outline},
    read::{
        Bundles, Context, MembersQuery, MessagesQuery, NoToken, Page, RelationsPage,
        RelationsQuery, StateFormat, ThreadsPage, ThreadsQuery, Token, Viewer, filter, token_after,
    },
    receipts::{ReadMarkers, ReceiptKind},
    retention::{PurgeBatch, Retention},
    search::{Around, Group, SearchPage, SearchQuery, SearchToken},
    send::{How, Transaction},
    spaces::{HierarchyPage, HierarchyQuery},
    subscriptions::{Subscribed, SubscriptionsPage, threads_of},
    unread::{Count, Unread, UnreadBy, UnreadOf},
    update::Planned,
};
use self::{delayed_sending::DelayedClock, locks::Locks, typing::Typing};
use crate::{
    appservice::SharedRegistry,
    clock::SharedClock,
    event::{SigningKey, push::Defaults},
    policy::Policy,
    random::Random,
    store::{DeviceNid, Membership, RoomNid, Store, UserNid, live::LiveRoom},
};

/// Who does something in a room.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The user.
    pub user_id: OwnedUserId,
    /// The user's number.
    pub user: UserNid,
    /// The number of the device, for transaction ids.
    pub device: Option<DeviceNid>,
}

/// What the rooms service is told by the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this server.
    pub server_name: OwnedServerName,
    /// The version of new rooms.
    pub default_version: RoomVersionId,
    /// Who writes server notices: an invitation to a room of theirs cannot be refused.
    pub notices_user: Option<OwnedUserId>,
    /// How long messages are kept.
    pub retention: Retention,
    /// Whether messages can be searched.
    pub search: bool,
    /// How much later events may be sent.
    pub delayed: DelayedLimits,
    /// The application services, with the aliases that are theirs.
    pub services: SharedRegistry,
    /// What the operator says of the predefined push rules (tchap.md, R-35).
    pub push_rules: Defaults,
}

/// The rooms service. Cheap to clone.
#[derive(Clone)]
pub struct Rooms(Arc<Inner>);

struct Inner {
    settings: Settings,
    store: Store,
    policy: Arc<ArcSwap<Policy>>,
    key: SigningKey,
    clock: SharedClock,
    random: Random,
    /// What the newest transaction ids made, in front of the database.
    transactions: Cache<(DeviceNid, [u8; 16]), OwnedEventId>,
    /// Who types where.
    typing: Typing,
    /// When the next event is due that is sent later.
    delayed: DelayedClock,
    /// Unread messages that had to be looked for.
    tallies: Cache<(UserNid, RoomNid), Arc<tally::Tally>>,
    /// For changes that read what they change.
    locks: Locks,
    /// Told when a room has stopped to let guests in.
    guests: Notify,
}

impl Rooms {
    /// The service; `key` signs the events of this server.
    pub fn new(
        settings: Settings,
        store: Store,
        policy: Arc<ArcSwap<Policy>>,
        key: SigningKey,
        clock: SharedClock,
        random: Random,
    ) -> Self {
        Self(Arc::new(Inner {
            typing: Typing::new(&random, clock.clone()),
            delayed: DelayedClock::new(),
            locks: Locks::new(),
            guests: Notify::new(),
            settings,
            store,
            policy,
            key,
            clock,
            random,
            transactions: Cache::new(100_000),
            tallies: Cache::new(20_000),
        }))
    }

    /// The name of this server.
    pub fn server_name(&self) -> &ServerName {
        &self.0.settings.server_name
    }

    /// Signs an object that is not an event, as [`SigningKey::sign_object`] does.
    pub fn sign_object(&self, object: &mut CanonicalJsonObject) -> Result<(), JsonError> {
        self.0.key.sign_object(self.server_name(), object)
    }

    /// The id and the public half, in unpadded base64, of the key that signs for this server.
    pub fn public_key(&self) -> (&ServerSigningKeyId, String) {
        (self.0.key.id(), self.0.key.public_key_base64())
    }

    /// A room that this server knows, in memory.
    ///
    /// # Errors
    /// [`Error::UnknownRoom`] otherwise.
    pub async fn room(&self, room_id: &RoomId) -> Result<Arc<LiveRoom>, Error> {
        let found = self.find_room(room_id).await?;
        found.ok_or(Error::UnknownRoom)
    }

    /// The same, without an error for an unknown room.
    pub async fn find_room(&self, room_id: &RoomId) -> Result<Option<Arc<LiveRoom>>, Error> {
        let Some(nid) = self.0.store.room_number(room_id).await? else {
            return Ok(None);
        };
        Ok(self.0.store.load_room(nid).await?)
    }

    /// A room in which the user is joined.
    ///
    /// # Errors
    /// [`Error::NotJoined`] if the user is not, or there is no such room: strangers do not learn
    /// which rooms exist.
    pub async fn joined_room(
        &self,
        room_id: &RoomId,
        user_id: &UserId,
    ) -> Result<Arc<LiveRoom>, Error> {
        let room = self.find_room(room_id).await?.ok_or(Error::NotJoined)?;
        let is_joined = self.look_for(&room, user_id).await?;
        is_joined.then_some(room).ok_or(Error::NotJoined)
    }

    /// Whether a user is joined to a room. Before it says no, it looks whether another process has
    /// let them in a moment ago.
    async fn look_for(&self, room: &LiveRoom, user_id: &UserId) -> Result<bool, Error> {
        let is_joined = || room.head().room().is_joined(user_id);
        if !is_joined() {
            self.0.store.catch_up().await?;
        }
        Ok(is_joined())
    }

    /// The rooms in which a user is joined.
    pub async fn joined_rooms(&self, user: UserNid) -> Result<Vec<RoomNid>, Error> {
        self.0.store.load_user(user).await?;
        let rooms = self.0.store.live().rooms_of(user);
        let rooms = rooms.map(|(_, rooms)| rooms.with(Membership::Join).collect());
        Ok(rooms.unwrap_or_default())
    }
}
