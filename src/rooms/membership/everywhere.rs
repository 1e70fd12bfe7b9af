//! What concerns all rooms of a user: leaving them when the account is closed, and showing a new
//! name or avatar. Both go through the rooms in the order of their numbers, a few at a time, so
//! that whoever does it can stop and go on; doing a room again changes nothing.

use futures_util::{StreamExt as _, future::BoxFuture, stream};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomId, UserId,
    events::{StateEventType, TimelineEventType, room::member::MembershipState},
};

use super::MemberContent;
use crate::{
    event::{Draft, Room},
    rooms::{Actor, Error, Planned, Rooms},
    store::{Membership, RoomNid, UserNid, profiles::Shown},
};

/// How many rooms of one user are written to at once.
const ROOMS_AT_ONCE: usize = 8;

/// What was done in some of a user's rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SomeRooms {
    /// The last room that was done, if others are left.
    pub next: Option<RoomNid>,
    /// How many of the rooms failed.
    pub failed: usize,
}

impl Rooms {
    /// Leaves the next rooms of a user whose account is closed, and refuses invites; the user's
    /// power level goes with them where somebody else can look after the room. `after`: the
    /// last room that was done. At most `limit` rooms are done.
    pub async fn leave_some(
        &self,
        actor: &Actor,
        after: Option<RoomNid>,
        limit: usize,
    ) -> Result<SomeRooms, Error> {
        let present = [Membership::Join, Membership::Invite, Membership::Knock];
        let (rooms, next) = self.next_rooms(actor.user, &present, after, limit).await?;
        let tasks = rooms.into_iter().map(|room_id| -> BoxFuture<'_, _> {
            Box::pin(async move {
                let resigned = self.update(&room_id, actor, None, |room: &Room| {
                    Ok(plan_resignation(room, actor))
                });
                // Whoever cannot give the level back leaves all the same.
                if let Err(error) = resigned.await {
                    tracing::info!(room.id = %room_id, %error, "a power level stays behind");
                }
                let outcome = self.leave(actor, &room_id, None).await;
                (room_id, outcome)
            })
        });
        let failed = finish(tasks.collect()).await;
        Ok(SomeRooms { next, failed })
    }

    /// Takes a user's power level away in the next rooms where somebody else can look after the room,
    /// and leaves the user in them. The rest is as in [`leave_some`](Self::leave_some).
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn resign_in_some(
        &self,
        actor: &Actor,
        after: Option<RoomNid>,
        limit: usize,
    ) -> Result<SomeRooms, Error> {
        let joined = [Membership::Join];
        let (rooms, next) = self.next_rooms(actor.user, &joined, after, limit).await?;
        let tasks = rooms.into_iter().map(|room_id| -> BoxFuture<'_, _> {
            Box::pin(async move {
                let plan = |room: &Room| Ok(plan_resignation(room, actor));
                let outcome = self.update(&room_id, actor, None, plan).await;
                (room_id, outcome.map(drop))
            })
        });
        let failed = finish(tasks.collect()).await;
        Ok(SomeRooms { next, failed })
    }

    /// Shows what a user's profile says now in the next rooms in which the user is joined. `actor`
    /// is the owner of the profile, whoever changed it. The rest is as in
    /// [`leave_some`](Self::leave_some).
    pub async fn show_profile_in_some(
        &self,
        actor: &Actor,
        after: Option<RoomNid>,
        limit: usize,
    ) -> Result<SomeRooms, Error> {
        let joined = [Membership::Join];
        let (rooms, next) = self.next_rooms(actor.user, &joined, after, limit).await?;
        let shown = &self.shown(actor.user).await?;
        let tasks = rooms.into_iter().map(|room_id| -> BoxFuture<'_, _> {
            Box::pin(async move {
                let plan = |room: &Room| plan_profile(room, actor, shown);
                let outcome = self.update(&room_id, actor, None, plan).await;
                (room_id, outcome.map(drop))
            })
        });
        let failed = finish(tasks.collect()).await;
        Ok(SomeRooms { next, failed })
    }

    /// The next rooms in which a user has one of these memberships, and the last of them if there
    /// are more.
    async fn next_rooms(
        &self,
        user: UserNid,
        memberships: &[Membership],
        after: Option<RoomNid>,
        limit: usize,
    ) -> Result<(Vec<OwnedRoomId>, Option<RoomNid>), Error> {
        let mut rooms = self.room_numbers_with(user, memberships).await?;
        rooms.retain(|room| Some(*room) > after);
        rooms.sort_unstable();
        let has_more = rooms.len() > limit;
        rooms.truncate(limit);
        let next = rooms.last().copied().filter(|_| has_more);
        let ids = self.0.store.room_ids(&rooms).await?;
        // Read together, and not each when its turn comes.
        self.0.store.load_rooms(&rooms).await?;
        Ok((ids.into_values().collect(), next))
    }
}

