//! Replacing a room by one of another version.
//!
//! Client-server API v1.19, "Room Upgrades". The new room is written in one piece, like any new
//! room; then the old one is closed and points to it, and its aliases and its place in the
//! directory move, and the spaces of who replaces it name the new one. Whoever joins the new room
//! takes their settings along.

mod settings;
mod spaces;

use std::collections::HashSet;

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, Int, OwnedRoomId, OwnedUserId, RoomId, RoomVersionId,
    UserId,
    events::{StateEventType, TimelineEventType, room::member::MembershipState},
    room_version_rules::AuthorizationRules,
};
use serde_json::json;

pub(super) use self::settings::predecessor;
use super::{Actor, Error, Planned, Rooms, create::Blueprint, membership::MemberContent};
use crate::{
    event::{Draft, Room, StateEvent, build, version::VersionRules},
    policy::rooms::{ACCESS_RULES, RETENTION_TYPE},
    store::{RoomNid, directory},
};

/// The state that moves, beside the power levels and, in a space, its children: what the
/// specification recommends, and Tchap's (UP-01, RT-01).
const MOVED: &[&str] = &[
    "m.room.server_acl",
    "m.room.encryption",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.join_rules",
    "m.room.canonical_alias",
    RETENTION_TYPE,
    ACCESS_RULES,
];
/// The level of those who lead a room of a version without creators that stand above it.
const LEADER: i32 = 100;
/// The level that a closed room asks for, at least.
const CLOSED: i64 = 50;

impl Rooms {
    /// Replaces a room by one of version `version` (`POST /rooms/{roomId}/upgrade`).
    /// `additional_creators` are those of the new room, where its version knows them.
    ///
    /// # Errors
    /// [`Error::UnsupportedVersion`]; [`Error::NotJoined`]; [`Error::Forbidden`] for members who
    /// may not send `m.room.tombstone`; [`Error::Denied`] where the policy says so.
    pub async fn upgrade(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        version: &RoomVersionId,
        additional_creators: &[OwnedUserId],
    ) -> Result<OwnedRoomId, Error> {
        let Some(rules) = VersionRules::of(version) else {
            return Err(Error::UnsupportedVersion(version.clone()));
        };
        let old = self.joined_room(room_id, &actor.user_id).await?;
        let head = old.head();
        require_tombstone(head.room(), actor)?;
        self.ask_to_upgrade(actor, head.room(), additional_creators)
            .await?;
        let is_published = self.is_published(room_id).await?;
        let creators: Vec<_> = if rules.authorization.additional_room_creators {
            let others = additional_creators.iter();
            others
                .filter(|user_id| **user_id != actor.user_id)
                .cloned()
                .collect()
        } else {
            Vec::new()
        };
        let successor = Successor {
            old: head.room(),
            creator: &actor.user_id,
            creators: &creators,
            rules: &rules.authorization,
        };
        let blueprint = Blueprint {
            addresses: Vec::new(),
            version: version.clone(),
            create: successor.create()?,
            state: successor.state()?,
            invite: Vec::new(),
            is_direct: false,
            is_published,
        };
        let new_id = self.create_from(actor, &blueprint, None).await?;
        self.close(actor, room_id, &new_id).await?;
        let new = self.0.store.room_number(&new_id).await?;
        let new = new.ok_or(Error::UnknownRoom)?;
        self.move_names(old.nid(), new, is_published).await?;
        self.move_in_spaces(actor, room_id, &new_id).await;
        self.take_over_settings(actor, &new_id).await;
        Ok(new_id)
    }

    /// Ends the old room: the tombstone, no more canonical alias, and levels under which only
    /// those who lead the room go on writing there. What the sender may not do is left out, except
    /// for the tombstone.
    async fn close(&self, actor: &Actor, old: &RoomId, new: &RoomId) -> Result<(), Error> {
        let plan = |room: &Room| {
            require_tombstone(room, actor)?;
            let tombstone = json!({
                "body": "This room has been replaced",
                "replacement_room": new,
            });
            let mut drafts = vec![state(StateEventType::RoomTombstone, &tombstone)?];
            let levels = room.power_levels();
            let may = |event_type| levels.may_send(&actor.user_id, &event_type, true);
            let alias = room.state_event(&StateEventType::RoomCanonicalAlias, "");
            if alias.is_some() && may(TimelineEventType::RoomCanonicalAlias) {
                drafts.push(state(StateEventType::RoomCanonicalAlias, &json!({}))?);
            }
            if may(TimelineEventType::RoomPowerLevels)
                && let Some(closed) = closed_levels(room)
            {
                let event_type = StateEventType::RoomPowerLevels;
                drafts.push(Draft::state(event_type, "", closed));
            }
            let planned = drafts.into_iter();
            let planned = planned.map(|draft| Planned::by(actor, draft).decided());
            Ok(planned.collect())
        };
        self.update(old, actor, None, plan).await.map(drop)
    }

    async fn move_names(
        &self,
        old: RoomNid,
        new: RoomNid,
        was_published: bool,
    ) -> Result<(), Error> {
        let mut conn = self.0.store.conn().await?;
        directory::move_aliases(&mut conn, old, new).await?;
        if was_published {
            directory::set_published(&mut conn, &[(old, false)]).await?;
        }
        Ok(())
    }
}

