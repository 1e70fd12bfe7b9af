//! `/notifications`: what a user has been notified of, worked out when it is asked for.
//!
//! Client-server API v1.19, "Listing Notifications".

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use ruma::{api::client::push::get_notifications::v3::Notification, serde::Raw};
use serde_json::value::RawValue;

use super::{Actor, Asked, Error, Rooms, Viewer, outcome, threads_of};
use crate::{
    event::push::Rules,
    store::{
        Membership, RoomNid, StreamPosition, events,
        live::{LiveRoom, TimelineEvent, UserRooms},
        stream::{self, Placed},
    },
};

/// The most notifications in an answer.
const MAX_NOTIFICATIONS: usize = 100;
/// How many events are looked at in one step.
const STEP: i64 = 200;
/// How many steps there are: an answer may have fewer notifications than asked for, and go on.
const MAX_STEPS: usize = 5;

/// A part of the list, newest first.
#[derive(Debug, Default)]
pub struct NotificationsPage {
    /// The notifications.
    pub notifications: Vec<Notification>,
    /// Where the next part begins; `None` at the end.
    pub next: Option<String>,
}

impl Rooms {
    /// A part of what a user has been notified of in the rooms that the user is in.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a token that is not ours.
    pub async fn notifications(
        &self,
        actor: &Actor,
        from: Option<&str>,
        limit: usize,
        only_highlights: bool,
    ) -> Result<NotificationsPage, Error> {
        let mut before = match from {
            None => StreamPosition(i64::MAX),
            Some(from) => from
                .parse()
                .map(StreamPosition)
                .map_err(|_| Error::Invalid("from is not a token of this list".into()))?,
        };
        let limit = limit.clamp(1, MAX_NOTIFICATIONS);
        let store = &self.0.store;
        store.load_user(actor.user).await?;
        let Some((_, view)) = store.live().rooms_of(actor.user) else {
            return Ok(NotificationsPage::default());
        };
        let rooms: Vec<RoomNid> = view.with(Membership::Join).collect();
        let mut page = NotificationsPage::default();
        for _ in 0..MAX_STEPS {
            let mut conn = store.conn().await?;
            let placed = stream::events_before(&mut conn, &rooms, before, STEP).await?;
            drop(conn);
            let is_last = i64::try_from(placed.len()).is_ok_and(|count| count < STEP);
            let Some(last) = placed.last().map(|placed| placed.at) else {
                page.next = None;
                return Ok(page);
            };
            let found = self
                .notified(actor, &view, &placed, only_highlights)
                .await?;
            for (at, notification) in found {
                if page.notifications.len() == limit {
                    page.next = Some(before.0.to_string());
                    return Ok(page);
                }
                before = at;
                page.notifications.push(notification);
            }
            before = last;
            page.next = (!is_last).then(|| before.0.to_string());
            if is_last {
                return Ok(page);
            }
        }
        Ok(page)
    }

    /// What a user is notified of among events, in their order.
    async fn notified(
        &self,
        actor: &Actor,
        view: &UserRooms,
        placed: &[Placed],
        only_highlights: bool,
    ) -> Result<Vec<(StreamPosition, Notification)>, Error> {
        let store = &self.0.store;
        let wanted: Vec<_> = placed.iter().map(|at| (at.room, at.position)).collect();
        let events = events::at(&mut *store.conn().await?, &wanted).await?;
        let events: HashMap<_, Arc<TimelineEvent>> = events
            .into_iter()
            .map(|event| ((event.room, event.position), event))
            .collect();
        let mut nids: Vec<RoomNid> = wanted.iter().map(|(room, _)| *room).collect();
        nids.sort_unstable();
        nids.dedup();
        let mut rooms: HashMap<RoomNid, Arc<LiveRoom>> = HashMap::new();
        for room in store.load_rooms(&nids).await? {
            rooms.insert(room.nid(), room);
        }
        let usual = Arc::new(Rules::predefined(&actor.user_id));
        let own = view.own_rules();
        let rules = own.rules.as_ref().unwrap_or(&usual);
        let threads = threads_of(events.values());
        let subscribed = self.subscribed(&[actor.user], &threads).await?;
        let mut wanted = Vec::new();
        let mut viewers = HashMap::new();
        for at in placed {
            let (Some(event), Some(room)) =
                (events.get(&(at.room, at.position)), rooms.get(&at.room))
            else {
                continue;
            };
            if event.sender == actor.user || event.redacted_by.is_some() {
                continue;
            }
            let head = room.head();
            let thread = event.thread.as_deref();
            let asked = Asked {
                event,
                room: head.room(),
                own,
                user_id: &actor.user_id,
                subscribed: subscribed.to(actor.user, event.room, thread, event.position),
            };
            let outcome = outcome(&asked, rules);
            if !outcome.notifies || (only_highlights && !outcome.highlights) {
                continue;
            }
            wanted.push((at, event, outcome.actions.to_vec()));
            if let Entry::Vacant(entry) = viewers.entry(at.room) {
                entry.insert((self.viewer(room, actor).await?, event.position));
            }
            if let Some((_, first)) = viewers.get_mut(&at.room) {
                *first = event.position.min(*first);
            }
        }
        let short = viewers.values_mut();
        let short = short.map(|(viewer, first)| (viewer, *first)).collect();
        Viewer::reach_all(store, short).await?;
        let mut notified = Vec::new();
        for (at, event, actions) in wanted {
            let (Some((viewer, _)), Some(of_user)) = (viewers.get(&at.room), view.get(at.room))
            else {
                continue;
            };
            if !viewer.may_see(event.position) {
                continue;
            }
            let text = viewer.show(event, None, actor.device);
            let text =
                RawValue::from_string(text).map_err(|error| Error::Invalid(error.to_string()))?;
            notified.push((
                at.at,
                Notification::new(
                    actions,
                    Raw::from_json(text),
                    event.position <= of_user.read_up_to(event.thread.as_ref()),
                    viewer.head().room().room_id().to_owned(),
                    event.pdu.origin_server_ts(),
                ),
            ));
        }
        Ok(notified)
    }
}
