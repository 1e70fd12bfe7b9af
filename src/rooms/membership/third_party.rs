//! Inviting e-mail addresses: the event that stands for somebody without an account, and the
//! invite that it becomes.
//!
//! Client-server API v1.19, "Third-party invites"; tchap.md 5.1. Whom one may invite is decided
//! above; here is what happens in the room.

use std::sync::Arc;

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedUserId, RoomId, UserId,
    events::{StateEventType, room::member::MembershipState},
};
use serde::Deserialize;

use super::{super::send::require_joined, MemberContent};
use crate::{
    event::{Draft, Room},
    policy::rooms::ACCESS_RULES,
    rooms::{Actor, Error, Planned, Rooms},
    store::{
        invitations::{self, NewInvitation},
        live::LiveRoom,
    },
};

/// The longest name of a room that is taken over into a mail, in bytes.
const MAX_NAME: usize = 200;

/// An invitation of an address: its event, and what is remembered with it.
#[derive(Clone, Debug)]
pub struct ThirdPartyInvite {
    /// The content of the `m.room.third_party_invite` event.
    pub content: CanonicalJsonObject,
    /// What is remembered.
    pub invitation: Arc<NewInvitation>,
}

impl ThirdPartyInvite {
    /// The event, of the user who invites.
    pub(in crate::rooms) fn planned(&self, actor: &Actor) -> Planned {
        let event_type = StateEventType::RoomThirdPartyInvite;
        let token = self.invitation.token.as_str();
        Planned {
            invitation: Some(Arc::clone(&self.invitation)),
            ..Planned::by(actor, Draft::state(event_type, token, self.content.clone()))
        }
    }
}

/// That somebody accepts an invitation by e-mail, signed with the key that they got with it.
///
/// Client-server API v1.19, `third_party_signed` of `POST /join/{roomIdOrAlias}`.
#[derive(Clone, Debug)]
pub struct SignedInvite {
    /// Who invited.
    pub sender: OwnedUserId,
    /// Who accepts.
    pub mxid: OwnedUserId,
    /// The state key of the `m.room.third_party_invite` event.
    pub token: String,
    /// The whole object that was signed, with its signatures.
    pub signed: CanonicalJsonObject,
}

/// What an invitation by e-mail depends on.
#[derive(Clone, Debug)]
pub struct InvitingRoom {
    /// The `rule` of `im.vector.room.access_rules`.
    pub access_rule: Option<String>,
    /// The room's name, not too long for a mail.
    pub name: Option<String>,
}

impl Rooms {
    /// What is to be known of a room before somebody is invited to it by e-mail.
    ///
    /// # Errors
    /// [`Error::NotJoined`]; [`Error::Forbidden`] where the sender's level is too low.
    pub async fn inviting_room(
        &self,
        actor: &Actor,
        room_id: &RoomId,
    ) -> Result<InvitingRoom, Error> {
        #[derive(Deserialize)]
        struct Rules {
            rule: Option<String>,
        }
        #[derive(Deserialize)]
        struct Name {
            name: Option<String>,
        }
        let room = self.joined_room(room_id, &actor.user_id).await?;
        let head = room.head();
        let room = head.room();
        require_invite_level(room, actor)?;
        let rules = room.state_content::<Rules>(&StateEventType::from(ACCESS_RULES), "");
        let name = room.state_content::<Name>(&StateEventType::RoomName, "");
        let name = name.and_then(|name| name.name).map(|mut name| {
            name.truncate(name.floor_char_boundary(MAX_NAME));
            name.retain(|letter| !letter.is_control());
            name
        });
        Ok(InvitingRoom {
            access_rule: rules.and_then(|rules| rules.rule),
            name: name.filter(|name| !name.trim().is_empty()),
        })
    }

    /// Invites an address that is nobody's yet. The event and what is remembered are written in one
    /// piece.
    ///
    /// # Errors
    /// Those of [`Self::inviting_room`].
    pub async fn invite_address(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        invite: &ThirdPartyInvite,
    ) -> Result<(), Error> {
        let plan = |room: &Room| {
            require_joined(room, actor)?;
            require_invite_level(room, actor)?;
            Ok(vec![invite.planned(actor)])
        };
        self.update(room_id, actor, None, plan).await.map(drop)
    }

