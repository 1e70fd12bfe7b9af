//! What a new room holds, from what its creator asks for. Pure.
//!
//! Client-server API v1.19, `POST /createRoom`: the presets, and the order of the events.

use std::collections::{BTreeSet, HashSet};

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, Int, OwnedRoomAliasId, OwnedUserId, RoomVersionId,
    UserId,
    api::client::room::{
        Visibility,
        create_room::v3::{CreationContent, Request, RoomPreset},
    },
    events::StateEventType,
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use crate::{
    event::{Draft, build, version::VersionRules},
    rooms::{Error, membership::ThirdPartyInvite, state_rules},
};

/// The level of creators up to room version 11.
const CREATOR_LEVEL: i32 = 100;

/// What somebody wants a room to be, checked as far as it can be without the database.
pub(in crate::rooms) struct Blueprint {
    /// The room version.
    pub(in crate::rooms) version: RoomVersionId,
    /// The content of the create event.
    pub(in crate::rooms) create: CanonicalJsonObject,
    /// The state after the creator has joined, in order, without the invites.
    pub(in crate::rooms) state: Vec<Draft>,
    /// Who is invited: nobody twice, and not the creator.
    pub(in crate::rooms) invite: Vec<OwnedUserId>,
    /// Which addresses are invited.
    pub(in crate::rooms) addresses: Vec<ThirdPartyInvite>,
    /// Whether the invites say that this is a direct chat.
    pub(in crate::rooms) is_direct: bool,
    /// Whether the room is published in the directory.
    pub(in crate::rooms) is_published: bool,
}

/// A state event as `initial_state` holds it.
#[derive(Deserialize)]
struct InitialState {
    #[serde(rename = "type")]
    event_type: StateEventType,
    #[serde(default)]
    state_key: String,
    content: Box<RawValue>,
}

impl Blueprint {
    /// Checks a request. `alias` is the whole alias for its `room_alias_name`.
    pub(in crate::rooms) fn new(
        request: &Request,
        creator: &UserId,
        version: RoomVersionId,
        alias: Option<&OwnedRoomAliasId>,
    ) -> Result<Self, Error> {
        let Some(rules) = VersionRules::of(&version) else {
            return Err(Error::UnsupportedVersion(version));
        };
        let mut seen = HashSet::from([creator]);
        let invite: Vec<_> = request
            .invite
            .iter()
            .filter(|user_id| seen.insert(user_id))
            .cloned()
            .collect();
        let preset = preset(request)?;
        let trusted: &[_] = match preset {
            RoomPreset::TrustedPrivateChat => &invite,
            _ => &[],
        };
        let parts = Parts {
            request,
            creator,
            rules,
            preset,
            trusted,
            alias,
        };
        Ok(Self {
            create: parts.create()?,
            state: parts.state()?,
            version,
            invite,
            addresses: Vec::new(),
            is_direct: request.is_direct,
            is_published: request.visibility == Visibility::Public,
        })
    }

    /// Puts an event with an empty state key into the state, in the place of the one of its type if
    /// there is one.
    pub(super) fn put(&mut self, event: Draft) {
        let same = |known: &Draft| {
            known.event_type == event.event_type && known.state_key == event.state_key
        };
        match self.state.iter().position(same) {
            Some(at) => {
                if let Some(place) = self.state.get_mut(at) {
                    *place = event;
                }
            }
            None => self.state.push(event),
        }
    }

    /// Everything after the create event, the creator's `join` first and the `invites` last.
    pub(in crate::rooms) fn drafts(&self, join: Draft, invites: Vec<Draft>) -> Vec<Draft> {
        let state = self.state.iter().cloned();
        std::iter::once(join).chain(state).chain(invites).collect()
    }
}

fn preset(request: &Request) -> Result<RoomPreset, Error> {
    match (&request.preset, &request.visibility) {
        (None, Visibility::Public) => Ok(RoomPreset::PublicChat),
        (None, _) => Ok(RoomPreset::PrivateChat),
        (Some(preset), _) => match preset {
            RoomPreset::PrivateChat | RoomPreset::PublicChat | RoomPreset::TrustedPrivateChat => {
                Ok(preset.clone())
            }
            _ => Err(Error::Invalid("there is no such preset".to_owned())),
        },
    }
}

