//! Writes an answer.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use ruma::{
    OwnedRoomId, OwnedUserId, RoomId,
    events::{StateEventType, TimelineEventType},
};

use super::{
    Answer, Error, Request, Sync, ToldKey,
    answer::{Json, plain_event},
    missed::{JoinedNews, Missed},
    section::{Section, leave_out_the_unheard},
    state::is_whole,
    token::SyncToken,
    unread::write_unread,
};
use crate::{
    event::{
        Pdu,
        client_format::{self, Unsigned},
    },
    rooms::Actor,
    store::{
        RoomNid,
        live::{RoomHead, TimelineEvent},
        receipts::Receipt,
    },
};

/// The state that tells somebody outside what a room is (client-server API v1.19, "Stripped
/// state").
const STRIPPED: [StateEventType; 8] = [
    StateEventType::RoomCreate,
    StateEventType::RoomName,
    StateEventType::RoomAvatar,
    StateEventType::RoomTopic,
    StateEventType::RoomJoinRules,
    StateEventType::RoomCanonicalAlias,
    StateEventType::RoomEncryption,
    StateEventType::RoomPowerLevels,
];

/// Who types in which room.
struct Typing {
    rooms: Vec<(RoomNid, Vec<OwnedUserId>)>,
    newest: i64,
}

impl Sync {
    /// What there is to tell now.
    pub(super) async fn look(&self, request: &Request) -> Result<Answer, Error> {
        let mut missed = match request.since {
            None => self.everything(request).await?,
            Some(since) => self.since(request, since.position).await?,
        };
        let filter = &request.filter;
        let wanted = |head: &Arc<RoomHead>| filter.wants_room(head.room().room_id());
        missed.joined.retain(|news| wanted(&news.head));
        missed.left.retain(|news| wanted(&news.head));
        missed.invited.retain(wanted);
        missed.knocked.retain(wanted);
        let typing = self.typing(request, &missed);
        let mut joined = self.joined_sections(request, &missed.joined).await?;
        if !missed.rooms.ignored().is_empty() && !request.full_state {
            leave_out_the_unheard(&mut missed.joined, &mut joined);
        }
        let left = self.left_sections(request, &missed.left).await?;
        let ids = self.ids_of_quiet_rooms(&missed, &typing).await?;
        let devices = self.device_parts(request, missed.now).await?;
        missed.unread = self.unread(request, &missed, &joined).await?;

        let mut json = Json::with_capacity(512 + 1024 * joined.len());
        json.open('{');
        json.key("next_batch");
        let presence = self.0.presence.section(request, &missed.rooms, &joined);
        let token = SyncToken {
            position: missed.now,
            typing: typing.newest,
            presence: presence.newest,
            to_device: devices.until(),
        };
        json.string(&token.to_string());
        let mut told = devices.write(&mut json);
        told |= Self::write_account_data(request, &mut json, &missed);
        told |= json.events_if_any("presence", &presence.events);
        told |= Self::write_rooms(
            request,
            &mut json,
            &mut missed,
            &typing,
            &joined,
            &left,
            &ids,
        );
        json.close('}');
        if told {
            self.note_answer(&request.told_key(), request.since);
        }
        Ok(Answer {
            text: json.into_string(),
            is_empty: !told,
        })
    }

    /// Notes which token the last answer with news was for.
    pub(super) fn note_answer(&self, key: &ToldKey, since: Option<SyncToken>) {
        if let Some(told) = self.0.told.get(key) {
            let mut told = told
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            told.since = since;
        }
    }

    fn typing(&self, request: &Request, missed: &Missed) -> Typing {
        let since = request.since.map_or(0, |since| since.typing);
        let (mut rooms, newest) = self.0.rooms.typing_changes(&missed.rooms, since);
        if request.since.is_none() {
            // Nobody typing is no news in a first sync.
            rooms.retain(|(_, users)| !users.is_empty());
        }
        Typing { rooms, newest }
    }

