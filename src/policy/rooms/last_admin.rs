//! Who leads a room when its last administrator leaves (tchap.md, 10.3).
//!
//! The leave itself is never refused: what is decided here is only whether a power levels event
//! goes before it, sent by whoever leaves.

use std::collections::BTreeSet;

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, Int, UserId,
    events::{
        StateEventType,
        room::{member::MembershipState, power_levels::UserPowerLevel},
    },
};

use super::{AccessRules, People, RoomPolicy, Rule, Standing};
use crate::event::Room;

/// The level of an administrator.
const ADMIN: i64 = 100;
/// The most members who are made administrators one by one: a power levels event has to hold them
/// all. Those who have been in the room the longest come first.
const MAX_PROMOTED: usize = 300;

/// A power levels event to send before the last administrator leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Succession {
    /// The row that decided.
    pub rule: &'static str,
    /// The content of the event.
    pub levels: CanonicalJsonObject,
}

/// What a room is to these rules.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Private,
    Public,
    /// Open to externals, a direct chat, or anything else.
    Open,
}

impl Kind {
    fn of(room: &Room) -> Self {
        match AccessRules::of(room) {
            Some(access) if access.is_public() => Self::Public,
            None => Self::Private,
            Some(access) if access.rule == Rule::Restricted => Self::Private,
            Some(_) => Self::Open,
        }
    }
}

impl RoomPolicy<'_> {
    /// The users whose standing must be known before `leaver` leaves a room; `None`: nobody has to
    /// be found for them, since they do not lead it, or others do, or nobody else is there.
    pub fn succession_needs<'r>(&self, room: &'r Room, leaver: &UserId) -> Option<Vec<&'r UserId>> {
        if self.0.is_open() || !is_last_admin(room, leaver) {
            return None;
        }
        let mut users = moderators(room, leaver);
        if Kind::of(room) != Kind::Private {
            users.extend(oldest_members(room, leaver));
        }
        let is_alone = present(room, leaver).next().is_none();
        (!is_alone).then_some(users)
    }

    /// The power levels that a room needs when `leaver` leaves; `people` are those whom
    /// [`Self::succession_needs`] named.
    pub fn succession(&self, room: &Room, leaver: &UserId, people: &People) -> Option<Succession> {
        if self.0.is_open() || !is_last_admin(room, leaver) {
            return None;
        }
        // LA-06.
        present(room, leaver).next()?;
        let kind = Kind::of(room);
        let is_agent = |user_id: &&UserId| people.standing(user_id) != Standing::External;
        let mut moderators = moderators(room, leaver);
        let had_moderators = !moderators.is_empty();
        moderators.retain(|user_id| is_agent(user_id));
        if self.0.rooms.promote_moderators && !moderators.is_empty() {
            let level = |user_id: &UserId| named_level(room, user_id);
            let highest = moderators.iter().map(|user_id| level(user_id)).max();
            moderators.retain(|user_id| Some(level(user_id)) == highest);
            let rule = if kind == Kind::Open { "LA-05" } else { "LA-03" };
            return promote(room, leaver, rule, &moderators);
        }
        if kind == Kind::Private {
            return everybody(room);
        }
        let mut members = oldest_members(room, leaver);
        members.retain(|user_id| is_agent(user_id));
        let rule = match kind {
            Kind::Public => "LA-09",
            _ if had_moderators => "LA-08",
            _ => "LA-04",
        };
        promote(room, leaver, rule, &members)
    }
}

/// Whether a member leads a room that nobody else leads who is joined or invited.
fn is_last_admin(room: &Room, leaver: &UserId) -> bool {
    let levels = room.power_levels();
    let leads = |user_id: &UserId| match levels.user(user_id) {
        UserPowerLevel::Int(level) => i64::from(level) >= ADMIN,
        _ => true,
    };
    if !room.is_joined(leaver) || !leads(leaver) || i64::from(levels.users_default()) >= ADMIN {
        return false;
    }
    let named = levels.users().map(|(user_id, _)| user_id);
    let mut others = levels.infinite_users().chain(named);
    !others.any(|user_id| user_id != leaver && leads(user_id) && is_present(room, user_id))
}

fn is_present(room: &Room, user_id: &UserId) -> bool {
    matches!(
        room.membership(user_id),
        MembershipState::Join | MembershipState::Invite
    )
}

/// The others who are joined or invited.
fn present<'r>(room: &'r Room, leaver: &UserId) -> impl Iterator<Item = &'r UserId> {
    let leaver = leaver.to_owned();
    let members = room.joined_members().chain(room.invited_members());
    members.filter(move |user_id| **user_id != *leaver)
}

fn named_level(room: &Room, user_id: &UserId) -> i64 {
    match room.power_levels().user(user_id) {
        UserPowerLevel::Int(level) => i64::from(level),
        _ => ADMIN,
    }
}

/// Those who are joined or invited and stand above the default.
fn moderators<'r>(room: &'r Room, leaver: &UserId) -> Vec<&'r UserId> {
    let levels = room.power_levels();
    let default = levels.users_default();
    let above = levels.users().filter(|(_, level)| *level > default);
    above
        .map(|(user_id, _)| user_id)
        .filter(|user_id| *user_id != leaver && is_present(room, user_id))
        .collect()
}

/// The joined members at the default level, those who came first first.
fn oldest_members<'r>(room: &'r Room, leaver: &UserId) -> Vec<&'r UserId> {
    let levels = room.power_levels();
    let named: BTreeSet<&UserId> = levels.users().map(|(user_id, _)| user_id).collect();
    let joined = room.joined_members();
    let mut members: Vec<_> = joined
        .filter(|user_id| *user_id != leaver && !named.contains(user_id))
        .filter_map(|user_id| Some((room.member(user_id)?.position, user_id)))
        .collect();
    members.sort_unstable();
    members.truncate(MAX_PROMOTED);
    members.into_iter().map(|(_, user_id)| user_id).collect()
}

fn levels_of(room: &Room) -> CanonicalJsonObject {
    let event = room.state_event(&StateEventType::RoomPowerLevels, "");
    let content = event.and_then(|event| event.pdu.content_as());
    content.unwrap_or_default()
}

/// The leaver's level for these users.
fn promote(
    room: &Room,
    leaver: &UserId,
    rule: &'static str,
    promoted: &[&UserId],
) -> Option<Succession> {
    if promoted.is_empty() {
        return None;
    }
    let level = CanonicalJsonValue::Integer(Int::new(named_level(room, leaver))?);
    let mut levels = levels_of(room);
    let users = levels
        .entry("users".to_owned())
        .or_insert_with(|| CanonicalJsonValue::Object(CanonicalJsonObject::new()));
    let CanonicalJsonValue::Object(users) = users else {
        return None;
    };
    for user_id in promoted {
        users.insert(user_id.to_string(), level.clone());
    }
    Some(Succession { rule, levels })
}

/// LA-01: everybody leads a private room.
fn everybody(room: &Room) -> Option<Succession> {
    let admin = Int::new(ADMIN)?;
    let mut levels = levels_of(room);
    levels.insert(
        "users_default".to_owned(),
        CanonicalJsonValue::Integer(admin),
    );
    if let Some(CanonicalJsonValue::Object(users)) = levels.get_mut("users") {
        users.retain(
            |_, level| matches!(level, CanonicalJsonValue::Integer(level) if *level >= admin),
        );
    }
    Some(Succession {
        rule: "LA-01",
        levels,
    })
}
