//! Making rooms.
//!
//! The request becomes a [`Blueprint`], which is pure; then what only the database knows is added,
//! each kind by one query: numbers, profiles. All events are built on each other and written in one
//! piece with the room, its alias and its place in the directory: there is the whole room, or none.

mod state;
mod wanted;

use std::sync::Arc;

use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedRoomAliasId, OwnedRoomId, RoomId, UInt,
    api::client::room::create_room::v3::Request,
    events::{StateEventType, room::member::MembershipState},
};

pub(super) use self::state::Blueprint;
use super::{
    Actor, Error, Planned, Rooms,
    membership::{MemberContent, ThirdPartyInvite},
    persist::{self, Built},
};
use crate::{
    event::{
        BuildError, Draft, Pdu, Room,
        client_format::{self, Unsigned},
        version::VersionRules,
    },
    store::{
        RoomNid, RoomPosition, StoreError, UserNid,
        directory::ALIAS_UNIQUE,
        journal::{NewRoom, RoomWrite, Write},
        live::{RoomHead, TimelineEvent},
    },
};

/// How many letters a room id has, where it does not follow from the create event.
const ROOM_ID_LENGTH: usize = 18;
/// How often a room is built again because its id is taken.
const MAX_ATTEMPTS: usize = 8;
/// How much earlier than now a room may say that it was made, in milliseconds.
const MAX_EARLIER_MS: u64 = 1_000;

/// Whether a request to make a room says its visibility.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Says {
    /// It does.
    Visibility,
    /// It leaves it out: then it follows from the rest (tchap.md, CR-11).
    NoVisibility,
}

impl Rooms {
    /// Makes a room (client-server API v1.19, `POST /createRoom`).
    ///
    /// # Errors
    /// [`Error::UnsupportedVersion`]; [`Error::AliasTaken`]; [`Error::InvalidRoomState`] where the
    /// authorization rules refuse what the room would begin with; [`Error::Denied`] where the
    /// policy does; [`Error::Unreachable`] for invites to other servers; [`Error::Invalid`] and
    /// [`Error::BadContent`].
    pub async fn create(&self, actor: &Actor, request: &Request) -> Result<OwnedRoomId, Error> {
        self.create_inviting(actor, request, Says::Visibility, &[])
            .await
    }

