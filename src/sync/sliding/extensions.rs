//! What is told beside rooms: account data, receipts and who types.

use std::collections::{BTreeMap, HashMap, HashSet};

use ruma::{OwnedRoomId, UserId};

use super::{
    Conversation, lists::Choice, news::News, past::Past, request::OfRooms, snapshot::Kind,
};
use crate::{
    rooms::Rooms,
    store::{
        Membership, RoomNid, UserNid, account_data,
        live::{Change, PUSH_RULES, Survey},
        receipts::{self, Receipt},
    },
    sync::{
        Error, Sync,
        answer::plain_event,
        devices::{DeviceParts, Wanted},
        write::{receipts_event, typing_event},
    },
};

/// What the extensions tell, as JSON texts.
#[derive(Default)]
pub(super) struct Extended {
    /// Whether a client could do without it.
    pub(super) is_empty: bool,
    /// The newest typing notice that the client knows now.
    pub(super) typing: i64,
    pub(super) global: Vec<String>,
    pub(super) account_data: BTreeMap<OwnedRoomId, Vec<String>>,
    pub(super) receipts: BTreeMap<OwnedRoomId, String>,
    pub(super) typists: BTreeMap<OwnedRoomId, String>,
    /// What there is for the device, if anything of it was asked for.
    pub(super) devices: Option<DeviceParts>,
    pub(super) wants: (bool, bool),
    pub(super) thread_subscriptions: Option<String>,
}

/// What there is of account data and receipts, by room.
#[derive(Default)]
struct Found {
    account_data: HashMap<Option<RoomNid>, BTreeMap<String, String>>,
    receipts: HashMap<RoomNid, Vec<Receipt>>,
    typists: Vec<(RoomNid, String)>,
}

impl Sync {
    /// What the extensions tell.
    pub(super) async fn extensions(
        &self,
        conversation: &Conversation,
        survey: &Survey,
        choice: &Choice<'_>,
        news: &News,
    ) -> Result<Extended, Error> {
        let mut extended = Extended {
            typing: conversation.since().map_or(0, |since| since.typing),
            is_empty: true,
            ..Extended::default()
        };
        let asked = &conversation.request.extensions;
        let mut found = Found::default();
        if asked.account_data.is_on() {
            found.account_data = self
                .account_data(conversation, survey, choice, &news.past)
                .await?;
        }
        if asked.receipts.is_on() {
            found.receipts = self.receipts(conversation, survey, choice, news).await?;
        }
        if asked.typing.is_on() {
            let since = extended.typing;
            let (typing, newest) = self.0.rooms.typing_changes(&survey.rooms, since);
            extended.typing = newest;
            let wanted = rooms_with(&asked.typing, choice, survey);
            let typing = typing.into_iter();
            found.typists = typing
                // Nobody typing is no news for who knows nothing.
                .filter(|(room, users)| wanted.contains(room) && (since > 0 || !users.is_empty()))
                .map(|(room, users)| (room, typing_event(&users)))
                .collect();
        }
        self.name_rooms(&mut extended, found).await?;
        let wanted = Wanted {
            messages: asked.to_device.is_on(),
            rest: asked.e2ee.is_on(),
        };
        extended.wants = (wanted.messages, wanted.rest);
        if wanted.messages || wanted.rest {
            let actor = &conversation.request.actor;
            let since = conversation.since().map(|since| since.position);
            let messages = asked.to_device.since()?;
            let parts = self.wanted_device_parts(actor, since, messages, wanted, survey.now);
            extended.devices = Some(parts.await?);
        }
        extended.thread_subscriptions = self.thread_subscriptions(conversation, survey).await?;
        let no_devices = extended.devices.as_ref().is_none_or(DeviceParts::is_empty);
        extended.is_empty = no_devices
            && extended.global.is_empty()
            && extended.account_data.is_empty()
            && extended.receipts.is_empty()
            && extended.typists.is_empty()
            && extended.thread_subscriptions.is_none();
        Ok(extended)
    }

    /// Names the rooms by their ids.
    async fn name_rooms(&self, extended: &mut Extended, mut found: Found) -> Result<(), Error> {
        let event = |(event_type, content): (String, String)| plain_event(&event_type, &content);
        let global = found.account_data.remove(&None).unwrap_or_default();
        extended.global = global.into_iter().map(event).collect();
        let rooms: HashSet<RoomNid> = found
            .account_data
            .keys()
            .filter_map(|room| *room)
            .chain(found.receipts.keys().copied())
            .chain(found.typists.iter().map(|(room, _)| *room))
            .collect();
        let rooms: Vec<RoomNid> = rooms.into_iter().collect();
        let ids = self.0.store.room_ids(&rooms).await?;
        for (room, data) in found.account_data {
            if let Some(id) = room.and_then(|room| ids.get(&room)) {
                let events = data.into_iter().map(event).collect();
                extended.account_data.insert(id.clone(), events);
            }
        }
        for (room, receipts) in found.receipts {
            if let Some(id) = ids.get(&room) {
                extended
                    .receipts
                    .insert(id.clone(), receipts_event(&receipts));
            }
        }
        for (room, typists) in found.typists {
            if let Some(id) = ids.get(&room) {
                extended.typists.insert(id.clone(), typists);
            }
        }
        Ok(())
    }