    /// Exchanges an invitation by e-mail for an invite, as its holder asks who joins. The
    /// authorization rules look at the signature, and the policy at the person.
    ///
    /// # Errors
    /// [`Error::Forbidden`] where it was signed for somebody else, or is not open any more;
    /// [`Error::Unreachable`] where somebody of another server has invited; and those of
    /// [`Self::exchange_invite`].
    pub(super) async fn accept_signed_invite(
        &self,
        actor: &Actor,
        room: &LiveRoom,
        invite: &SignedInvite,
    ) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Shown {
            display_name: Option<String>,
        }
        if invite.mxid != actor.user_id {
            let message = "the invitation was signed for somebody else";
            return Err(Error::Forbidden(message.to_owned()));
        }
        let closed = || Error::Forbidden("the invitation was withdrawn, or is over".to_owned());
        let head = room.head();
        let room = head.room();
        let event_type = StateEventType::RoomThirdPartyInvite;
        let event = room.state_event(&event_type, &invite.token);
        let event = event.filter(|event| event.pdu.sender() == invite.sender);
        let shown = event.ok_or_else(closed)?.pdu.content_as::<Shown>();
        if !self.is_local(&invite.sender) {
            return Err(Error::Unreachable);
        }
        {
            let mut conn = self.0.store.conn().await?;
            let now = self.0.clock.now_i64();
            if !invitations::is_open(&mut conn, &invite.token, now).await? {
                return Err(closed());
            }
        }
        let inviter = Actor {
            user_id: invite.sender.clone(),
            user: self.0.store.user_number(&invite.sender).await?,
            device: None,
        };
        let name = shown.and_then(|shown| shown.display_name);
        let name = CanonicalJsonValue::String(name.unwrap_or_default());
        let signed = CanonicalJsonValue::Object(invite.signed.clone());
        let content = CanonicalJsonObject::from([
            ("display_name".to_owned(), name),
            ("signed".to_owned(), signed),
        ]);
        let (room_id, user_id) = (room.room_id(), &actor.user_id);
        self.exchange_invite(&inviter, room_id, user_id, &invite.token, &content)
            .await
    }

    /// Sends the invite that an invitation by e-mail becomes once its address is somebody's.
    /// `third_party_invite` is the field of the member event, with what was signed. Whoever is in
    /// the room, or invited already, gets none.
    ///
    /// # Errors
    /// [`Error::Forbidden`] where the invitation was withdrawn or the user is banned: no later
    /// attempt will succeed.
    pub async fn exchange_invite(
        &self,
        inviter: &Actor,
        room_id: &RoomId,
        user_id: &UserId,
        token: &str,
        third_party_invite: &CanonicalJsonObject,
    ) -> Result<(), Error> {
        let user = self.0.store.user_number(user_id).await?;
        let shown = self.shown(user).await?;
        let plan = |room: &Room| {
            let event_type = StateEventType::RoomThirdPartyInvite;
            let invitation = room.state_event(&event_type, token);
            if invitation.is_none_or(|event| event.pdu.sender() != inviter.user_id) {
                return Err(Error::Forbidden("the invitation was withdrawn".to_owned()));
            }
            match room.membership(user_id) {
                MembershipState::Invite | MembershipState::Join => Ok(Vec::new()),
                _ => {
                    // never a direct chat by itself.
                    let content = MemberContent {
                        third_party_invite: Some(third_party_invite),
                        ..MemberContent::showing(MembershipState::Invite, &shown)
                    };
                    Ok(vec![Planned::by(inviter, content.draft(user_id)?)])
                }
            }
        };
        self.update(room_id, inviter, None, plan).await.map(drop)
    }
}

fn require_invite_level(room: &Room, actor: &Actor) -> Result<(), Error> {
    let levels = room.power_levels();
    if levels.user(&actor.user_id) < levels.invite() {
        let message = "you may not invite to this room";
        return Err(Error::Forbidden(message.to_owned()));
    }
    Ok(())
}
