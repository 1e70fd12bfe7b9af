//! The loaded room: an immutable snapshot, and the next one after an event.
//!
//! Cloning a snapshot and adding an event cost the same in a room of ten and of a hundred thousand
//! members: state is in persistent maps, and what is parsed is shared.

use std::sync::Arc;

use imbl::OrdMap;
use ruma::{
    CanonicalJsonValue, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId,
    RoomVersionId, ServerName, UserId,
    events::{
        StateEventType, TimelineEventType,
        room::{
            guest_access::GuestAccess, history_visibility::HistoryVisibility,
            member::MembershipState,
        },
    },
    room::JoinRule,
};
use serde::Deserialize;

use super::{
    auth::{self, AuthFailure},
    build::{BuildError, Draft, Position, build},
    members::Members,
    parsed::Parsed,
    pdu::Pdu,
    power_levels::PowerLevels,
    signing::SigningKey,
    version::VersionRules,
};

/// Why a room could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// The room version is not one of 1 to 12.
    #[error("the room version is not known")]
    UnknownRoomVersion,
    /// There is no create event in the state.
    #[error("the room has no create event")]
    NoCreateEvent,
    /// An event that is not state was given as state.
    #[error("event {0} is not a state event")]
    NotState(OwnedEventId),
}

/// Why an event was not made.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The draft is not a valid event.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The authorization rules refuse it.
    #[error("the authorization rules refuse the event: {0}")]
    Refused(#[from] AuthFailure),
}

/// An event of the current state.
#[derive(Clone, Debug)]
pub struct StateEvent {
    /// The event.
    pub pdu: Arc<Pdu>,
    /// The room position where it became current.
    pub position: i64,
    /// The event that it replaced, if it is known.
    pub replaces: Option<OwnedEventId>,
}

/// The state events of one type by state key.
type ByKey = OrdMap<Arc<str>, Arc<StateEvent>>;

/// A room after its `version`-th event.
#[derive(Clone, Debug)]
pub struct Room {
    identity: Arc<Identity>,
    version: i64,
    depth: i64,
    extremities: Vec<OwnedEventId>,
    state: OrdMap<StateEventType, ByKey>,
    members: Members,
    parsed: Arc<Parsed>,
}

/// What never changes in a room.
#[derive(Debug)]
struct Identity {
    room_id: OwnedRoomId,
    room_version: RoomVersionId,
    rules: VersionRules,
    create_event_id: OwnedEventId,
}

impl Room {
    /// Makes a room's create event, and the room after it. `room_id` is given up to room version
    /// 11 and `None` from 12 on. Sets `room_version` in the content, and `creator` where the room
    /// version has it.
    pub fn create(
        room_version: &RoomVersionId,
        room_id: Option<&RoomId>,
        mut draft: Draft,
        sender: &UserId,
        now: MilliSecondsSinceUnixEpoch,
        key: &SigningKey,
        server_name: &ServerName,
    ) -> Result<(Arc<Pdu>, Self), EventError> {
        let rules = VersionRules::of(room_version).ok_or(BuildError::UnknownRoomVersion)?;
        let mut set = |field: &str, value: &str| {
            let value = CanonicalJsonValue::String(value.to_owned());
            draft.content.insert(field.to_owned(), value);
        };
        set("room_version", room_version.as_str());
        if !rules.authorization.use_room_create_sender {
            set("creator", sender.as_str());
        }
        draft.event_type = TimelineEventType::RoomCreate;
        draft.state_key = Some(String::new());
        let position = Position {
            room_id,
            rules: &rules,
            prev_events: &[],
            auth_events: Vec::new(),
            depth: 1,
        };
        let pdu = Arc::new(key.sign(build(draft, sender, now, position)?, server_name)?);
        let nothing = |_: &StateEventType, _: &str| None::<&Pdu>;
        auth::check(&pdu, &rules, |_| None::<&Pdu>, nothing)?;

        let identity = Identity {
            room_id: pdu.room_id().to_owned(),
            room_version: room_version.clone(),
            rules,
            create_event_id: pdu.owned_event_id().clone(),
        };
        let room = Self::unborn(identity, 0, 0, Vec::new()).after(&pdu);
        Ok((pdu, room))
    }

    /// The room as the store kept it. `state` is the whole current state, in any order; `version`
    /// and `depth` are those of the last event.
    pub fn from_parts(
        room_id: OwnedRoomId,
        room_version: RoomVersionId,
        version: i64,
        depth: i64,
        extremities: Vec<OwnedEventId>,
        state: impl IntoIterator<Item = StateEvent>,
    ) -> Result<Self, RoomError> {
        let rules = VersionRules::of(&room_version).ok_or(RoomError::UnknownRoomVersion)?;
        let state: Vec<StateEvent> = state.into_iter().collect();
        let is_create = |event: &&StateEvent| {
            *event.pdu.event_type() == TimelineEventType::RoomCreate
                && event.pdu.state_key() == Some("")
        };
        let create = state.iter().find(is_create);
        let create_event_id = create
            .map(|event| event.pdu.owned_event_id().clone())
            .ok_or(RoomError::NoCreateEvent)?;
        let identity = Identity {
            room_id,
            room_version,
            rules,
            create_event_id,
        };
        let mut room = Self::unborn(identity, version, depth, extremities);
        for event in state {
            let event_id = event.pdu.owned_event_id().clone();
            if room.insert(event).is_none() {
                return Err(RoomError::NotState(event_id));
            }
        }
        room.parsed = Arc::new(Parsed::new(&room));
        Ok(room)
    }