    /// Account data: all of it where nothing was told, and else what was written since.
    async fn account_data(
        &self,
        conversation: &Conversation,
        survey: &Survey,
        choice: &Choice<'_>,
        past: &Past,
    ) -> Result<HashMap<Option<RoomNid>, BTreeMap<String, String>>, Error> {
        let known = &conversation.known;
        let wanted = rooms_with(
            &conversation.request.extensions.account_data,
            choice,
            survey,
        );
        let is_told = |room: &Option<RoomNid>| match room {
            None => known.account_data,
            Some(room) => known.rooms.get(room).is_some_and(|sent| sent.account_data),
        };
        let mut found: HashMap<Option<RoomNid>, BTreeMap<String, String>> = HashMap::new();
        for entry in &survey.own {
            let Change::AccountData {
                room,
                event_type,
                content,
                ..
            } = &entry.change
            else {
                continue;
            };
            if room.is_none_or(|room| wanted.contains(&room)) {
                let of_room = found.entry(*room).or_default();
                of_room.insert((**event_type).to_owned(), content.get().to_owned());
            }
        }
        let all_told = is_told(&None) && wanted.iter().all(|room| is_told(&Some(*room)));
        if all_told && past.account_data.is_empty() {
            return Ok(found);
        }
        let user = conversation.request.actor.user;
        let mut conn = self.0.store.conn().await?;
        for data in account_data::list(&mut conn, user).await? {
            let is_wanted = data.room.is_none_or(|room| wanted.contains(&room));
            let key = (data.room, data.event_type);
            let is_changed = past.account_data.contains(&key);
            // Whoever never saw what was deleted need not hear that it is gone.
            let is_there = data.content.get() != account_data::DELETED;
            let is_new = is_changed || (is_there && !is_told(&data.room));
            if is_wanted && is_new {
                let of_room = found.entry(key.0).or_default();
                of_room.insert(key.1, data.content.get().to_owned());
            }
        }
        if !is_told(&None) {
            add_push_rules(
                &self.0.rooms,
                &conversation.request.actor.user_id,
                &mut found,
            )?;
        }
        Ok(found)
    }

    /// Receipts: where nothing was told those of the events that are told now and the reader's
    /// own, and else what was read since.
    async fn receipts(
        &self,
        conversation: &Conversation,
        survey: &Survey,
        choice: &Choice<'_>,
        news: &News,
    ) -> Result<HashMap<RoomNid, Vec<Receipt>>, Error> {
        let reader = conversation.request.actor.user;
        let wanted = rooms_with(&conversation.request.extensions.receipts, choice, survey);
        let is_told = |room: &RoomNid| {
            let sent = conversation.known.rooms.get(room);
            let initial = news.rooms.get(room).is_some_and(|news| news.initial);
            sent.is_some_and(|sent| sent.receipts && sent.kind == Kind::Joined) && !initial
        };
        let (told, new): (Vec<RoomNid>, Vec<RoomNid>) = wanted.iter().copied().partition(is_told);
        let (in_memory, logged): (Vec<RoomNid>, Vec<RoomNid>) = told
            .into_iter()
            .partition(|room| news.past.is_in_memory(*room));
        let entries: Vec<_> = in_memory
            .iter()
            .filter_map(|room| survey.in_rooms.get(room))
            .flatten()
            .collect();
        let mut found = self.memory_receipts(reader, &entries).await?;
        let changed: Vec<(RoomNid, UserNid)> = news
            .past
            .receipts
            .iter()
            .copied()
            .filter(|(room, _)| logged.contains(room))
            .collect();
        if !changed.is_empty() {
            let mut conn = self.0.store.conn().await?;
            found.extend(receipts::list(&mut conn, &logged, reader, Some(&changed)).await?);
        }
        if !new.is_empty() {
            let events = new
                .iter()
                .filter_map(|room| news.rooms.get(room)?.section.as_ref());
            let events = events.flat_map(|section| &section.timeline);
            let events: Vec<&str> = events.map(|event| event.pdu.event_id().as_str()).collect();
            let mut conn = self.0.store.conn().await?;
            found.extend(receipts::list_of_events(&mut conn, &new, reader, &events).await?);
        }
        let mut by_room: HashMap<RoomNid, Vec<Receipt>> = HashMap::new();
        for receipt in found {
            by_room.entry(receipt.room).or_default().push(receipt);
        }
        Ok(by_room)
    }
}

/// The chosen rooms for which an extension is on, and in which the user is.
fn rooms_with(on: &OfRooms, choice: &Choice<'_>, survey: &Survey) -> HashSet<RoomNid> {
    let rooms = choice.rooms.iter();
    rooms
        .filter(|(room, chosen)| {
            on.is_on_for(&chosen.lists, chosen.subscribed)
                && survey.rooms.membership(**room) == Membership::Join
        })
        .map(|(room, _)| *room)
        .collect()
}

/// Who has changed no push rules has the predefined ones.
fn add_push_rules(
    rooms: &Rooms,
    reader: &UserId,
    found: &mut HashMap<Option<RoomNid>, BTreeMap<String, String>>,
) -> Result<(), Error> {
    let global = found.entry(None).or_default();
    if !global.contains_key(PUSH_RULES) {
        let rules = rooms.default_push_rules(reader)?;
        global.insert(PUSH_RULES.to_owned(), rules.get().to_owned());
    }
    Ok(())
}
