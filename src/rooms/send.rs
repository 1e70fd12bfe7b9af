//! Sending messages, state and redactions.

use std::{collections::HashSet, sync::Arc};

use ruma::{
    CanonicalJsonValue, EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, TransactionId,
    UserId,
    events::{StateEventType, TimelineEventType},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Actor, Error, Planned, Rooms, state_rules};
use crate::{
    event::{Draft, Room, build, redact},
    store::{DeviceNid, live::TimelineEvent, transactions},
};

/// The member who vouches for somebody who joins a restricted room (room version 8).
const AUTHORIZER: &str = "join_authorised_via_users_server";

/// A redaction that is sent as a message.
#[derive(Deserialize)]
struct Redaction {
    redacts: OwnedEventId,
    reason: Option<String>,
}

/// A client's transaction id, as it is compared.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The number of the device.
    pub(super) device: DeviceNid,
    /// The client's id.
    pub(super) id: String,
    /// What it is unique for, digested.
    pub(super) key: [u8; 16],
}

impl Transaction {
    /// The transaction of a send; `None` for an actor without a device, who has no repeats.
    pub fn new(
        actor: &Actor,
        room_id: &RoomId,
        event_type: &str,
        id: &TransactionId,
    ) -> Option<Self> {
        Some(Self {
            device: actor.device?,
            id: id.as_str().to_owned(),
            key: transactions::key(room_id, event_type, id.as_str()),
        })
    }
}

/// What is not usual about a state event.
#[derive(Clone, Copy, Debug, Default)]
pub struct How<'a> {
    /// When an application service says that it was sent.
    pub sent_at: Option<MilliSecondsSinceUnixEpoch>,
    /// Sends it once: a repeat gives the event that it made.
    pub transaction_id: Option<&'a TransactionId>,
}

impl Rooms {
    /// Sends a message event (client-server API v1.19,
    /// `PUT /rooms/{roomId}/send/{eventType}/{txnId}`). A transaction id that was used before
    /// gives the event that it made. A redaction that is sent this way is one.
    pub async fn send_message(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        event_type: TimelineEventType,
        content: &RawValue,
        transaction_id: &TransactionId,
    ) -> Result<OwnedEventId, Error> {
        self.send_message_at(actor, room_id, event_type, content, transaction_id, None)
            .await
    }

    /// The same with the time at which an application service says that it was sent. Redactions are
    /// sent now.
    pub async fn send_message_at(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        event_type: TimelineEventType,
        content: &RawValue,
        transaction_id: &TransactionId,
        sent_at: Option<MilliSecondsSinceUnixEpoch>,
    ) -> Result<OwnedEventId, Error> {
        let name = event_type.to_string();
        if event_type == TimelineEventType::RoomRedaction {
            let redaction: Redaction = serde_json::from_str(content.get())
                .map_err(|_| Error::BadContent("`redacts` is missing".to_owned()))?;
            let Redaction { redacts, reason } = redaction;
            let reason = reason.as_deref();
            return self
                .redact(actor, room_id, &redacts, reason, transaction_id)
                .await;
        }
        if name.contains('\0') {
            return Err(Error::Invalid("a type holds no NUL".to_owned()));
        }
        let content = build::content_from_json(content)?;
        let draft = Draft {
            sent_at,
            ..Draft::message(event_type, content)
        };
        let transaction = Transaction::new(actor, room_id, &name, transaction_id);
        let plan = |room: &Room| {
            require_joined(room, actor)?;
            Ok(vec![Planned::by(actor, draft.clone())])
        };
        self.send_once(actor, room_id, transaction, plan).await
    }