    fn unborn(
        identity: Identity,
        version: i64,
        depth: i64,
        extremities: Vec<OwnedEventId>,
    ) -> Self {
        Self {
            identity: Arc::new(identity),
            version,
            depth,
            extremities,
            state: OrdMap::new(),
            members: Members::default(),
            parsed: Arc::new(Parsed::default()),
        }
    }

    /// The room after one more event. Does not check the event.
    #[must_use]
    pub fn after(&self, pdu: &Arc<Pdu>) -> Self {
        let mut next = self.clone();
        next.version += 1;
        next.depth = self.depth.max(pdu.depth());
        next.extremities
            .retain(|event_id| !pdu.prev_events().contains(event_id));
        next.extremities.push(pdu.owned_event_id().clone());
        if let Some(state_key) = pdu.state_key() {
            let event_type = state_type(pdu.event_type());
            let old = self.state_event(&event_type, state_key);
            let event = StateEvent {
                pdu: Arc::clone(pdu),
                position: next.version,
                replaces: old.map(|old| old.pdu.owned_event_id().clone()),
            };
            next.insert(event);
            if state_key.is_empty() && Parsed::depends_on(&event_type) {
                next.parsed = Arc::new(Parsed::new(&next));
            }
        }
        next
    }

    /// The room with an event of its state replaced by what a redaction left of it. A room whose
    /// state does not hold the event stays as it is.
    #[must_use]
    pub fn with_redacted(&self, pdu: &Arc<Pdu>) -> Self {
        let mut next = self.clone();
        let event_type = state_type(pdu.event_type());
        let state_key = pdu.state_key().unwrap_or_default();
        let Some(old) = self.state_event(&event_type, state_key) else {
            return next;
        };
        if old.pdu.event_id() != pdu.event_id() {
            return next;
        }
        next.insert(StateEvent {
            pdu: Arc::clone(pdu),
            position: old.position,
            replaces: old.replaces.clone(),
        });
        next.parsed = Arc::new(Parsed::new(&next));
        next
    }

    /// Puts an event into the state; `None` if it is not a state event.
    fn insert(&mut self, event: StateEvent) -> Option<()> {
        let event_type = state_type(event.pdu.event_type());
        let by_key = self.state.entry(event_type).or_default();
        let state_key = event.pdu.state_key()?;
        let known = by_key.get_key_value(state_key);
        let key = known.map_or_else(|| Arc::from(state_key), |(key, _)| Arc::clone(key));
        if *event.pdu.event_type() == TimelineEventType::RoomMember {
            let old = known.map(|(_, old)| &**old);
            self.members.replace(&key, old, &event);
        }
        by_key.insert(key, Arc::new(event));
        Some(())
    }

    /// Makes an event on top of this snapshot: chooses the auth events, signs, and checks the
    /// authorization rules. Gives the event and the next snapshot. The one way in which local
    /// events are made.
    pub fn build_event(
        &self,
        draft: Draft,
        sender: &UserId,
        now: MilliSecondsSinceUnixEpoch,
        key: &SigningKey,
        server_name: &ServerName,
    ) -> Result<(Arc<Pdu>, Self), EventError> {
        let rules = &self.identity.rules;
        let types = auth::auth_types(&draft, sender, &rules.authorization)?;
        let auth_events: Vec<&Pdu> = types
            .iter()
            .filter_map(|(event_type, state_key)| self.pdu(event_type, state_key))
            .collect();
        let position = Position {
            room_id: Some(self.room_id()),
            rules,
            prev_events: &self.extremities,
            auth_events: auth_events
                .iter()
                .map(|pdu| pdu.owned_event_id().clone())
                .collect(),
            depth: self.depth.saturating_add(1),
        };
        // A second create event has a room id, and would be refused for its form only.
        if draft.event_type == TimelineEventType::RoomCreate {
            return Err(AuthFailure::from("the room was already created".to_owned()).into());
        }
        let event = build(draft, sender, now, position)?;
        let pdu = Arc::new(key.sign(event, server_name)?);
        let auth_event = |event_id: &ruma::EventId| {
            if event_id == &*self.identity.create_event_id {
                return self.pdu(&StateEventType::RoomCreate, "");
            }
            auth_events
                .iter()
                .copied()
                .find(|pdu| pdu.event_id() == event_id)
        };
        let state = |event_type: &StateEventType, state_key: &str| self.pdu(event_type, state_key);
        auth::check(&pdu, rules, auth_event, state)?;
        let next = self.after(&pdu);
        Ok((pdu, next))
    }

