//! The events around results, and who their senders were then.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    sync::Arc,
};

use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::{Hit, Viewers, event_text};
use crate::{
    event::Pdu,
    rooms::{Actor, Bundles, Error, Rooms, Viewer, token_after},
    store::{
        RoomNid, RoomPosition,
        events::{self, Direction, Range},
        live::TimelineEvent,
        state,
    },
};

/// The most events before a result, and after it.
pub(super) const MAX_AROUND: i64 = 20;

/// What is wanted around results.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// How many events before.
    pub before: u64,
    /// How many events after.
    pub after: u64,
    /// Whether the profiles of the senders are wanted.
    pub with_profiles: bool,
}

/// What is around all results.
#[derive(Default)]
pub(super) struct All(Vec<One>);

/// What is around one result.
#[derive(Default)]
struct One {
    /// The newest first.
    before: Vec<Arc<TimelineEvent>>,
    /// The oldest first.
    after: Vec<Arc<TimelineEvent>>,
    start: RoomPosition,
    end: RoomPosition,
    profiles: Option<BTreeMap<OwnedUserId, Profile>>,
}

#[derive(Clone, Default, Deserialize, Serialize)]
struct Profile {
    #[serde(skip_serializing_if = "Option::is_none")]
    displayname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
}

/// The states of one slot, each from a position on.
type Versions = Vec<(RoomPosition, Arc<Pdu>)>;

impl Rooms {
    /// What is around results: one query for the events of all, and one for profiles that changed.
    pub(super) async fn around(
        &self,
        wanted: Around,
        hits: &[Hit],
        viewers: &Viewers,
    ) -> Result<All, Error> {
        let bound = |count| i64::try_from(count).unwrap_or(MAX_AROUND).min(MAX_AROUND);
        let (before, after) = (bound(wanted.before), bound(wanted.after));
        let ranges: Vec<_> = hits
            .iter()
            .map(|hit| Range {
                room: hit.event.room,
                first: RoomPosition(hit.event.position.0 - before),
                last: RoomPosition(hit.event.position.0 + after),
            })
            .collect();
        let count = u32::try_from(before + after + 1).unwrap_or(u32::MAX);
        let found = {
            let mut conn = self.0.store.conn().await?;
            events::list(&mut conn, &ranges, Direction::Forward, count).await?
        };
        let found: BTreeMap<(RoomNid, RoomPosition), _> = found
            .into_iter()
            .map(|event| ((event.room, event.position), event))
            .collect();
        let mut all = Vec::with_capacity(hits.len());
        for (hit, range) in hits.iter().zip(&ranges) {
            let Some(Some(viewer)) = viewers.get(&range.room) else {
                all.push(One::default());
                continue;
            };
            let shown: Vec<_> = found
                .range((range.room, range.first)..=(range.room, range.last))
                .map(|(_, event)| event)
                .filter(|event| viewer.shows(event))
                .collect();
            let at = hit.event.position;
            let mut earlier: Vec<_> = shown
                .iter()
                .filter(|event| event.position < at)
                .map(|event| Arc::clone(event))
                .collect();
            earlier.reverse();
            let later = shown.iter().filter(|event| event.position > at);
            let later: Vec<_> = later.map(|event| Arc::clone(event)).collect();
            let start = earlier.last().map_or(at, |event| event.position);
            let end = later.last().map_or(at, |event| event.position);
            all.push(One {
                before: earlier,
                after: later,
                start: RoomPosition(start.0 - 1),
                end,
                profiles: None,
            });
        }
        let mut all = All(all);
        if wanted.with_profiles {
            self.add_profiles(&mut all, hits, viewers).await?;
        }
        Ok(all)
    }

