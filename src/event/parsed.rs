//! What a loaded room knows of its state without parsing it again.

use ruma::{
    OwnedUserId,
    events::{
        StateEventType,
        room::{guest_access::GuestAccess, history_visibility::HistoryVisibility},
    },
    room::JoinRule,
    room_version_rules::AuthorizationRules,
    state_res::events::RoomCreateEvent,
};
use serde::Deserialize;

use super::{power_levels::PowerLevels, room::Room};

/// The parsed state.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) power_levels: PowerLevels,
    pub(super) creators: Vec<OwnedUserId>,
    pub(super) join_rule: JoinRule,
    pub(super) history_visibility: HistoryVisibility,
    pub(super) guest_access: GuestAccess,
}

#[derive(Deserialize)]
struct HistoryVisibilityContent {
    history_visibility: HistoryVisibility,
}

#[derive(Deserialize)]
struct GuestAccessContent {
    guest_access: GuestAccess,
}

impl Default for Parsed {
    fn default() -> Self {
        Self {
            power_levels: PowerLevels::new(None, &[], &AuthorizationRules::V1),
            creators: Vec::new(),
            join_rule: JoinRule::Invite,
            history_visibility: HistoryVisibility::Shared,
            guest_access: GuestAccess::Forbidden,
        }
    }
}

impl Parsed {
    /// Whether a state event of this type, with an empty state key, changes what is parsed.
    pub(super) fn depends_on(event_type: &StateEventType) -> bool {
        matches!(
            event_type,
            StateEventType::RoomCreate
                | StateEventType::RoomPowerLevels
                | StateEventType::RoomJoinRules
                | StateEventType::RoomHistoryVisibility
                | StateEventType::RoomGuestAccess
        )
    }

    /// Parses the state. What cannot be understood counts as missing.
    pub(super) fn new(room: &Room) -> Self {
        let rules = &room.rules().authorization;
        let mut creators = room
            .create_event()
            .and_then(|event| RoomCreateEvent::new(&*event.pdu).creators(rules).ok())
            .map(Vec::from_iter)
            .unwrap_or_default();
        creators.sort_unstable();
        let power_levels = room.state_event(&StateEventType::RoomPowerLevels, "");
        let power_levels = power_levels.map(|event| &*event.pdu);

        let visibility: Option<HistoryVisibilityContent> =
            room.state_content(&StateEventType::RoomHistoryVisibility, "");
        let guest_access: Option<GuestAccessContent> =
            room.state_content(&StateEventType::RoomGuestAccess, "");
        Self {
            power_levels: PowerLevels::new(power_levels, &creators, rules),
            creators,
            join_rule: room
                .state_content(&StateEventType::RoomJoinRules, "")
                .unwrap_or(JoinRule::Invite),
            history_visibility: visibility.map_or(HistoryVisibility::Shared, |content| {
                content.history_visibility
            }),
            guest_access: guest_access
                .map_or(GuestAccess::Forbidden, |content| content.guest_access),
        }
    }
}
