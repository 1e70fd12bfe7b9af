//! Writes an answer.

use std::collections::BTreeMap;

use ruma::{OwnedRoomId, events::StateEventType};
use serde::Deserialize;

use super::{
    Conversation, Position,
    extensions::Extended,
    lists::{Choice, Chosen},
    news::{News, RoomNews},
    snapshot::{Kind, Sent},
};
use crate::{
    event::{
        Pdu,
        client_format::{self, Unsigned},
    },
    store::{Membership, RoomNid, RoomPosition, live::Survey},
    sync::{answer::Json, section::Section, unread::write_count},
};

/// An answer, as JSON.
pub(super) fn answer(
    conversation: &Conversation,
    survey: &Survey,
    choice: &Choice<'_>,
    news: &News,
    extended: &Extended,
    pos: Position,
) -> String {
    let mut json = Json::with_capacity(512 + 2048 * news.rooms.len());
    json.open('{');
    json.key("pos");
    json.string(&pos.to_string());
    if let Some(txn_id) = &conversation.request.txn_id {
        json.key("txn_id");
        json.string(txn_id);
    }
    json.key("lists");
    json.open('{');
    for (name, count) in &choice.counts {
        json.key(name);
        json.open('{');
        json.key("count");
        json.number(number(*count));
        json.close('}');
    }
    json.close('}');
    json.key("rooms");
    json.open('{');
    let writer = Writer {
        conversation,
        survey,
        news,
    };
    for (room, of_room) in &news.rooms {
        let Some(chosen) = choice.rooms.get(room) else {
            continue;
        };
        json.key(of_room.head.room().room_id().as_str());
        writer.room(&mut json, *room, of_room, chosen);
    }
    json.close('}');
    json.key("extensions");
    write_extensions(&mut json, extended);
    json.close('}');
    json.into_string()
}

struct Writer<'a> {
    conversation: &'a Conversation,
    survey: &'a Survey,
    news: &'a News,
}

impl Writer<'_> {
    fn room(&self, json: &mut Json, room: RoomNid, news: &RoomNews, chosen: &Chosen<'_>) {
        json.open('{');
        if news.initial {
            json.key("initial");
            json.boolean(true);
        }
        json.key("membership");
        json.string(news.of_user.membership.as_str());
        if !chosen.lists.is_empty() {
            json.key("lists");
            json.open('[');
            for list in &chosen.lists {
                json.element(&serde_json::to_string(list).unwrap_or_default());
            }
            json.close(']');
        }
        json.key("bump_stamp");
        json.number(self.bump_stamp(room, news));
        let before = self.conversation.known.rooms.get(&room);
        match (&news.section, news.kind) {
            (None, _) | (_, Kind::Stripped) => {
                // Clients know the first name, MSC4186 the second.
                for key in ["invite_state", "stripped_state"] {
                    json.key(key);
                    json.array(&news.stripped);
                }
            }
            (Some(section), Kind::Joined) => {
                self.write_properties(json, news, section, before);
                self.write_events(json, room, news, section);
                write_count(json, news.unread.total());
            }
            (Some(section), Kind::Left) => {
                write_old_name(json, section);
                self.write_events(json, room, news, section);
            }
        }
        json.close('}');
    }

    /// For rooms in which the user is not, when they were invited, or left.
    fn bump_stamp(&self, room: RoomNid, news: &RoomNews) -> i64 {
        let activity = self.survey.activities.get(&room);
        if news.of_user.membership == Membership::Join {
            return activity.map_or(0, |activity| activity.bumped_ms);
        }
        let own = news
            .head
            .room()
            .member(&self.conversation.request.actor.user_id);
        let section = news.section.as_ref().filter(|_| news.kind == Kind::Left);
        let end = section.and_then(|section| section.timeline.last());
        // Of those who have left the newest may be an invitation that is not shown.
        let own = end.map(|end| &end.pdu).or(own.map(|own| &own.pdu));
        own.map_or(0, |own| i64::from(own.origin_server_ts().0))
    }

    /// Name, avatar, heroes and counts, where they have changed.
    fn write_properties(
        &self,
        json: &mut Json,
        news: &RoomNews,
        section: &Section,
        before: Option<&Sent>,
    ) {
        let room = news.head.room();
        let from = news.from.unwrap_or_default();
        let name = property(news, &StateEventType::RoomName, from);
        let avatar = property(news, &StateEventType::RoomAvatar, from);
        for (key, property) in [("name", &name), ("avatar", &avatar)] {
            if let Property::Changed(value) = property {
                json.key(key);
                match value {
                    Some(value) => json.string(value),
                    None => json.raw("null"),
                }
            }
        }
        let is_direct = self.survey.rooms.labels().direct.contains(room.room_id());
        let was_direct = before
            .filter(|_| !news.initial)
            .map(|before| before.is_direct);
        if is_direct != was_direct.unwrap_or_default() {
            json.key("is_dm");
            json.boolean(is_direct);
        }
        let tells_of_members = news.tells_of_members();
        let has_name = text_of(news, &StateEventType::RoomName).is_some();
        if !has_name && (tells_of_members || name.is_changed()) {
            write_heroes(json, news, &self.conversation.request.actor.user_id);
        }
        if tells_of_members {
            json.key("joined_count");
            json.number(number(room.joined_count()));
            json.key("invited_count");
            json.number(number(room.invited_count()));
        }
        debug_assert!(section.to <= news.head.position());
    }

    fn write_events(&self, json: &mut Json, room: RoomNid, news: &RoomNews, section: &Section) {
        let actor = &self.conversation.request.actor;
        if news.expanded {
            for key in ["expanded_timeline", "unstable_expanded_timeline"] {
                json.key(key);
                json.boolean(true);
            }
        }
        if !news.state.is_empty() {
            let text = |pdu: &std::sync::Arc<Pdu>| {
                client_format::client_text(pdu, &Unsigned::default(), false)
            };
            json.key("required_state");
            json.array(&news.state.iter().map(text).collect::<Vec<_>>());
        }
        let timeline: Vec<String> = section
            .timeline
            .iter()
            .map(|event| section.event_text(event, actor.device))
            .collect();
        json.key("timeline");
        json.array(&timeline);
        json.key("prev_batch");
        json.string(&format!("t{}", section.before));
        json.key("limited");
        json.boolean(section.limited);
        json.key("num_live");
        let live = self
            .conversation
            .since()
            .and_then(|_| self.news.past.live_after(room, self.survey));
        let is_live = |position: RoomPosition| live.is_some_and(|live| position > live);
        let timeline = section.timeline.iter();
        json.number(number(
            timeline.filter(|event| is_live(event.position)).count(),
        ));
    }
}