    /// The same, with invitations by e-mail, which take the place of the request's `invite_3pid`,
    /// and for a request that maybe does not say its visibility, which ruma's type forgets.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn create_inviting(
        &self,
        actor: &Actor,
        request: &Request,
        says: Says,
        addresses: &[ThirdPartyInvite],
    ) -> Result<OwnedRoomId, Error> {
        let version = request.room_version.as_ref();
        let version = version.unwrap_or(&self.0.settings.default_version).clone();
        let alias = request.room_alias_name.as_deref();
        let alias = alias.map(|name| self.local_alias(name)).transpose()?;
        if let Some(alias) = &alias {
            self.check_not_exclusive(actor, alias)?;
        }
        let mut blueprint = Blueprint::new(request, &actor.user_id, version, alias.as_ref())?;
        blueprint.addresses = addresses.to_vec();
        self.ask_to_create(actor, request, says, &mut blueprint)
            .await?;
        for user_id in &blueprint.invite {
            self.require_reachable(user_id)?;
        }
        let invited: Vec<_> = blueprint.invite.iter().map(|user_id| &**user_id).collect();
        self.require_welcome(actor, &invited).await?;
        let room_id = self.create_from(actor, &blueprint, alias).await?;
        // A room that a client makes to replace another.
        if blueprint.create.contains_key("predecessor") {
            self.take_over_settings(actor, &room_id).await;
        }
        Ok(room_id)
    }

    /// Makes the room of a blueprint.
    pub(super) async fn create_from(
        &self,
        actor: &Actor,
        blueprint: &Blueprint,
        alias: Option<OwnedRoomAliasId>,
    ) -> Result<OwnedRoomId, Error> {
        let drafts = self.drafts(actor, blueprint).await?;
        let mut created_at = self.0.clock.now();
        for _ in 0..MAX_ATTEMPTS {
            let built = self.build_room(actor, blueprint, drafts.clone(), created_at);
            let (nid, built) = built.await.map_err(|error| match error {
                Error::Forbidden(message) => Error::InvalidRoomState(message),
                error => error,
            })?;
            let written = self.write_room(actor, blueprint, nid, built, alias.clone());
            match written.await {
                // Two rooms that somebody makes in one millisecond have the same create event, and
                // from room version 12 on the same id. One of them was made a moment earlier.
                Err(Error::Store(error)) if is_taken(&error) => {
                    let earlier = self.0.random.range(1..MAX_EARLIER_MS);
                    let now = u64::from(self.0.clock.now().get());
                    let earlier = UInt::new_saturating(now.saturating_sub(earlier));
                    created_at = MilliSecondsSinceUnixEpoch(earlier);
                }
                outcome => return outcome,
            }
        }
        Err(Error::Busy)
    }

    /// All events after the create event. What later steps ask of the database for each event is
    /// asked for here for all of them, and remembered.
    async fn drafts(&self, actor: &Actor, blueprint: &Blueprint) -> Result<Vec<Draft>, Error> {
        let store = &self.0.store;
        let invited: Vec<_> = blueprint.invite.iter().map(|user_id| &**user_id).collect();
        let numbers = store.user_numbers(&invited).await?;
        let mut users: Vec<UserNid> = numbers.values().copied().collect();
        users.push(actor.user);
        let mut shown = self.shown_by(&users).await?;

        let creator = shown.remove(&actor.user).unwrap_or_default();
        let join = MemberContent::showing(MembershipState::Join, &creator);
        let join = join.draft(&actor.user_id)?;
        let mut invite_drafts = Vec::with_capacity(invited.len());
        for user_id in &blueprint.invite {
            let shown = numbers.get(user_id).and_then(|user| shown.get(user));
            let shown = shown.cloned().unwrap_or_default();
            let content = MemberContent {
                is_direct: blueprint.is_direct,
                ..MemberContent::showing(MembershipState::Invite, &shown)
            };
            invite_drafts.push(content.draft(user_id)?);
        }
        let drafts = blueprint.drafts(join, invite_drafts);
        let slots = drafts.iter().filter_map(|draft| {
            let state_key = draft.state_key.clone()?;
            Some((draft.event_type.to_string(), state_key))
        });
        store.slot_numbers(slots.collect()).await?;
        Ok(drafts)
    }

    /// Builds all events of a new room.
    async fn build_room(
        &self,
        actor: &Actor,
        blueprint: &Blueprint,
        drafts: Vec<Draft>,
        created_at: MilliSecondsSinceUnixEpoch,
    ) -> Result<(RoomNid, Built), Error> {
        let rules = VersionRules::of(&blueprint.version);
        let rules = rules.ok_or_else(|| Error::UnsupportedVersion(blueprint.version.clone()))?;
        let room_id = if rules.event_format.require_room_create_room_id {
            let letters = self.0.random.alphanumeric(ROOM_ID_LENGTH);
            let room_id = RoomId::parse(format!("!{letters}:{}", self.server_name()));
            Some(room_id.map_err(BuildError::from)?)
        } else {
            None
        };
        let content = blueprint.create.clone();
        let mut create = Draft::state(StateEventType::RoomCreate, "", content);
        self.give_legacy_id(&mut create, &rules)?;
        let (pdu, room) = Room::create(
            &blueprint.version,
            room_id.as_deref(),
            create,
            &actor.user_id,
            created_at,
            &self.0.key,
            self.server_name(),
        )?;
        let nid = self.0.store.new_room_number().await?;
        let first = self.create_event(nid, pdu, actor).await?;
        let head = RoomHead::new(room, 0);
        let invites = blueprint.addresses.iter();
        let invites = invites.map(|invite| invite.planned(actor));
        let planned = drafts.into_iter().map(|draft| Planned::by(actor, draft));
        let planned = planned.chain(invites).map(Planned::decided);
        let mut built = self
            .build(nid, &head, planned.collect(), actor, None)
            .await?;
        built.events.insert(0, Arc::new(first));
        Ok((nid, built))
    }

    /// The create event in its place: the first, in a room without anything.
    async fn create_event(
        &self,
        room: RoomNid,
        pdu: Arc<Pdu>,
        actor: &Actor,
    ) -> Result<TimelineEvent, Error> {
        let slot = (StateEventType::RoomCreate.to_string(), String::new());
        let slots = self.0.store.slot_numbers(vec![slot]).await?;
        Ok(TimelineEvent {
            room,
            position: RoomPosition(1),
            sender: actor.user,
            client: client_format::client_text(&pdu, &Unsigned::default(), false).into(),
            slot: slots.into_values().next(),
            replaces: None,
            notify_count: 0,
            thread: None,
            member: None,
            mentions: Vec::new(),
            redacted_by: None,
            transaction: None,
            pdu,
        })
    }

    async fn write_room(
        &self,
        actor: &Actor,
        blueprint: &Blueprint,
        room: RoomNid,
        built: Built,
        alias: Option<OwnedRoomAliasId>,
    ) -> Result<OwnedRoomId, Error> {
        let room_id = built.head.room().room_id().to_owned();
        let write = Write {
            room: Some(RoomWrite {
                room,
                created: Some(NewRoom {
                    room_id: room_id.clone(),
                    room_version: blueprint.version.clone(),
                }),
                expected: RoomPosition(0),
                summary: Some(Box::new(persist::summary(built.head.room()))),
                events: built.events,
                redactions: built.redactions,
                relations: built.relations,
                head: built.head,
                transaction: None,
                invitations: built.invitations,
            }),
            aliases: alias
                .map(|alias| (alias, room, actor.user))
                .into_iter()
                .collect(),
            publish: blueprint.is_published.then_some((room, true)),
            ..Write::default()
        };
        match self.0.store.journal().write(write).await {
            Ok(_) => Ok(room_id),
            Err(error) if error.unique() == Some(ALIAS_UNIQUE) => Err(Error::AliasTaken),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether there is a room with this id, or its create event, already.
fn is_taken(error: &StoreError) -> bool {
    matches!(
        error.unique(),
        Some("rooms_room_id_key" | "events_event_id_key")
    )
}
