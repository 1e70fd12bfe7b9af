//! Leaving rooms, and forgetting them.
//!
//! Client-server API v1.19, `POST /rooms/{roomId}/leave` and `POST /rooms/{roomId}/forget`.

use ruma::{
    RoomId,
    events::{StateEventType, room::member::MembershipState},
};

use super::MemberContent;
use crate::{
    event::{Draft, Room},
    policy::rooms::People,
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
        let heirs = self.heirs(actor, room_id).await?;
        match self.leave_to(actor, room_id, reason, heirs.as_ref()).await {
            // A leave is never refused because of what should go before it.
            Err(Error::Forbidden(_) | Error::Event(_) | Error::Denied(_)) if heirs.is_some() => {
                self.leave_to(actor, room_id, reason, None).await
            }
            outcome => outcome,
        }
    }

    /// Who could lead a room after its last administrator, as far as the policy wants to know;
    /// `None`: nobody needs to be found.
    async fn heirs(&self, actor: &Actor, room_id: &RoomId) -> Result<Option<People>, Error> {
        let Some(room) = self.find_room(room_id).await? else {
            return Ok(None);
        };
        let (head, policy) = (room.head(), self.policy());
        let needs = policy.rooms().succession_needs(head.room(), &actor.user_id);
        match needs {
            Some(users) => Ok(Some(self.people(&policy, &users).await?)),
            None => Ok(None),
        }
    }

    /// Leaves a room, after its lead was given to `heirs` where the policy says so (tchap.md, 10.3).
    async fn leave_to(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        reason: Option<&str>,
        heirs: Option<&People>,
    ) -> Result<(), Error> {
        let policy = self.policy();
        let plan = |room: &Room| {
            let member = room.member(&actor.user_id).ok_or(Error::NotJoined)?;
            let is_invited = member.pdu.membership() == Some(&MembershipState::Invite);
            let creator = room.create_event().map(|create| create.pdu.sender());
            let notices_user = self.0.settings.notices_user.as_deref();
            if is_invited && creator.is_some() && creator == notices_user {
                return Err(Error::NoticesRoom);
            }
            match member.pdu.membership() {
                Some(MembershipState::Leave) => Ok(Vec::new()),
                Some(MembershipState::Ban) => Err(Error::Forbidden("you are banned".to_owned())),
                _ => {
                    let content = MemberContent {
                        reason,
                        ..MemberContent::new(MembershipState::Leave)
                    };
                    let succession = heirs.and_then(|heirs| {
                        let rooms = policy.rooms();
                        rooms.succession(room, &actor.user_id, heirs)
                    });
                    let levels = succession.map(|succession| {
                        let event_type = StateEventType::RoomPowerLevels;
                        Planned::by(actor, Draft::state(event_type, "", succession.levels))
                    });
                    let leave = Planned::by(actor, content.draft(&actor.user_id)?);
                    Ok(levels.into_iter().chain([leave]).collect())
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