    /// Redacts an event (`PUT /rooms/{roomId}/redact/{eventId}/{txnId}`). The event loses its
    /// content at once, here and in the database.
    pub async fn redact(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        event_id: &EventId,
        reason: Option<&str>,
        transaction_id: &TransactionId,
    ) -> Result<OwnedEventId, Error> {
        let room = self.joined_room(room_id, &actor.user_id).await?;
        let found = self.find_events(&room, &[event_id]).await?;
        let target = found.into_values().next().ok_or(Error::UnknownEvent)?;
        if *target.pdu.event_type() == TimelineEventType::RoomCreate {
            let message = "the create event cannot be redacted";
            return Err(Error::Forbidden(message.to_owned()));
        }
        let name = format!("m.room.redaction {event_id}");
        let transaction = Transaction::new(actor, room_id, &name, transaction_id);
        let plan = |room: &Room| {
            require_joined(room, actor)?;
            if !redact::may_redact(&actor.user_id, &target.pdu, room.power_levels()) {
                return Err(Error::Forbidden("you may not redact this event".to_owned()));
            }
            let content = reason.map(|reason| serde_json::json!({ "reason": reason }));
            let content = content.unwrap_or_else(|| serde_json::json!({}));
            let content = build::content_from(&content)?;
            Ok(vec![Planned {
                redacts: Some(Arc::clone(&target)),
                ..Planned::by(actor, Draft::redaction(event_id.to_owned(), content))
            }])
        };
        self.send_once(actor, room_id, transaction, plan).await
    }

    /// Sends a state event (`PUT /rooms/{roomId}/state/{eventType}/{stateKey}`). State that is the
    /// same already makes no event: its id is given again.
    ///
    /// A member event may come from somebody who is not joined: this is another way to join, or to
    /// refuse an invite. Its content is the client's, without the profile.
    ///
    /// # Errors
    /// [`Error::BadContent`], [`Error::Invalid`] and [`Error::BadAlias`] for contents that make no
    /// sense; [`Error::Forbidden`] where the authorization rules say so.
    pub async fn send_state(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        event_type: &StateEventType,
        state_key: &str,
        content: &RawValue,
    ) -> Result<OwnedEventId, Error> {
        let how = How::default();
        self.send_state_as(actor, room_id, event_type, state_key, content, how)
            .await
    }

    /// The same, otherwise than usual.
    pub async fn send_state_as(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        event_type: &StateEventType,
        state_key: &str,
        content: &RawValue,
        how: How<'_>,
    ) -> Result<OwnedEventId, Error> {
        let How {
            sent_at,
            transaction_id,
        } = how;
        let content = build::content_from_json(content)?;
        state_rules::check_content(event_type, state_key, &content)?;
        if *event_type == StateEventType::RoomCreate {
            let message = "the room was created already";
            return Err(Error::Forbidden(message.to_owned()));
        }
        if *event_type == StateEventType::RoomMember {
            let draft = Draft {
                sent_at,
                ..Draft::state(StateEventType::RoomMember, state_key, content)
            };
            return self.send_member(actor, room_id, state_key, draft).await;
        }
        if *event_type == StateEventType::RoomCanonicalAlias && state_key.is_empty() {
            self.check_canonical_alias(actor, room_id, &content).await?;
        }
        let draft = Draft {
            sent_at,
            ..Draft::state(event_type.clone(), state_key, content)
        };
        let plan = |room: &Room| {
            require_joined(room, actor)?;
            state_rules::check_in_room(room, &draft)?;
            Ok(plan_state(room, actor, &draft))
        };
        let name = event_type.to_string();
        let transaction = transaction_id.and_then(|id| Transaction::new(actor, room_id, &name, id));
        let events = self
            .update(room_id, actor, transaction.as_ref(), plan)
            .await;
        if let (Err(Error::Store(error)), Some(transaction)) = (&events, &transaction)
            && error.unique() == Some(transactions::UNIQUE)
            && let Some(used) = self.used_transaction(transaction).await?
        {
            return Ok(used);
        }
        self.state_event_id(events, room_id, event_type, state_key)
            .await
    }

