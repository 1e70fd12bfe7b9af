//! How a user has sorted their rooms, whom they ignore, and whether they may be invited: what account
//! data says of it.

use std::collections::HashSet;

use ruma::{OwnedRoomId, OwnedUserId};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::store::RoomNid;

/// The users whom a user ignores.
pub type Ignored = HashSet<OwnedUserId>;

/// The account data that names the users whom a user ignores.
pub(super) const IGNORED_USERS: &str = "m.ignored_user_list";

/// The users whom a content of `m.ignored_user_list` names (client-server API v1.19, "Ignoring
/// Users"). What makes no sense names nobody.
pub(super) fn ignored_users(content: &str) -> Ignored {
    #[derive(Deserialize)]
    struct Content {
        ignored_users: serde_json::Map<String, Value>,
    }
    let content = serde_json::from_str::<Content>(content);
    let users = content.map(|content| content.ignored_users);
    let users = users.unwrap_or_default().into_iter();
    users
        .map(|(user_id, _)| user_id)
        .filter(|user_id| !user_id.contains('\0'))
        .filter_map(|user_id| OwnedUserId::try_from(user_id).ok())
        .collect()
}

/// Whether a content of `m.invite_permission_config` refuses all invitations (client-server API v1.19,
/// "Invite permission").
pub fn refuses_invites(content: &str) -> bool {
    #[derive(Deserialize)]
    struct Content {
        default_action: String,
    }
    let content = serde_json::from_str::<Content>(content);
    content.is_ok_and(|content| content.default_action == "block")
}

/// How a user has sorted their rooms, and whether they may be invited, by account data.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// The direct chats, by `m.direct`.
    pub direct: HashSet<OwnedRoomId>,
    /// The names of the tags, by `m.tag`.
    pub tags: std::collections::HashMap<RoomNid, Vec<String>>,
    /// Whether the user refuses all invitations, by `m.invite_permission_config`.
    pub refuses_invites: bool,
}

/// The account data with the direct chats.
const DIRECT: &str = "m.direct";
/// The account data with the tags of a room.
const TAG: &str = "m.tag";
/// The account data by which a user refuses invitations.
pub const INVITES: &str = "m.invite_permission_config";
/// The most direct chats and the most tags of a room that lists of rooms know of.
const MAX_LABELS: usize = 10_000;

impl Labels {
    /// Takes in what account data says; types that say nothing of this are passed over.
    pub fn apply(&mut self, room: Option<RoomNid>, event_type: &str, content: &RawValue) {
        match (room, event_type) {
            (None, DIRECT) => {
                let rooms = serde_json::from_str::<Value>(content.get()).unwrap_or_default();
                let rooms = rooms
                    .as_object()
                    .into_iter()
                    .flat_map(|by_user| by_user.values());
                let ids = rooms.filter_map(Value::as_array).flatten();
                let ids = ids.filter_map(Value::as_str).take(MAX_LABELS);
                self.direct = ids.filter_map(|id| id.try_into().ok()).collect();
            }
            (None, INVITES) => self.refuses_invites = refuses_invites(content.get()),
            (Some(room), TAG) => {
                let content = serde_json::from_str::<Value>(content.get()).unwrap_or_default();
                let tags = content.get("tags").and_then(Value::as_object);
                let tags: Vec<_> = tags
                    .into_iter()
                    .flat_map(|tags| tags.keys().take(MAX_LABELS).cloned())
                    .collect();
                if tags.is_empty() {
                    self.tags.remove(&room);
                } else {
                    self.tags.insert(room, tags);
                }
            }
            _ => {}
        }
    }

    /// Whether account data of a type says anything of this.
    pub(super) fn concerns(event_type: &str) -> bool {
        matches!(event_type, DIRECT | TAG | INVITES)
    }
}
