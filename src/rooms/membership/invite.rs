//! Inviting users.
//!
//! Client-server API v1.19, `POST /rooms/{roomId}/invite`.

use ruma::{RoomId, UserId, events::room::member::MembershipState};

use super::{super::send::require_joined, MemberContent};
use crate::{
    event::Room,
    rooms::{Actor, Error, Planned, Rooms},
    store::{account_data, live},
};

impl Rooms {
    /// Invites a user of this server. Somebody who is invited already gets no second event.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for a user who is joined or banned, or where the sender's level is too
    /// low; [`Error::Unreachable`] for a user of another server; [`Error::InviteBlocked`] for one who
    /// refuses invitations.
    pub async fn invite(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        user_id: &UserId,
        reason: Option<&str>,
    ) -> Result<(), Error> {
        // Members first: strangers do not learn anything of users.
        self.joined_room(room_id, &actor.user_id).await?;
        self.require_reachable(user_id)?;
        self.require_welcome(actor, &[user_id]).await?;
        let user = self.0.store.user_number(user_id).await?;
        let shown = self.shown(user).await?;
        let plan = |room: &Room| {
            require_joined(room, actor)?;
            let levels = room.power_levels();
            if levels.user(&actor.user_id) < levels.invite() {
                return Err(Error::Forbidden(
                    "you may not invite to this room".to_owned(),
                ));
            }
            match room.membership(user_id) {
                MembershipState::Invite => Ok(Vec::new()),
                MembershipState::Join => {
                    let message = "the user is in the room already";
                    Err(Error::Forbidden(message.to_owned()))
                }
                MembershipState::Ban => Err(Error::Forbidden("the user is banned".to_owned())),
                _ => {
                    let content = MemberContent {
                        reason,
                        ..MemberContent::showing(MembershipState::Invite, &shown)
                    };
                    Ok(vec![Planned::by(actor, content.draft(user_id)?)])
                }
            }
        };
        self.update(room_id, actor, None, plan).await.map(drop)
    }

    /// Makes sure that none of these users of this server refuses invitations (client-server API
    /// v1.19, "Invite permission"). What the operator has to say, nobody refuses.
    ///
    /// # Errors
    /// [`Error::InviteBlocked`].
    pub(in crate::rooms) async fn require_welcome(
        &self,
        actor: &Actor,
        user_ids: &[&UserId],
    ) -> Result<(), Error> {
        let is_operator = self.0.settings.notices_user.as_ref() == Some(&actor.user_id);
        let is_known =
            |user_id: &&UserId| self.is_local(user_id) && !user_id.as_str().contains('\0');
        let local: Vec<&UserId> = user_ids.iter().copied().filter(is_known).collect();
        if is_operator || local.is_empty() {
            return Ok(());
        }
        let mut conn = self.0.store.conn().await?;
        let wishes = account_data::list_of_users(&mut conn, &local, live::INVITES).await?;
        if wishes.iter().any(|content| live::refuses_invites(content)) {
            return Err(Error::InviteBlocked);
        }
        Ok(())
    }
}