    /// Who the senders were when a result was sent.
    async fn add_profiles(
        &self,
        all: &mut All,
        hits: &[Hit],
        viewers: &Viewers,
    ) -> Result<(), Error> {
        let mut changed: BTreeSet<(RoomNid, String, RoomPosition)> = BTreeSet::new();
        for (hit, one) in hits.iter().zip(&all.0) {
            let Some(Some(viewer)) = viewers.get(&hit.event.room) else {
                continue;
            };
            for sender in one.senders(hit) {
                let now = viewer.head().room().member(sender);
                if now.is_some_and(|now| now.position > hit.event.position.0) {
                    changed.insert((hit.event.room, sender.to_string(), hit.event.position));
                }
            }
        }
        let slots = changed
            .iter()
            .map(|(_, user, _)| ("m.room.member".to_owned(), user.clone()))
            .collect();
        let slots = self.0.store.slot_numbers(slots).await?;
        let wanted: Vec<_> = changed
            .into_iter()
            .filter_map(|(room, user, at)| {
                let slot = slots.get(&("m.room.member".to_owned(), user))?;
                Some((room, *slot, at))
            })
            .collect();
        let rows = {
            let mut conn = self.0.store.conn().await?;
            state::slots_at(&mut conn, &wanted).await?
        };
        let mut then: HashMap<(RoomNid, String), Versions> = HashMap::new();
        for row in rows {
            let user = row.pdu.state_key().unwrap_or_default().to_owned();
            let versions = then.entry((row.room, user)).or_default();
            versions.push((row.position, row.pdu));
        }
        for (hit, one) in hits.iter().zip(&mut all.0) {
            let Some(Some(viewer)) = viewers.get(&hit.event.room) else {
                continue;
            };
            let mut profiles = BTreeMap::new();
            for sender in one.senders(hit) {
                let now = viewer.head().room().member(sender);
                let now = now.map(|now| (RoomPosition(now.position), &now.pdu));
                let versions = then.get(&(hit.event.room, sender.to_string()));
                let versions = versions.into_iter().flatten().map(|(at, pdu)| (*at, pdu));
                let newest = versions
                    .chain(now)
                    .filter(|(at, _)| *at <= hit.event.position)
                    .max_by_key(|(at, _)| *at);
                let profile = newest.and_then(|(_, pdu)| pdu.content_as::<Profile>());
                profiles.insert(sender.to_owned(), profile.unwrap_or_default());
            }
            one.profiles = Some(profiles);
        }
        Ok(())
    }
}

impl One {
    fn senders<'a>(&'a self, hit: &'a Hit) -> BTreeSet<&'a UserId> {
        let around = self.before.iter().chain(&self.after);
        let events = around.chain([&hit.event]);
        events.map(|event| event.pdu.sender()).collect()
    }
}

impl All {
    /// The events around all results.
    pub(super) fn events(&self) -> impl Iterator<Item = &Arc<TimelineEvent>> {
        self.0
            .iter()
            .flat_map(|one| one.before.iter().chain(&one.after))
    }

    /// The member `context` of a result, after a comma; nothing where it is not wanted.
    pub(super) fn text(
        &self,
        at: usize,
        viewer: &Viewer,
        bundles: &Bundles,
        reader: &Actor,
    ) -> String {
        let Some(one) = self.0.get(at) else {
            return String::new();
        };
        let mut out = format!(
            ",\"context\":{{\"start\":\"{}\",\"end\":\"{}\"",
            token_after(one.start),
            token_after(one.end)
        );
        for (key, events) in [("events_before", &one.before), ("events_after", &one.after)] {
            let texts: Vec<_> = events
                .iter()
                .map(|event| event_text(event, viewer, bundles, reader))
                .collect();
            // Writing to a string cannot fail.
            let _ = write!(out, ",\"{key}\":[{}]", texts.join(","));
        }
        if let Some(profiles) = &one.profiles {
            let profiles = serde_json::to_string(profiles).unwrap_or_default();
            let _ = write!(out, ",\"profile_info\":{profiles}");
        }
        out.push('}');
        out
    }
}