    /// The ids of rooms that have no section of events: those with account data or typing only.
    async fn ids_of_quiet_rooms(
        &self,
        missed: &Missed,
        typing: &Typing,
    ) -> Result<BTreeMap<RoomNid, OwnedRoomId>, Error> {
        let rooms = missed.account_data.keys().copied().flatten();
        let rooms: Vec<_> = rooms
            .chain(typing.rooms.iter().map(|(room, _)| *room))
            .collect();
        let ids = self.0.store.room_ids(&rooms).await?;
        Ok(ids.into_iter().collect())
    }

    fn write_account_data(request: &Request, json: &mut Json, missed: &Missed) -> bool {
        let Some(data) = missed.account_data.get(&None) else {
            return false;
        };
        let filter = &request.filter.account_data;
        let events: Vec<_> = data
            .iter()
            .filter(|(event_type, _)| filter.wants_type(event_type))
            .map(|(event_type, content)| plain_event(event_type, content.get()))
            .collect();
        if events.is_empty() {
            return false;
        }
        json.events("account_data", &events);
        true
    }

    fn write_rooms(
        request: &Request,
        json: &mut Json,
        missed: &mut Missed,
        typing: &Typing,
        joined: &[Section],
        left: &[Section],
        ids: &BTreeMap<RoomNid, OwnedRoomId>,
    ) -> bool {
        let mut parts = BTreeMap::new();
        for (news, section) in missed.joined.iter().zip(joined) {
            let room_id = section.head.room().room_id().to_owned();
            let text = write_joined(request, news, section, missed, typing);
            parts.insert(room_id, text);
        }
        for (room, room_id) in ids {
            let is_joined = missed.rooms.membership(*room) == crate::store::Membership::Join;
            if is_joined && !parts.contains_key(room_id) && request.filter.wants_room(room_id) {
                let text = write_quiet(request, *room, room_id, missed, typing);
                if text != "{}" {
                    parts.insert(room_id.clone(), text);
                }
            }
        }
        let left: BTreeMap<_, _> = left
            .iter()
            .map(|section| {
                (
                    section.head.room().room_id().to_owned(),
                    write_left(request, section),
                )
            })
            .collect();
        let outside = |heads: &[Arc<RoomHead>], key| -> BTreeMap<_, _> {
            let text = |head: &Arc<RoomHead>| write_stripped(request, head, key);
            heads
                .iter()
                .map(|head| (head.room().room_id().to_owned(), text(head)))
                .collect()
        };
        let invited = outside(&missed.invited, "invite_state");
        let knocked = outside(&missed.knocked, "knock_state");
        let kinds = [
            ("join", parts),
            ("invite", invited),
            ("knock", knocked),
            ("leave", left),
        ];
        if kinds.iter().all(|(_, rooms)| rooms.is_empty()) {
            return false;
        }
        json.key("rooms");
        json.open('{');
        for (kind, rooms) in kinds {
            if rooms.is_empty() {
                continue;
            }
            json.key(kind);
            json.open('{');
            for (room_id, text) in rooms {
                json.key(room_id.as_str());
                json.raw(&text);
            }
            json.close('}');
        }
        json.close('}');
        true
    }
}

/// A room in which the user is joined.
fn write_joined(
    request: &Request,
    news: &JoinedNews,
    section: &Section,
    missed: &Missed,
    typing: &Typing,
) -> String {
    let room_id = section.head.room().room_id();
    let mut json = Json::with_capacity(512 + 700 * section.timeline.len());
    json.open('{');
    write_timeline(request, &mut json, section);
    write_state(request, &mut json, section);
    if tells_of_members(request, section) {
        write_summary(request, &mut json, section);
    }
    let has_account_data = write_quiet_parts(
        request,
        &mut json,
        section.room,
        room_id,
        missed,
        typing,
        &news.receipts,
    );
    if section.from.is_none() && !has_account_data {
        // Programs look into it without asking whether it is there.
        json.events("account_data", &[]);
    }
    if let Some(unread) = missed.unread.get(&section.room) {
        write_unread(request, &mut json, unread);
    }
    json.close('}');
    json.into_string()
}