fn require_tombstone(room: &Room, actor: &Actor) -> Result<(), Error> {
    let levels = room.power_levels();
    if room.is_joined(&actor.user_id)
        && levels.may_send(&actor.user_id, &TimelineEventType::RoomTombstone, true)
    {
        return Ok(());
    }
    Err(Error::Forbidden("you may not upgrade this room".to_owned()))
}

fn state(event_type: StateEventType, content: &serde_json::Value) -> Result<Draft, Error> {
    Ok(Draft::state(event_type, "", build::content_from(content)?))
}

/// The levels of a room that has ended; `None` where they are as high already.
fn closed_levels(room: &Room) -> Option<CanonicalJsonObject> {
    let levels = room.power_levels();
    let event = room.state_event(&StateEventType::RoomPowerLevels, "")?;
    let mut content = build::content_from_json(event.pdu.content()).ok()?;
    let closed = CLOSED.max(i64::from(levels.users_default()).saturating_add(1));
    let mut changed = false;
    for (key, now) in [
        ("events_default", levels.events_default()),
        ("invite", levels.invite()),
    ] {
        if i64::from(now) < closed {
            let closed = CanonicalJsonValue::Integer(Int::try_from(closed).ok()?);
            content.insert(key.to_owned(), closed);
            changed = true;
        }
    }
    changed.then_some(content)
}

/// What the new room follows from.
struct Successor<'a> {
    old: &'a Room,
    creator: &'a UserId,
    creators: &'a [OwnedUserId],
    rules: &'a AuthorizationRules,
}

impl Successor<'_> {
    fn create(&self) -> Result<CanonicalJsonObject, Error> {
        let create = self.old.create_event();
        let before = create.map(|create| build::content_from_json(create.pdu.content()));
        let before = before.transpose()?.unwrap_or_default();
        let mut predecessor = json!({ "room_id": self.old.room_id() });
        // From room version 12 on it may be left out, and says nothing that is needed.
        if !self.rules.room_create_event_id_as_room_id
            && let Some(last) = self.old.extremities().first()
            && let Some(predecessor) = predecessor.as_object_mut()
        {
            predecessor.insert("event_id".to_owned(), json!(last));
        }
        let mut content = build::content_from(&json!({ "predecessor": predecessor }))?;
        for key in ["type", "m.federate"] {
            if let Some(value) = before.get(key) {
                content.insert(key.to_owned(), value.clone());
            }
        }
        if !self.creators.is_empty() {
            let creators = self.creators.iter();
            let creators = creators.map(|user_id| CanonicalJsonValue::String(user_id.to_string()));
            let creators = CanonicalJsonValue::Array(creators.collect());
            content.insert("additional_creators".to_owned(), creators);
        }
        Ok(content)
    }

    /// The state of the new room. The power levels come last: until then its creator may do
    /// everything, whatever their level will be.
    fn state(&self) -> Result<Vec<Draft>, Error> {
        let mut drafts = Vec::new();
        for event_type in MOVED {
            let event_type = StateEventType::from(*event_type);
            if let Some(event) = self.old.state_event(&event_type, "") {
                drafts.push(copy(event_type, "", event)?);
            }
        }
        for event_type in [StateEventType::SpaceChild, StateEventType::SpaceParent] {
            for event in self.old.state_of_type(&event_type) {
                if let Some(state_key) = event.pdu.state_key()
                    && spaces::is_child(event.pdu.content_str())
                {
                    drafts.push(copy(event_type.clone(), state_key, event)?);
                }
            }
        }
        for event in self.old.state_of_type(&StateEventType::RoomMember) {
            if event.pdu.membership() == Some(&MembershipState::Ban)
                && let Some(Ok(user_id)) = event.pdu.state_key().map(<&UserId>::try_from)
            {
                drafts.push(MemberContent::new(MembershipState::Ban).draft(user_id)?);
            }
        }
        if let Some(event) = self.old.state_event(&StateEventType::RoomPowerLevels, "") {
            let levels = self.levels(build::content_from_json(event.pdu.content())?)?;
            drafts.push(Draft::state(StateEventType::RoomPowerLevels, "", levels));
        }
        Ok(drafts)
    }

    /// The levels of the old room, without those who stand above them in the new one. Those who stood
    /// above them in the old one lead the new one where nobody stands above them there; else who
    /// replaces a room says who its creators are, and they are named for that.
    fn levels(&self, mut content: CanonicalJsonObject) -> Result<CanonicalJsonObject, Error> {
        let users = content
            .entry("users".to_owned())
            .or_insert_with(|| CanonicalJsonValue::Object(CanonicalJsonObject::new()));
        let CanonicalJsonValue::Object(users) = users else {
            let message = "`users` of the power levels is not an object";
            return Err(Error::BadContent(message.to_owned()));
        };
        let now_above: HashSet<&UserId> = if self.rules.explicitly_privilege_room_creators {
            let others = self.creators.iter().map(|user_id| &**user_id);
            others.chain([self.creator]).collect()
        } else {
            HashSet::new()
        };
        if now_above.is_empty() {
            for user_id in self.old.power_levels().infinite_users() {
                let leader = CanonicalJsonValue::Integer(Int::from(LEADER));
                users.insert(user_id.to_string(), leader);
            }
        }
        users.retain(|name, _| now_above.iter().all(|user_id| user_id.as_str() != name));
        Ok(content)
    }
}

fn copy(event_type: StateEventType, state_key: &str, event: &StateEvent) -> Result<Draft, Error> {
    let content = build::content_from_json(event.pdu.content())?;
    Ok(Draft::state(event_type, state_key, content))
}
