//! The members of rooms.

use std::{borrow::Cow, collections::BTreeMap};

use ruma::{
    RoomId, UserId,
    events::{StateEventType, TimelineEventType, room::member::MembershipState},
};
use serde::{Deserialize, Serialize};

use super::state::{StateAt, head_text, text};
use crate::{
    event::Pdu,
    rooms::{Actor, Error, Rooms},
    store::RoomPosition,
};

/// The position of the creator's join, which follows the create event.
const CREATOR_JOINED: RoomPosition = RoomPosition(2);

/// Which members are asked for. With both, those for whom one of the two holds.
#[derive(Clone, Debug, Default)]
pub struct MembersQuery {
    /// A token: the members as they were then.
    pub at: Option<String>,
    /// Those with this membership.
    pub membership: Option<MembershipState>,
    /// Those without this membership.
    pub not_membership: Option<MembershipState>,
}

impl MembersQuery {
    fn wants(&self, pdu: &Pdu) -> bool {
        let is = |wanted: &MembershipState| pdu.membership() == Some(wanted);
        match (&self.membership, &self.not_membership) {
            (None, None) => true,
            (wanted, unwanted) => {
                wanted.as_ref().is_some_and(is)
                    || unwanted.as_ref().is_some_and(|unwanted| !is(unwanted))
            }
        }
    }
}

/// What is shown of a joined member.
#[derive(Default, Serialize, Deserialize)]
struct Profile<'a> {
    #[serde(borrow, rename(deserialize = "displayname"))]
    #[serde(default)]
    display_name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    avatar_url: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct JoinedMembers<'a> {
    joined: BTreeMap<&'a UserId, Profile<'a>>,
}

impl Rooms {
    /// The member events of a room (client-server API v1.19, `GET /rooms/{roomId}/members`) as
    /// JSON: now for members, as they were when they left for those who left.
    ///
    /// # Errors
    /// [`Error::NotJoined`] for a reader who never was a member, unless the history is
    /// world-readable, or who may not see the room as it was at the token.
    pub async fn members(
        &self,
        reader: &Actor,
        room_id: &RoomId,
        query: &MembersQuery,
    ) -> Result<Vec<String>, Error> {
        let (room, mut viewer, mut at) = self.open_state(reader, room_id).await?;
        if let Some(token) = &query.at {
            // A timeline that is told from the room's beginning has a token before it, when nobody
            // was there: the members then are those with whom the room began.
            let asked = self.resolve(room.nid(), token).await?.max(CREATOR_JOINED);
            if asked < at {
                at = asked;
                viewer.reach(&self.0.store, at).await?;
                if !viewer.may_see(at) {
                    return Err(Error::NotJoined);
                }
            }
        }
        Ok(match self.state_at(&viewer, at).await? {
            StateAt::Head => {
                let members = viewer.head().room();
                let members = members.state_of_type(&StateEventType::RoomMember);
                let members = members.filter(|member| query.wants(&member.pdu));
                members.map(|member| head_text(member)).collect()
            }
            StateAt::Rows(rows) => {
                let is_member = |pdu: &Pdu| *pdu.event_type() == TimelineEventType::RoomMember;
                let rows = rows.iter();
                rows.filter(|row| is_member(&row.pdu) && query.wants(&row.pdu))
                    .map(|row| text(&row.pdu, None))
                    .collect()
            }
        })
    }

    /// The joined members of a room with their profiles (`GET /rooms/{roomId}/joined_members`), as
    /// the JSON of the whole answer. For members only.
    pub async fn joined_members(&self, reader: &Actor, room_id: &RoomId) -> Result<String, Error> {
        let room = self.joined_room(room_id, &reader.user_id).await?;
        let head = room.head();
        let room = head.room();
        let joined: BTreeMap<&UserId, Profile<'_>> = room
            .joined_members()
            .map(|user_id| {
                let member = room.member(user_id);
                let profile = member.and_then(|member| member.pdu.content_as());
                (user_id, profile.unwrap_or_default())
            })
            .collect();
        let answer = serde_json::to_string(&JoinedMembers { joined });
        answer.map_err(|error| Error::Invalid(error.to_string()))
    }
}