/// A room with nothing but account data or typing.
fn write_quiet(
    request: &Request,
    room: RoomNid,
    room_id: &RoomId,
    missed: &Missed,
    typing: &Typing,
) -> String {
    let mut json = Json::with_capacity(256);
    json.open('{');
    write_quiet_parts(request, &mut json, room, room_id, missed, typing, &[]);
    json.close('}');
    json.into_string()
}

/// Account data, receipts and typing. Says whether there was any account data.
fn write_quiet_parts(
    request: &Request,
    json: &mut Json,
    room: RoomNid,
    room_id: &RoomId,
    missed: &Missed,
    typing: &Typing,
    receipts: &[Receipt],
) -> bool {
    let filter = &request.filter;
    let mut ephemeral = Vec::new();
    if filter.ephemeral.wants_room(room_id) {
        if !receipts.is_empty() && filter.ephemeral.wants_type("m.receipt") {
            ephemeral.push(receipts_event(receipts));
        }
        let typists = typing.rooms.iter().find(|(of, _)| *of == room);
        if let Some((_, users)) = typists
            && filter.ephemeral.wants_type("m.typing")
        {
            ephemeral.push(typing_event(users));
        }
    }
    if !ephemeral.is_empty() {
        json.events("ephemeral", &ephemeral);
    }
    let data = missed.account_data.get(&Some(room));
    let data = data.filter(|_| filter.room_account_data.wants_room(room_id));
    let account_data: Vec<_> = data
        .into_iter()
        .flatten()
        .filter(|(event_type, _)| filter.room_account_data.wants_type(event_type))
        .map(|(event_type, content)| plain_event(event_type, content.get()))
        .collect();
    json.events_if_any("account_data", &account_data)
}

/// A room that the user left.
fn write_left(request: &Request, section: &Section) -> String {
    let mut json = Json::with_capacity(512 + 700 * section.timeline.len());
    json.open('{');
    write_timeline(request, &mut json, section);
    write_state(request, &mut json, section);
    json.close('}');
    json.into_string()
}

/// A room that the user is not in, by its stripped state.
fn write_stripped(request: &Request, head: &RoomHead, key: &str) -> String {
    let events = stripped_state(&request.actor, head);
    let mut json = Json::with_capacity(2048);
    json.open('{');
    json.events(key, &events);
    json.close('}');
    json.into_string()
}

/// What somebody outside is told of a room, with whoever invited them, and their own membership.
pub(super) fn stripped_state(reader: &Actor, head: &RoomHead) -> Vec<String> {
    let room = head.room();
    let mut events: Vec<String> = STRIPPED
        .iter()
        .filter_map(|event_type| room.state_event(event_type, ""))
        .map(|event| client_format::stripped_json(&event.pdu).get().to_owned())
        .collect();
    let own = room.member(&reader.user_id);
    let inviter = own.and_then(|own| room.member(own.pdu.sender()));
    for member in [inviter, own].into_iter().flatten() {
        let text = client_format::stripped_json(&member.pdu).get().to_owned();
        if !events.contains(&text) {
            events.push(text);
        }
    }
    events
}

fn write_timeline(request: &Request, json: &mut Json, section: &Section) {
    json.key("timeline");
    json.open('{');
    json.key("events");
    json.open('[');
    for event in &section.timeline {
        json.element(&timeline_event(request, section, event));
    }
    json.close(']');
    json.key("limited");
    json.boolean(section.limited);
    json.key("prev_batch");
    json.string(&format!("t{}", section.before));
    json.close('}');
}

