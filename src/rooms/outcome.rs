//! What a user's push rules say of an event of a room.

use ruma::{UserId, events::room::member::RoomMemberEventContent};

use crate::{
    event::{
        Room,
        push::{Outcome, Reader, Rules, Subject},
    },
    store::live::{OwnRules, TimelineEvent},
};

/// What rules are asked about: an event, in the room as it is now, and who would be notified.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The event.
    pub event: &'a TimelineEvent,
    /// The room.
    pub room: &'a Room,
    /// What the reader has said about being notified.
    pub own: &'a OwnRules,
    /// The reader.
    pub user_id: &'a UserId,
    /// Whether the reader has subscribed to the event's thread, see [`super::Subscribed::to`].
    pub subscribed: Option<bool>,
}

/// What a user's rules say of somebody else's event.
pub fn outcome<'a>(asked: &Asked<'_>, rules: &'a Rules) -> Outcome<'a> {
    let (event, room) = (asked.event, asked.room);
    let sender = event.pdu.sender();
    if asked.own.ignored.contains(sender) {
        return Outcome::NOTHING;
    }
    let name = room
        .member(asked.user_id)
        .and_then(|member| member.pdu.content_as::<RoomMemberEventContent>())
        .and_then(|content| content.displayname);
    let reader = Reader {
        display_name: name.as_deref(),
        subscribed: asked.subscribed,
    };
    let subject = Subject::new(&event.pdu, room.power_levels(), room.joined_count());
    rules.ask(&subject, &reader)
}