/// Waits for what is done in each of a user's rooms, a few at a time. A room that fails stops
/// nothing. Gives how many failed.
async fn finish(tasks: Vec<BoxFuture<'_, (OwnedRoomId, Result<(), Error>)>>) -> usize {
    let mut failed = 0;
    let mut outcomes = stream::iter(tasks).buffer_unordered(ROOMS_AT_ONCE);
    while let Some((room_id, outcome)) = outcomes.next().await {
        if let Err(error) = outcome {
            tracing::warn!(room.id = %room_id, %error, "one of a user's rooms was not updated");
            failed += 1;
        }
    }
    failed
}

/// The member event after a changed profile, in a room where the user is joined and shows
/// something else.
fn plan_profile(room: &Room, actor: &Actor, shown: &Shown) -> Result<Vec<Planned>, Error> {
    #[derive(serde::Deserialize)]
    struct Now {
        displayname: Option<String>,
        avatar_url: Option<String>,
    }
    if !room.is_joined(&actor.user_id) {
        return Ok(Vec::new());
    }
    let now = room.state_content::<Now>(&StateEventType::RoomMember, actor.user_id.as_str());
    if now.is_some_and(|now| {
        now.displayname == shown.display_name && now.avatar_url == shown.avatar_url
    }) {
        return Ok(Vec::new());
    }
    let content = MemberContent::showing(MembershipState::Join, shown);
    // Whether the name may be shown was decided when it was set, and who is in a room may stay
    // there (MR-04).
    let planned = Planned::by(actor, content.draft(&actor.user_id)?);
    Ok(vec![planned.decided()])
}

/// The power levels without the one of a user who leaves for good. None where the user has no
/// level, may not change levels, or is the last joined user who may: what becomes of such a room is
/// decided when they leave.
fn plan_resignation(room: &Room, actor: &Actor) -> Vec<Planned> {
    let levels = room.power_levels();
    let user_id = &*actor.user_id;
    let may_change =
        |user: &UserId| levels.may_send(user, &TimelineEventType::RoomPowerLevels, true);
    let has_level = levels
        .users()
        .any(|(user, level)| user == user_id && level != levels.users_default());
    let others = levels.users().map(|(user, _)| user);
    let mut others = others.chain(levels.infinite_users());
    let is_replaced =
        others.any(|other| other != user_id && room.is_joined(other) && may_change(other));
    if !has_level || !room.is_joined(user_id) || !may_change(user_id) || !is_replaced {
        return Vec::new();
    }
    let kind = StateEventType::RoomPowerLevels;
    let Some(mut content) = room.state_content::<CanonicalJsonObject>(&kind, "") else {
        return Vec::new();
    };
    let Some(CanonicalJsonValue::Object(users)) = content.get_mut("users") else {
        return Vec::new();
    };
    users.remove(user_id.as_str());
    vec![Planned::by(actor, Draft::state(kind, "", content))]
}