/// A property of a room, as an answer tells it.
enum Property {
    /// The client has it.
    Known,
    /// It is this now, or gone.
    Changed(Option<String>),
}

impl Property {
    fn is_changed(&self) -> bool {
        matches!(self, Self::Changed(_))
    }
}

/// What a client that knows a room up to `from` must hear of one of its properties.
fn property(news: &RoomNews, event_type: &StateEventType, from: RoomPosition) -> Property {
    let event = news.head.room().state_event(event_type, "");
    let text = text_of(news, event_type);
    let is_new = event.is_some_and(|event| event.position > from.0);
    match text {
        Some(text) if news.initial || is_new => Property::Changed(Some(text)),
        None if !news.initial && is_new => Property::Changed(None),
        _ => Property::Known,
    }
}

/// The name or the avatar of a room, unless it is empty.
fn text_of(news: &RoomNews, event_type: &StateEventType) -> Option<String> {
    let event = news.head.room().state_event(event_type, "")?;
    text_in(&event.pdu)
}

fn text_in(pdu: &Pdu) -> Option<String> {
    #[derive(Deserialize)]
    struct Content {
        name: Option<String>,
        url: Option<String>,
    }
    let content = pdu.content_as::<Content>()?;
    let text = content.name.or(content.url)?;
    (!text.is_empty()).then_some(text)
}

/// The name and the avatar that a room had when it was left.
fn write_old_name(json: &mut Json, section: &Section) {
    for (event_type, key) in [("m.room.name", "name"), ("m.room.avatar", "avatar")] {
        let mut state = section.state.iter();
        let event = state.find(|pdu| pdu.event_type().to_string() == event_type);
        if let Some(text) = event.and_then(|pdu| text_in(pdu)) {
            json.key(key);
            json.string(&text);
        }
    }
}

/// After whom clients name a room without a name.
fn write_heroes(json: &mut Json, news: &RoomNews, reader: &ruma::UserId) {
    #[derive(Deserialize)]
    struct Profile {
        displayname: Option<String>,
        avatar_url: Option<String>,
    }
    let room = news.head.room();
    json.key("heroes");
    json.open('[');
    for hero in room.heroes(reader) {
        let mut one = Json::with_capacity(128);
        one.open('{');
        one.key("user_id");
        one.string(hero.as_str());
        let profile = room.member(hero);
        let profile = profile.and_then(|member| member.pdu.content_as::<Profile>());
        if let Some(profile) = profile {
            let fields = [
                ("displayname", profile.displayname),
                ("avatar_url", profile.avatar_url),
            ];
            for (key, value) in fields {
                if let Some(value) = value {
                    one.key(key);
                    one.string(&value);
                }
            }
        }
        one.close('}');
        json.element(&one.into_string());
    }
    json.close(']');
}

fn write_extensions(json: &mut Json, extended: &Extended) {
    json.open('{');
    if !extended.global.is_empty() || !extended.account_data.is_empty() {
        json.key("account_data");
        json.open('{');
        if !extended.global.is_empty() {
            json.key("global");
            json.array(&extended.global);
        }
        if !extended.account_data.is_empty() {
            json.key("rooms");
            json.open('{');
            for (room_id, events) in &extended.account_data {
                json.key(room_id.as_str());
                json.array(events);
            }
            json.close('}');
        }
        json.close('}');
    }
    if let Some(devices) = &extended.devices {
        let (messages, rest) = extended.wants;
        if messages {
            json.key("to_device");
            json.open('{');
            json.key("next_batch");
            json.string(&devices.until().to_string());
            json.key("events");
            json.array(devices.messages());
            json.close('}');
        }
        if rest {
            json.key("e2ee");
            json.open('{');
            devices.write_lists_and_counts(json);
            json.close('}');
        }
    }
    write_by_room(json, "receipts", &extended.receipts);
    write_by_room(json, "typing", &extended.typists);
    if let Some(subscriptions) = &extended.thread_subscriptions {
        json.key("io.element.msc4308.thread_subscriptions");
        json.raw(subscriptions);
    }
    json.close('}');
}

fn write_by_room(json: &mut Json, extension: &str, by_room: &BTreeMap<OwnedRoomId, String>) {
    if by_room.is_empty() {
        return;
    }
    json.key(extension);
    json.open('{');
    json.key("rooms");
    json.open('{');
    for (room_id, event) in by_room {
        json.key(room_id.as_str());
        json.raw(event);
    }
    json.close('}');
    json.close('}');
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
