//! Prepares events for the journal: their places, numbers and counts.

use std::{collections::HashMap, sync::Arc};

use ruma::{
    OwnedEventId, UserId,
    events::room::history_visibility::HistoryVisibility,
    events::{StateEventType, TimelineEventType, room::guest_access::GuestAccess},
    room_version_rules::{EventIdFormatVersion, RoomVersionRules},
};
use serde::Deserialize;

use super::{Actor, Error, Rooms, Transaction, update::Planned};
use crate::{
    event::{
        BuildError, Draft, Pdu, Room,
        client_format::{self, Unsigned},
        push::Broadcast,
        redact,
    },
    store::{
        Membership, RoomNid, RoomPosition, UserNid,
        invitations::NewInvitation,
        journal::{Redaction, RelationWrite, RoomSummary},
        live::{EVERYBODY, MemberChange, NotifyCount, RoomHead, SenderTransaction, TimelineEvent},
        unread,
    },
};

/// Events that are built and have their numbers.
pub(super) struct Built {
    pub(super) events: Vec<Arc<TimelineEvent>>,
    pub(super) redactions: Vec<Redaction>,
    pub(super) relations: Vec<RelationWrite>,
    pub(super) invitations: Vec<Arc<NewInvitation>>,
    pub(super) head: Arc<RoomHead>,
}

impl Rooms {
    /// Builds the planned events, each on top of the one before, the first on `head`. Each is asked
    /// of the policy before.
    pub(super) async fn build(
        &self,
        room_nid: RoomNid,
        head: &RoomHead,
        planned: Vec<Planned>,
        actor: &Actor,
        transaction: Option<&Transaction>,
    ) -> Result<Built, Error> {
        let mut room = head.room().clone();
        let mut notify_count = head.notify_count();
        let mut events = Vec::with_capacity(planned.len());
        let mut redactions = Vec::new();
        let mut relations = Vec::new();
        let mut invitations = Vec::new();
        for plan in planned {
            self.ask_policy(room_nid, &room, &plan).await?;
            invitations.extend(plan.invitation);
            let mut draft = plan.draft;
            self.give_legacy_id(&mut draft, room.rules())?;
            let now = self.0.clock.now();
            let before = room;
            let (pdu, next) =
                before.build_event(draft, &plan.sender, now, &self.0.key, self.server_name())?;
            room = next;
            let transaction = transaction.filter(|_| events.is_empty());
            let event = self
                .timeline_event(room_nid, &before, pdu, actor, notify_count, transaction)
                .await?;
            notify_count = event.notify_count;
            let event = Arc::new(event);
            relations.extend(self.relation(&event).await?);
            if let Some(target) = plan.redacts {
                let left = redact::redact(&target.pdu, &room.rules().redaction)
                    .map_err(|error| Error::Invalid(error.to_string()))?;
                let left = Arc::new(left);
                room = room.with_redacted(&left);
                redactions.push(Redaction {
                    event: Arc::new(target.redacted(left, &event)),
                });
            }
            events.push(event);
        }
        Ok(Built {
            events,
            redactions,
            relations,
            invitations,
            head: Arc::new(RoomHead::new(room, notify_count)),
        })
    }

    /// Gives an event of room versions 1 and 2 its id; in later ones the id is the event's hash.
    pub(super) fn give_legacy_id(
        &self,
        draft: &mut Draft,
        rules: &RoomVersionRules,
    ) -> Result<(), Error> {
        if rules.event_id_format == EventIdFormatVersion::V1 && draft.legacy_event_id.is_none() {
            let id = format!("${}:{}", self.0.random.alphanumeric(18), self.server_name());
            let id = OwnedEventId::try_from(id).map_err(BuildError::from)?;
            draft.legacy_event_id = Some(id);
        }
        Ok(())
    }

    /// An event with its place and numbers. `before` is the room before it.
    pub(super) async fn timeline_event(
        &self,
        room: RoomNid,
        before: &Room,
        pdu: Arc<Pdu>,
        actor: &Actor,
        notify_count: i64,
        transaction: Option<&Transaction>,
    ) -> Result<TimelineEvent, Error> {
        let sender = if pdu.sender() == actor.user_id {
            actor.user
        } else {
            self.0.store.user_number(pdu.sender()).await?
        };
        let mut event = TimelineEvent {
            room,
            position: RoomPosition(before.version() + 1),
            sender,
            client: Box::default(),
            slot: None,
            replaces: None,
            notify_count,
            thread: self.thread(room, &pdu).await?,
            member: None,
            mentions: Vec::new(),
            redacted_by: None,
            transaction: transaction.map(|transaction| SenderTransaction {
                device: transaction.device,
                id: transaction.id.as_str().into(),
            }),
            pdu,
        };
        let replaced = self.number_state(before, &mut event).await?;
        let broadcast = Broadcast::new(&event.pdu, before.power_levels());
        event.mentions = self.mentions(before, &broadcast).await?;
        // The count of threads says only that there is something to look at.
        let is_counted = broadcast.notifies || event.is_for_subscribers();
        event.notify_count = NotifyCount::new(notify_count)
            .after(is_counted, event.thread.is_some())
            .stored();
        let unsigned = Unsigned {
            prev_content: replaced.as_ref().map(|replaced| replaced.content()),
            prev_sender: replaced.as_ref().map(|replaced| replaced.sender()),
            replaces_state: replaced.as_ref().map(|replaced| replaced.event_id()),
            ..Unsigned::default()
        };
        event.client = client_format::client_text(&event.pdu, &unsigned, false).into();
        Ok(event)
    }