/// What the parts of a new room follow from.
struct Parts<'a> {
    request: &'a Request,
    creator: &'a UserId,
    rules: VersionRules,
    preset: RoomPreset,
    /// Whoever is invited with the creator's level.
    trusted: &'a [OwnedUserId],
    alias: Option<&'a OwnedRoomAliasId>,
}

impl Parts<'_> {
    /// The create event's content; what the room version adds comes later.
    fn create(&self) -> Result<CanonicalJsonObject, Error> {
        let Some(raw) = &self.request.creation_content else {
            let mut content = CanonicalJsonObject::new();
            self.add_creators(&mut content, Vec::new());
            return Ok(content);
        };
        let bad =
            |error: serde_json::Error| Error::BadContent(format!("creation_content: {error}"));
        let parsed: CreationContent = serde_json::from_str(raw.json().get()).map_err(bad)?;
        let mut content = build::content_from_json(raw.json())?;
        content.remove("creator");
        content.remove("room_version");
        self.add_creators(&mut content, parsed.additional_creators);
        Ok(content)
    }

    /// From room version 12 on, trusted users are creators too.
    fn add_creators(&self, content: &mut CanonicalJsonObject, asked: Vec<OwnedUserId>) {
        if !self.rules.authorization.additional_room_creators {
            return;
        }
        let mut seen = HashSet::new();
        let creators: Vec<_> = asked
            .into_iter()
            .chain(self.trusted.iter().cloned())
            .filter(|user_id| user_id != self.creator && seen.insert(user_id.clone()))
            .map(|user_id| CanonicalJsonValue::String(user_id.into()))
            .collect();
        content.remove("additional_creators");
        if !creators.is_empty() {
            let creators = CanonicalJsonValue::Array(creators);
            content.insert("additional_creators".to_owned(), creators);
        }
    }

    /// The state between the creator's join and the invites, in the specification's order. What
    /// stands in `initial_state` takes the place of what the preset says, and is taken over by
    /// name and topic.
    fn state(&self) -> Result<Vec<Draft>, Error> {
        let mut initial = self.initial_state()?;
        let levels = take(&mut initial, &StateEventType::RoomPowerLevels);
        let levels = levels.map_or_else(|| self.default_levels(), |draft| Ok(draft.content))?;
        let mut state = vec![self.levels(levels)?];
        let has = |initial: &[Draft], event_type: &StateEventType| {
            initial.iter().any(|draft| is(draft, event_type))
        };
        if let Some(alias) = self.alias
            && !has(&initial, &StateEventType::RoomCanonicalAlias)
        {
            let content = json!({ "alias": alias });
            state.push(draft(StateEventType::RoomCanonicalAlias, &content)?);
        }
        let (join_rule, guest_access) = match self.preset {
            RoomPreset::PublicChat => ("public", "forbidden"),
            _ => ("invite", "can_join"),
        };
        let defaults = [
            (
                StateEventType::RoomJoinRules,
                json!({ "join_rule": join_rule }),
            ),
            (
                StateEventType::RoomHistoryVisibility,
                json!({ "history_visibility": "shared" }),
            ),
            (
                StateEventType::RoomGuestAccess,
                json!({ "guest_access": guest_access }),
            ),
        ];
        for (event_type, content) in defaults {
            if !has(&initial, &event_type) {
                state.push(draft(event_type, &content)?);
            }
        }
        let mut texts = Vec::new();
        if let Some(name) = &self.request.name {
            take(&mut initial, &StateEventType::RoomName);
            texts.push(draft(StateEventType::RoomName, &json!({ "name": name }))?);
        }
        if let Some(topic) = &self.request.topic {
            take(&mut initial, &StateEventType::RoomTopic);
            // `text/plain` is what a representation without a type is.
            let content = json!({ "topic": topic, "m.topic": { "m.text": [{ "body": topic }] } });
            texts.push(draft(StateEventType::RoomTopic, &content)?);
        }
        state.extend(initial);
        state.extend(texts);
        Ok(state)
    }

    /// The events of `initial_state`.
    fn initial_state(&self) -> Result<Vec<Draft>, Error> {
        let initial = initial_state(self.request)?;
        for draft in &initial {
            if is(draft, &StateEventType::RoomCanonicalAlias) {
                self.check_canonical_alias(&draft.content)?;
            }
        }
        Ok(initial)
    }

    /// No other alias than the one that is made along can point to a room that is not there yet.
    fn check_canonical_alias(&self, content: &CanonicalJsonObject) -> Result<(), Error> {
        let mut named: BTreeSet<_> = state_rules::named_aliases(content)?;
        if let Some(alias) = self.alias {
            named.remove(alias);
        }
        match named.first() {
            None => Ok(()),
            Some(alias) => Err(Error::BadAlias(format!(
                "the alias {alias} does not point to this room"
            ))),
        }
    }

    /// The levels that `power_level_content_override` is put on.
    fn default_levels(&self) -> Result<CanonicalJsonObject, Error> {
        let has_infinite = self.rules.authorization.explicitly_privilege_room_creators;
        let mut users = CanonicalJsonObject::new();
        let level = CanonicalJsonValue::Integer(Int::from(CREATOR_LEVEL));
        if !has_infinite {
            let creator = std::iter::once(self.creator);
            for user_id in creator.chain(self.trusted.iter().map(|user_id| &**user_id)) {
                users.insert(user_id.as_str().to_owned(), level.clone());
            }
        }
        let mut content = build::content_from(&json!({
            "users_default": 0,
            "events_default": 0,
            "state_default": 50,
            "ban": 50,
            "kick": 50,
            "redact": 50,
            "invite": if self.preset == RoomPreset::PublicChat { 50 } else { 0 },
            "historical": 100,
            "events": {
                "m.room.name": 50,
                "m.room.power_levels": 100,
                "m.room.history_visibility": 100,
                "m.room.canonical_alias": 50,
                "m.room.avatar": 50,
                // Only creators end a room that has some for ever.
                "m.room.tombstone": if has_infinite { 150 } else { 100 },
                "m.room.server_acl": 100,
                "m.room.encryption": 100,
            },
        }))?;
        content.insert("users".to_owned(), CanonicalJsonValue::Object(users));
        Ok(content)
    }

    fn levels(&self, mut content: CanonicalJsonObject) -> Result<Draft, Error> {
        if let Some(raw) = &self.request.power_level_content_override {
            content.extend(build::content_from_json(raw.json())?);
        }
        let event_type = StateEventType::RoomPowerLevels;
        state_rules::check_content(&event_type, "", &content)?;
        Ok(Draft::state(event_type, "", content))
    }
}

