//! Leaving rooms, and forgetting them.
//!
//! Client-server API v1.19, `POST /rooms/{roomId}/leave` and `POST /rooms/{roomId}/forget`.

use ruma::{RoomId, events::room::member::MembershipState};

use super::MemberContent;
use crate::{
    event::Room,
    rooms::{Actor, Error, Planned, Rooms},
};

impl Rooms {
    /// Leaves a room, refuses an invite, or takes a knock back. Somebody who has left already may
    /// do so again: nothing happens.
    ///
    /// # Errors
    /// [`Error::NotJoined`] for somebody who never had to do with the room;
    /// [`Error::Forbidden`] for somebody who is banned.
    pub async fn leave(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        reason: Option<&str>,
    ) -> Result<(), Error> {
        let plan = |room: &Room| {
            let member = room.member(&actor.user_id).ok_or(Error::NotJoined)?;
            match member.pdu.membership() {
                Some(MembershipState::Leave) => Ok(Vec::new()),
                Some(MembershipState::Ban) => Err(Error::Forbidden("you are banned".to_owned())),
                _ => {
                    let content = MemberContent {
                        reason,
                        ..MemberContent::new(MembershipState::Leave)
                    };
                    Ok(vec![Planned::by(actor, content.draft(&actor.user_id)?)])
                }
            }
        };
        match self.update(room_id, actor, None, plan).await {
            Err(Error::UnknownRoom) => Err(Error::NotJoined),
            outcome => outcome.map(drop),
        }
    }

    /// Forgets a room that the user has left: it is shown no more. Safe to do again.
    ///
    /// # Errors
    /// [`Error::NotLeft`] for every other room.
    pub async fn forget(&self, actor: &Actor, room_id: &RoomId) -> Result<(), Error> {
        let store = &self.0.store;
        let room = store.room_number(room_id).await?.ok_or(Error::NotLeft)?;
        if store.forget_room(actor.user, room).await? {
            Ok(())
        } else {
            Err(Error::NotLeft)
        }
    }
}