    /// The numbers of a state event; gives the event that it replaces.
    async fn number_state(
        &self,
        before: &Room,
        event: &mut TimelineEvent,
    ) -> Result<Option<Arc<Pdu>>, Error> {
        let pdu = Arc::clone(&event.pdu);
        let Some(state_key) = pdu.state_key() else {
            return Ok(None);
        };
        let event_type = pdu.event_type().to_string();
        let slot = (event_type.clone(), state_key.to_owned());
        let slots = self.0.store.slot_numbers(vec![slot]).await?;
        event.slot = slots.into_values().next();
        let state_type = StateEventType::from(event_type);
        let replaced = before.state_event(&state_type, state_key);
        event.replaces = replaced.map(|replaced| RoomPosition(replaced.position));
        if let Some(after) = pdu.membership()
            && let Ok(user_id) = <&UserId>::try_from(state_key)
        {
            event.member = Some(MemberChange {
                user: self.0.store.user_number(user_id).await?,
                before: Membership::from(before.membership(user_id)),
                after: Membership::from(after),
            });
        }
        Ok(replaced.map(|replaced| Arc::clone(&replaced.pdu)))
    }

    /// Which members an event mentions.
    async fn mentions(&self, room: &Room, broadcast: &Broadcast) -> Result<Vec<UserNid>, Error> {
        if broadcast.highlights {
            return Ok(vec![EVERYBODY]);
        }
        let members: Vec<&UserId> = broadcast
            .mentioned
            .iter()
            .map(|user_id| &**user_id)
            .filter(|user_id| room.is_joined(user_id))
            .collect();
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let numbers: HashMap<_, _> = self.0.store.user_numbers(&members).await?;
        Ok(numbers.into_values().collect())
    }

    /// The thread that an event is in: the one that it names, or that of the event that it is
    /// related to, which was found in the same way.
    async fn thread(&self, room: RoomNid, pdu: &Pdu) -> Result<Option<OwnedEventId>, Error> {
        let Some(relation) = pdu.relates_to() else {
            return Ok(None);
        };
        let other = &relation.event_id;
        if relation.is_thread() {
            return Ok(Some(other.clone()));
        }
        if let Some(event) = self.0.store.live().recent_event(room, other) {
            return Ok(event.thread.clone());
        }
        let mut conn = self.0.store.conn().await?;
        Ok(unread::find_thread(&mut conn, room, other).await?)
    }
}

/// Whether a state event may change what the directory shows.
pub(super) fn touches_summary(pdu: &Pdu) -> bool {
    pdu.is_state()
        && matches!(
            pdu.event_type(),
            TimelineEventType::RoomMember
                | TimelineEventType::RoomCreate
                | TimelineEventType::RoomName
                | TimelineEventType::RoomTopic
                | TimelineEventType::RoomAvatar
                | TimelineEventType::RoomCanonicalAlias
                | TimelineEventType::RoomJoinRules
                | TimelineEventType::RoomHistoryVisibility
                | TimelineEventType::RoomGuestAccess
        )
}

/// What the directory shows of a room.
pub(super) fn summary(room: &Room) -> RoomSummary {
    #[derive(Deserialize)]
    struct Texts {
        name: Option<String>,
        topic: Option<String>,
        alias: Option<String>,
        url: Option<String>,
        #[serde(rename = "type")]
        room_type: Option<String>,
        join_rule: Option<String>,
    }
    let texts = |event_type: StateEventType| room.state_content::<Texts>(&event_type, "");
    let text = |event_type, field: fn(Texts) -> Option<String>, limit| {
        let text = texts(event_type).and_then(field)?;
        let text = cut(text, limit);
        (!text.is_empty()).then_some(text)
    };
    RoomSummary {
        joined_count: i64::try_from(room.joined_count()).unwrap_or(i64::MAX),
        name: text(StateEventType::RoomName, |texts| texts.name, 255),
        topic: text(StateEventType::RoomTopic, |texts| texts.topic, 1024),
        canonical_alias: text(StateEventType::RoomCanonicalAlias, |texts| texts.alias, 255),
        avatar_url: text(StateEventType::RoomAvatar, |texts| texts.url, 255),
        join_rule: text(StateEventType::RoomJoinRules, |texts| texts.join_rule, 64),
        room_type: text(StateEventType::RoomCreate, |texts| texts.room_type, 255),
        world_readable: *room.history_visibility() == HistoryVisibility::WorldReadable,
        guest_can_join: *room.guest_access() == GuestAccess::CanJoin,
    }
}

/// The beginning of a text, of at most `limit` bytes.
fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
    }
    // PostgreSQL's texts hold no NUL.
    text.retain(|letter| letter != '\0');
    text
}