fn timeline_event(request: &Request, section: &Section, event: &TimelineEvent) -> String {
    if request.filter.federation_format {
        return event.pdu.json().to_owned();
    }
    request
        .filter
        .cut(section.event_text(event, request.actor.device))
}

fn write_state(request: &Request, json: &mut Json, section: &Section) {
    let key = if request.state_after {
        "state_after"
    } else {
        "state"
    };
    let text = |pdu: &Arc<Pdu>| {
        if request.filter.federation_format {
            pdu.json().to_owned()
        } else {
            let text = client_format::client_text(pdu, &Unsigned::default(), false);
            request.filter.cut(text)
        }
    };
    let events: Vec<_> = section.state.iter().map(text).collect();
    json.events(key, &events);
}

/// Whether the members, and so the summary, may have changed for the client.
fn tells_of_members(request: &Request, section: &Section) -> bool {
    let is_member = |pdu: &Pdu| *pdu.event_type() == TimelineEventType::RoomMember;
    is_whole(request.into(), section)
        || section.timeline.iter().any(|event| is_member(&event.pdu))
        // A filter may keep them out of the timeline.
        || section.known.iter().flatten().any(|event| is_member(&event.pdu))
        || section.state.iter().any(|pdu| is_member(pdu))
        || section.limited
}

/// The room summary: who to name a room after, and how many members there are.
fn write_summary(request: &Request, json: &mut Json, section: &Section) {
    let room = section.head.room();
    json.key("summary");
    json.open('{');
    json.key("m.heroes");
    json.open('[');
    for hero in room.heroes(&request.actor.user_id) {
        json.element(&serde_json::to_string(hero).unwrap_or_default());
    }
    json.close(']');
    json.key("m.invited_member_count");
    json.number(i64::try_from(room.invited_count()).unwrap_or(i64::MAX));
    json.key("m.joined_member_count");
    json.number(i64::try_from(room.joined_count()).unwrap_or(i64::MAX));
    json.close('}');
}

/// `m.receipt`, by event, type and user.
pub(super) fn receipts_event(receipts: &[Receipt]) -> String {
    let mut by_event: BTreeMap<&str, BTreeMap<&str, Vec<&Receipt>>> = BTreeMap::new();
    for receipt in receipts {
        let kind = if receipt.private {
            "m.read.private"
        } else {
            "m.read"
        };
        let of_event = by_event.entry(receipt.event_id.as_str()).or_default();
        of_event.entry(kind).or_default().push(receipt);
    }
    let mut json = Json::with_capacity(256 * receipts.len());
    json.open('{');
    for (event_id, kinds) in by_event {
        json.key(event_id);
        json.open('{');
        for (kind, receipts) in kinds {
            json.key(kind);
            json.open('{');
            let newest: BTreeMap<_, _> = receipts
                .iter()
                .map(|receipt| ((receipt.user_id.as_str(), receipt.thread.as_str()), receipt))
                .collect();
            let mut last = None;
            for ((user_id, _), receipt) in newest {
                // One receipt for each user and event: clients expect no more.
                if last.replace(user_id) == Some(user_id) {
                    continue;
                }
                json.key(user_id);
                json.raw(&receipt_content(receipt));
            }
            json.close('}');
        }
        json.close('}');
    }
    json.close('}');
    plain_event("m.receipt", &json.into_string())
}

fn receipt_content(receipt: &Receipt) -> String {
    let mut content = String::new();
    // Writing to a string cannot fail.
    let _ = write!(content, "{{\"ts\":{}", receipt.at);
    if !receipt.thread.is_empty() {
        let thread = serde_json::to_string(&receipt.thread).unwrap_or_default();
        let _ = write!(content, ",\"thread_id\":{thread}");
    }
    content.push('}');
    content
}

pub(super) fn typing_event(users: &[OwnedUserId]) -> String {
    let users = serde_json::to_string(users).unwrap_or_default();
    plain_event("m.typing", &format!("{{\"user_ids\":{users}}}"))
}