/// The events of `initial_state`; of two with the same type and state key the later one.
pub(super) fn initial_state(request: &Request) -> Result<Vec<Draft>, Error> {
    let mut initial: Vec<Draft> = Vec::new();
    for raw in &request.initial_state {
        let bad = |error: serde_json::Error| Error::BadContent(format!("initial_state: {error}"));
        let event: InitialState = serde_json::from_str(raw.json().get()).map_err(bad)?;
        let content = build::content_from_json(&event.content)?;
        state_rules::check_content(&event.event_type, &event.state_key, &content)?;
        if let StateEventType::RoomCreate | StateEventType::RoomMember = event.event_type {
            let message = format!("initial_state holds no {}", event.event_type);
            return Err(Error::Invalid(message));
        }
        let draft = Draft::state(event.event_type, event.state_key, content);
        initial.retain(|known| {
            known.event_type != draft.event_type || known.state_key != draft.state_key
        });
        initial.push(draft);
    }
    Ok(initial)
}

fn draft(event_type: StateEventType, content: &serde_json::Value) -> Result<Draft, Error> {
    Ok(Draft::state(event_type, "", build::content_from(content)?))
}

/// Whether a draft is the room's one event of this type.
fn is(draft: &Draft, event_type: &StateEventType) -> bool {
    draft.state_key.as_deref() == Some("") && draft.event_type.to_string() == event_type.to_string()
}

fn take(drafts: &mut Vec<Draft>, event_type: &StateEventType) -> Option<Draft> {
    let at = drafts.iter().position(|draft| is(draft, event_type))?;
    Some(drafts.remove(at))
}
