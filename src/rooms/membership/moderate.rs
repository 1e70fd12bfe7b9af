//! Removing others from a room, and letting them back in.
//!
//! Client-server API v1.19, `POST /rooms/{roomId}/kick`, `…/ban` and `…/unban`.

use ruma::{RoomId, UserId, events::room::member::MembershipState};

use super::{super::send::require_joined, MemberContent};
use crate::{
    event::Room,
    rooms::{Actor, Error, Planned, Rooms},
};

impl Rooms {
    /// Removes somebody from a room, or takes an invite back.
    ///
    /// # Errors
    /// [`Error::Forbidden`] where the target is not there, or the sender's level is too low.
    pub async fn kick(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        user_id: &UserId,
        reason: Option<&str>,
    ) -> Result<(), Error> {
        let check = |now: &MembershipState| match now {
            MembershipState::Join | MembershipState::Invite | MembershipState::Knock => Ok(()),
            // A ban would end with a kick.
            _ => Err(Error::Forbidden("the user is not in the room".to_owned())),
        };
        let content = MemberContent {
            reason,
            ..MemberContent::new(MembershipState::Leave)
        };
        self.moderate(actor, room_id, user_id, &content, check)
            .await
    }

    /// Bans somebody, who need not be there. Who is banned already stays so, without a new event.
    ///
    /// # Errors
    /// [`Error::Forbidden`] where the sender's level is too low.
    pub async fn ban(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        user_id: &UserId,
        reason: Option<&str>,
    ) -> Result<(), Error> {
        if user_id.as_str().contains('\0') {
            return Err(Error::Invalid("the user id is not valid".to_owned()));
        }
        let content = MemberContent {
            reason,
            ..MemberContent::new(MembershipState::Ban)
        };
        self.moderate(actor, room_id, user_id, &content, |_| Ok(()))
            .await
    }

    /// Ends a ban.
    ///
    /// # Errors
    /// [`Error::Forbidden`] where there is none, or the sender's level is too low.
    pub async fn unban(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        user_id: &UserId,
        reason: Option<&str>,
    ) -> Result<(), Error> {
        let check = |now: &MembershipState| match now {
            MembershipState::Ban => Ok(()),
            _ => Err(Error::Forbidden("the user is not banned".to_owned())),
        };
        let content = MemberContent {
            reason,
            ..MemberContent::new(MembershipState::Leave)
        };
        self.moderate(actor, room_id, user_id, &content, check)
            .await
    }

    async fn moderate<C>(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        user_id: &UserId,
        content: &MemberContent<'_>,
        check: C,
    ) -> Result<(), Error>
    where
        C: Fn(&MembershipState) -> Result<(), Error> + Send + Sync,
    {
        let draft = content.draft(user_id)?;
        let plan = |room: &Room| {
            require_joined(room, actor)?;
            let now = room.membership(user_id);
            check(now)?;
            if *now == MembershipState::Ban && content.membership == MembershipState::Ban {
                // The authorization rules are not asked where there is no event.
                let levels = room.power_levels();
                return if levels.user(&actor.user_id) >= levels.ban() {
                    Ok(Vec::new())
                } else {
                    Err(Error::Forbidden("you may not ban here".to_owned()))
                };
            }
            Ok(vec![Planned::by(actor, draft.clone())])
        };
        match self.update(room_id, actor, None, plan).await {
            Err(Error::UnknownRoom) => Err(Error::NotJoined),
            outcome => outcome.map(drop),
        }
    }
}
