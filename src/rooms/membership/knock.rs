//! Asking to be let in.
//!
//! Client-server API v1.19, "Knocking on rooms", `POST /knock/{roomIdOrAlias}`.

use ruma::{OwnedRoomId, RoomOrAliasId, events::room::member::MembershipState};

use super::MemberContent;
use crate::{
    event::Room,
    rooms::{Actor, Error, Planned, Rooms},
};

impl Rooms {
    /// Knocks on a room. A second knock changes nothing.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for members, for those who are invited or banned, and where the join
    /// rule does not allow it; else as [`Self::join`].
    pub async fn knock(
        &self,
        actor: &Actor,
        room: &RoomOrAliasId,
        reason: Option<&str>,
    ) -> Result<OwnedRoomId, Error> {
        let (room_id, _) = self.named_room(room).await?;
        let shown = self.shown(actor.user).await?;
        let plan = |room: &Room| match room.membership(&actor.user_id) {
            MembershipState::Knock => Ok(Vec::new()),
            MembershipState::Join => {
                Err(Error::Forbidden("you are in the room already".to_owned()))
            }
            MembershipState::Invite => Err(Error::Forbidden("you are invited".to_owned())),
            MembershipState::Ban => Err(Error::Forbidden("you are banned".to_owned())),
            _ => {
                let content = MemberContent {
                    reason,
                    ..MemberContent::showing(MembershipState::Knock, &shown)
                };
                Ok(vec![Planned::by(actor, content.draft(&actor.user_id)?)])
            }
        };
        self.update(&room_id, actor, None, plan).await?;
        Ok(room_id)
    }
}
