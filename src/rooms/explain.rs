//! What Tchap's rules would say of a room, for administrators who ask. Nothing is changed.

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, RoomId, UserId,
    api::client::room::create_room::v3::Request,
    events::{StateEventType, room::member::MembershipState},
};

use super::{Actor, Error, Planned, Rooms, create::Blueprint, create::Says};
use crate::{
    event::Draft,
    policy::{Explained, Explanation, Message, Violation, ViolationKind, rooms::Standing},
    store::UserNid,
};

const NOT_JOINED: Message = Message::fixed(
    "Seuls les membres du salon peuvent inviter.",
    "Only members of the room can invite.",
);
const LEVEL: Message = Message::fixed(
    "Le niveau de cette personne dans le salon ne lui permet pas d’inviter.",
    "This person's level in the room does not let them invite.",
);
const BANNED: Message = Message::fixed(
    "Cette personne est exclue du salon.",
    "This person is banned from the room.",
);

impl Rooms {
    /// Whether a user may invite another to a room: what Tchap's rules say, and what the room says.
    ///
    /// # Errors
    /// [`Error::UnknownRoom`].
    pub async fn explain_invite(
        &self,
        room_id: &RoomId,
        sender: &UserId,
        target: &UserId,
    ) -> Result<Explanation, Error> {
        let live = self.room(room_id).await?;
        let head = live.head();
        let room = head.room();
        let policy = self.policy();
        let people = self.people(&policy, &[target]).await?;
        let mut explanation = policy.explanation();
        explanation.external = people.standing(target) == Standing::External;

        let membership = CanonicalJsonValue::String("invite".to_owned());
        let content = CanonicalJsonObject::from([("membership".to_owned(), membership)]);
        let draft = Draft::state(StateEventType::RoomMember, target.as_str(), content);
        let actor = actor(sender);
        let decision = self
            .decide(live.nid(), room, &Planned::by(&actor, draft))
            .await?;
        explanation.push(Explained::of("invite", decision));

        let levels = room.power_levels();
        let denied = |reason, message| {
            let violation = Violation::new("Matrix", ViolationKind::Forbidden, reason, message);
            Explained::denied("room", violation)
        };
        explanation.push(if !room.is_joined(sender) {
            denied("not_joined", NOT_JOINED)
        } else if levels.user(sender) < levels.invite() {
            denied("power_level", LEVEL)
        } else if *room.membership(target) == MembershipState::Ban {
            denied("banned", BANNED)
        } else {
            Explained::allowed("room", "Matrix", None)
        });
        Ok(explanation)
    }

    /// Whether a user may make a room like this, and what it would get on the way. Invitations by
    /// e-mail are not looked at.
    ///
    /// # Errors
    /// What is wrong with the request itself, as for [`Self::create`].
    pub async fn explain_creation(
        &self,
        creator: &UserId,
        request: &Request,
        says: Says,
    ) -> Result<Explanation, Error> {
        let version = request.room_version.as_ref();
        let version = version.unwrap_or(&self.0.settings.default_version).clone();
        let mut blueprint = Blueprint::new(request, creator, version, None)?;
        let policy = self.policy();
        let standing = self.standing(&policy, creator).await?;
        let mut explanation = policy.explanation();
        explanation.external = standing == Standing::External;
        let asked = self
            .ask_to_create(&actor(creator), request, says, &mut blueprint)
            .await;
        explanation.push(match asked {
            Ok(rule) => Explained::allowed("create_room", rule, None),
            Err(Error::Denied(violation)) => Explained::denied("create_room", violation),
            Err(error) => return Err(error),
        });
        Ok(explanation)
    }
}

/// Decisions look at the id alone.
fn actor(user_id: &UserId) -> Actor {
    Actor {
        user_id: user_id.to_owned(),
        user: UserNid(0),
        device: None,
    }
}