    /// A member event with a content of the client.
    async fn send_member(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        state_key: &str,
        mut draft: Draft,
    ) -> Result<OwnedEventId, Error> {
        let invalid = |_| Error::Invalid("the state key is not a user id".to_owned());
        let user_id = UserId::parse(state_key).map_err(invalid)?;
        let membership = draft
            .content
            .get("membership")
            .and_then(CanonicalJsonValue::as_str)
            .ok_or_else(|| Error::BadContent("`membership` is missing".to_owned()))?;
        if membership == "invite" {
            self.require_reachable(&user_id)?;
            // Members first: strangers do not learn anything of users.
            self.joined_room(room_id, &actor.user_id).await?;
            self.require_welcome(actor, &[&user_id]).await?;
        }
        let joins = membership == "join" && user_id == actor.user_id;
        // Whoever vouches for a user who joins is chosen here: our signature stands under it.
        draft.content.remove(AUTHORIZER);
        let room = self.find_room(room_id).await?.ok_or(Error::NotJoined)?;
        let allowed = if joins {
            self.allowed_rooms(room.head().room(), actor).await?
        } else {
            HashSet::new()
        };
        let plan = |room: &Room| {
            let mut draft = draft.clone();
            if joins && let Some(authorizer) = self.authorizer(room, actor, &allowed)? {
                let authorizer = CanonicalJsonValue::String(authorizer.into());
                draft.content.insert(AUTHORIZER.to_owned(), authorizer);
            }
            Ok(plan_state(room, actor, &draft))
        };
        let events = self.update(room_id, actor, None, plan).await;
        self.state_event_id(events, room_id, &StateEventType::RoomMember, state_key)
            .await
    }

    /// The id of the state event that was made, or that stands there already.
    async fn state_event_id(
        &self,
        events: Result<Vec<Arc<TimelineEvent>>, Error>,
        room_id: &RoomId,
        event_type: &StateEventType,
        state_key: &str,
    ) -> Result<OwnedEventId, Error> {
        let events = events.map_err(hide_unknown_room)?;
        if let Some(event) = events.first() {
            return Ok(event.pdu.owned_event_id().clone());
        }
        let room = self.room(room_id).await?;
        let head = room.head();
        let now = head.room().state_event(event_type, state_key);
        now.map(|now| now.pdu.owned_event_id().clone())
            .ok_or(Error::UnknownState)
    }

    /// Sends one event, or gives the one that the transaction id made before.
    async fn send_once<P>(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        transaction: Option<Transaction>,
        plan: P,
    ) -> Result<OwnedEventId, Error>
    where
        P: Fn(&Room) -> Result<Vec<Planned>, Error> + Send + Sync,
    {
        let key = transaction
            .as_ref()
            .map(|transaction| (transaction.device, transaction.key));
        if let Some(known) = key.and_then(|key| self.0.transactions.get(&key)) {
            return Ok(known);
        }
        let sent = self
            .update(room_id, actor, transaction.as_ref(), plan)
            .await;
        let event_id = match (sent, &transaction) {
            (Ok(events), _) => {
                let event = events.first().ok_or(Error::UnknownEvent)?;
                event.pdu.owned_event_id().clone()
            }
            // Somebody used the id before: this process before a restart, or another one.
            (Err(Error::Store(error)), Some(transaction))
                if error.unique() == Some(transactions::UNIQUE) =>
            {
                let used = self.used_transaction(transaction).await?;
                used.ok_or(Error::Store(error))?
            }
            // The reaction that is there may be the one of this transaction id.
            (Err(Error::DuplicateAnnotation), Some(transaction)) => {
                let used = self.used_transaction(transaction).await?;
                used.ok_or(Error::DuplicateAnnotation)?
            }
            (Err(error), _) => return Err(hide_unknown_room(error)),
        };
        if let Some(key) = key {
            self.0.transactions.insert(key, event_id.clone());
        }
        Ok(event_id)
    }
}

/// The event of some state, unless the same user has sent the same already.
fn plan_state(room: &Room, actor: &Actor, draft: &Draft) -> Vec<Planned> {
    let event_type = StateEventType::from(draft.event_type.to_string());
    let state_key = draft.state_key.as_deref().unwrap_or_default();
    if let Some(now) = room.state_event(&event_type, state_key)
        && now.pdu.sender() == actor.user_id
        && build::content_from_json(now.pdu.content()).is_ok_and(|now| now == draft.content)
    {
        return Vec::new();
    }
    vec![Planned::by(actor, draft.clone())]
}

/// Strangers do not learn which rooms exist.
fn hide_unknown_room(error: Error) -> Error {
    match error {
        Error::UnknownRoom => Error::NotJoined,
        error => error,
    }
}

/// Sending is for members.
pub(super) fn require_joined(room: &Room, actor: &Actor) -> Result<(), Error> {
    if room.is_joined(&actor.user_id) {
        Ok(())
    } else {
        Err(Error::NotJoined)
    }
}