    /// The room's id.
    pub fn room_id(&self) -> &RoomId {
        &self.identity.room_id
    }

    /// The room's version, such as `12`.
    pub fn room_version(&self) -> &RoomVersionId {
        &self.identity.room_version
    }

    /// The rules of the room's version.
    pub fn rules(&self) -> &VersionRules {
        &self.identity.rules
    }

    /// The room position of the last event, which is the number of events.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The greatest depth of an event.
    pub fn depth(&self) -> i64 {
        self.depth
    }

    /// The events that the next one follows.
    pub fn extremities(&self) -> &[OwnedEventId] {
        &self.extremities
    }

    /// An event of the current state.
    pub fn state_event(
        &self,
        event_type: &StateEventType,
        state_key: &str,
    ) -> Option<&Arc<StateEvent>> {
        self.state.get(event_type)?.get(state_key)
    }

    fn pdu(&self, event_type: &StateEventType, state_key: &str) -> Option<&Pdu> {
        let event = self.state_event(event_type, state_key)?;
        Some(&event.pdu)
    }

    /// The content of a state event, parsed. `None` if there is none, or not of that shape.
    pub fn state_content<'a, T: Deserialize<'a>>(
        &'a self,
        event_type: &StateEventType,
        state_key: &str,
    ) -> Option<T> {
        self.pdu(event_type, state_key)?.content_as()
    }

    /// The whole current state, ordered by type and state key.
    pub fn state(&self) -> impl Iterator<Item = &Arc<StateEvent>> {
        self.state.values().flat_map(OrdMap::values)
    }

    /// The types of the current state.
    pub fn state_types(&self) -> impl Iterator<Item = &StateEventType> {
        self.state.keys()
    }

    /// The current state events of one type, ordered by state key.
    pub fn state_of_type(
        &self,
        event_type: &StateEventType,
    ) -> impl Iterator<Item = &Arc<StateEvent>> {
        self.state
            .get(event_type)
            .into_iter()
            .flat_map(OrdMap::values)
    }

    /// The create event.
    pub fn create_event(&self) -> Option<&Arc<StateEvent>> {
        self.state_event(&StateEventType::RoomCreate, "")
    }

    /// A user's member event.
    pub fn member(&self, user_id: &UserId) -> Option<&Arc<StateEvent>> {
        self.state_event(&StateEventType::RoomMember, user_id.as_str())
    }

    /// A user's membership; `leave` for users who never were in the room.
    pub fn membership(&self, user_id: &UserId) -> &MembershipState {
        let event = self.member(user_id);
        let membership = event.and_then(|event| event.pdu.membership());
        membership.unwrap_or(&MembershipState::Leave)
    }

    /// Whether a user is joined.
    pub fn is_joined(&self, user_id: &UserId) -> bool {
        *self.membership(user_id) == MembershipState::Join
    }

    /// The joined members, in the order of their member events.
    pub fn joined_members(&self) -> impl Iterator<Item = &UserId> {
        self.members.joined()
    }

    /// The invited users, in the order of their member events.
    pub fn invited_members(&self) -> impl Iterator<Item = &UserId> {
        self.members.invited()
    }

    /// How many users are joined.
    pub fn joined_count(&self) -> usize {
        self.members.joined_count()
    }

    /// How many users are invited.
    pub fn invited_count(&self) -> usize {
        self.members.invited_count()
    }

    /// Up to five users after whom a room without a name is called, for the user `not`
    /// (client-server API v1.19, `/sync`, room summary). Does not walk over the members.
    pub fn heroes(&self, not: &UserId) -> Vec<&UserId> {
        self.members.heroes(not)
    }

    /// The power levels.
    pub fn power_levels(&self) -> &PowerLevels {
        &self.parsed.power_levels
    }

    /// Who created the room: the sender of the create event, from version 12 on with the
    /// additional creators.
    pub fn creators(&self) -> &[OwnedUserId] {
        &self.parsed.creators
    }

    /// Who may join; `invite` if the room does not say.
    pub fn join_rule(&self) -> &JoinRule {
        &self.parsed.join_rule
    }

    /// Who may see the history; `shared` if the room does not say.
    pub fn history_visibility(&self) -> &HistoryVisibility {
        &self.parsed.history_visibility
    }

    /// Whether guests may join; `forbidden` if the room does not say.
    pub fn guest_access(&self) -> &GuestAccess {
        &self.parsed.guest_access
    }

    /// Whether messages are end-to-end encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.state_event(&StateEventType::RoomEncryption, "")
            .is_some()
    }
}

/// The state event type of the same name.
fn state_type(event_type: &TimelineEventType) -> StateEventType {
    StateEventType::from(event_type.to_string())
}
