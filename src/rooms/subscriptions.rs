//! Which threads people have subscribed to.
//!
//! MSC4306, and MSC4308 for the list of what has changed. Whoever is not in a room has no threads
//! there. What subscriptions mean for notifications is asked of [`Subscribed`]; see
//! `docs/decisions/0015-thread-subscriptions.md`.

use std::sync::Arc;

use ruma::{EventId, OwnedEventId, RoomId};
use serde_json::{Map, Value, json};

use super::{Actor, Error, Rooms, Viewer};
use crate::store::{
    RoomNid, RoomPosition, StoreError, StreamPosition, UserNid,
    journal::{ThreadSubscriptionWrite, Write},
    live::{LiveRoom, TimelineEvent},
    thread_subscriptions::{self, Changed, Since, Subscription},
    unread,
};

/// The most changes of subscriptions that are listed at once.
const MAX_CHANGES: usize = 200;
/// How many are listed where nobody says.
const DEFAULT_CHANGES: usize = 100;

/// Subscriptions that have changed, newest first.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionsPage {
    changed: Vec<Changed>,
    /// Where older ones begin, if there are any.
    next: Option<StreamPosition>,
}

impl SubscriptionsPage {
    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }

    /// As clients are told; `next` is the name of the field that leads on.
    pub fn shown(&self, next: &str) -> Value {
        let mut shown = Map::new();
        for change in &self.changed {
            let stamp = change.at.0;
            let (list, told) = match change.subscription {
                Some(subscription) => {
                    let automatic = subscription == Subscription::Automatic;
                    let told = json!({ "automatic": automatic, "bump_stamp": stamp });
                    ("subscribed", told)
                }
                None => ("unsubscribed", json!({ "bump_stamp": stamp })),
            };
            let rooms = shown.entry(list).or_insert_with(|| json!({}));
            if let Value::Object(rooms) = rooms {
                let threads = rooms.entry(change.room_id.as_str());
                if let Value::Object(threads) = threads.or_insert_with(|| json!({})) {
                    threads.insert(change.thread.to_string(), told);
                }
            }
        }
        if let Some(at) = self.next {
            shown.insert(next.to_owned(), json!(format!("t{at}")));
        }
        Value::Object(shown)
    }

    /// Reads what a page says of where the next one begins.
    pub fn parse_next(token: &str) -> Option<StreamPosition> {
        let digits = token.strip_prefix('t')?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_number.then(|| digits.parse().ok()).flatten();
        number.map(StreamPosition)
    }
}

/// Who has subscribed to the threads of some events, as push rules want to know it.
#[derive(Clone, Debug, Default)]
pub struct Subscribed {
    /// Nothing where subscriptions say nothing.
    since: Option<Since>,
}

impl Subscribed {
    /// Whether it matters for an event in this thread who has subscribed.
    pub fn is_asked(&self, thread: Option<&EventId>) -> bool {
        self.since.is_some() && thread.is_some()
    }

    /// Whether a user had subscribed to the thread of an event when it was sent; `None` where that
    /// is not asked.
    pub fn to(
        &self,
        user: UserNid,
        room: RoomNid,
        thread: Option<&EventId>,
        position: RoomPosition,
    ) -> Option<bool> {
        let (since, thread) = (self.since.as_ref()?, thread?);
        let of_user = since.get(&(user, room));
        let since = of_user.and_then(|of_user| of_user.get(thread));
        Some(since.is_some_and(|since| position > *since))
    }
}

/// The threads that events are in.
pub fn threads_of<'a>(
    events: impl IntoIterator<Item = &'a Arc<TimelineEvent>>,
) -> Vec<(RoomNid, OwnedEventId)> {
    let threads = events.into_iter();
    let mut threads: Vec<_> = threads
        .filter_map(|event| Some((event.room, event.thread.clone()?)))
        .collect();
    threads.sort_unstable();
    threads.dedup();
    threads
}

impl Rooms {
    /// Who of some users has subscribed to threads, for the push rules of them all: one query, and
    /// none where there are no threads, or where subscriptions say nothing
    /// (`push.thread_subscriptions`).
    pub async fn subscribed(
        &self,
        users: &[UserNid],
        threads: &[(RoomNid, OwnedEventId)],
    ) -> Result<Subscribed, StoreError> {
        if !self.0.settings.push_rules.thread_subscriptions {
            return Ok(Subscribed::default());
        }
        let since = if users.is_empty() || threads.is_empty() {
            Since::new()
        } else {
            let mut conn = self.0.store.conn().await?;
            thread_subscriptions::since(&mut conn, users, threads).await?
        };
        Ok(Subscribed { since: Some(since) })
    }

    /// Whether subscriptions to threads say who is notified, which the configuration says.
    pub fn thread_subscriptions_notify(&self) -> bool {
        self.0.settings.push_rules.thread_subscriptions
    }

    /// Subscribes somebody to a thread
    /// (`PUT /rooms/{roomId}/thread/{eventId}/subscription`). With a `cause` a client does so by
    /// itself, for that event.
    ///
    /// # Errors
    /// [`Error::UnknownEvent`] where there is no thread that the user may see,
    /// [`Error::NotInThread`] for another cause, and [`Error::Unsubscribed`] for one that is older
    /// than what the user has decided since.
    pub async fn subscribe_to_thread(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        thread: &EventId,
        cause: Option<&EventId>,
    ) -> Result<(), Error> {
        let (room, mut viewer) = self.thread_of(actor, room_id, thread).await?;
        let mut at = None;
        if let Some(cause) = cause {
            let event = self.visible_event(&room, &mut viewer, cause).await?;
            let event = event.ok_or(Error::NotInThread)?;
            let mut conn = self.0.store.conn().await?;
            let of_cause = unread::find_thread(&mut conn, room.nid(), cause).await?;
            if of_cause.as_deref() != Some(thread) {
                return Err(Error::NotInThread);
            }
            at = Some(event.position);
        }
        let _turn = self.0.locks.turn(actor.user, Some(room.nid())).await;
        let found = {
            let mut conn = self.0.store.conn().await?;
            thread_subscriptions::find(&mut conn, actor.user, room.nid(), thread).await?
        };
        if let Some(found) = found {
            match (found.subscription, at) {
                (Some(Subscription::Manual), _) | (Some(Subscription::Automatic), Some(_)) => {
                    return Ok(());
                }
                (None, Some(at)) if at <= found.since => {
                    return Err(Error::Unsubscribed);
                }
                _ => {}
            }
        }
        let subscription = at.map_or(Subscription::Manual, |_| Subscription::Automatic);
        self.write_subscription(actor, &room, thread, Some(subscription))
            .await
    }

    /// Ends somebody's subscription to a thread
    /// (`DELETE /rooms/{roomId}/thread/{eventId}/subscription`), if there is one.
    ///
    /// # Errors
    /// [`Error::UnknownEvent`] where there is no thread that the user may see.
    pub async fn unsubscribe_from_thread(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        thread: &EventId,
    ) -> Result<(), Error> {
        let (room, _) = self.thread_of(actor, room_id, thread).await?;
        let _turn = self.0.locks.turn(actor.user, Some(room.nid())).await;
        let found = {
            let mut conn = self.0.store.conn().await?;
            thread_subscriptions::find(&mut conn, actor.user, room.nid(), thread).await?
        };
        if found.and_then(|found| found.subscription).is_none() {
            return Ok(());
        }
        self.write_subscription(actor, &room, thread, None).await
    }

    /// Whether somebody has subscribed to a thread, and how
    /// (`GET /rooms/{roomId}/thread/{eventId}/subscription`).
    ///
    /// # Errors
    /// [`Error::UnknownEvent`] where there is no thread that the user may see, and
    /// [`Error::NotFound`] where there is no subscription.
    pub async fn thread_subscription(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        thread: &EventId,
    ) -> Result<Subscription, Error> {
        let (room, _) = self.thread_of(actor, room_id, thread).await?;
        let mut conn = self.0.store.conn().await?;
        let found = thread_subscriptions::find(&mut conn, actor.user, room.nid(), thread).await?;
        let subscription = found.and_then(|found| found.subscription);
        subscription.ok_or(Error::NotFound("subscription"))
    }

    /// What of somebody's subscriptions has changed after a position of the stream and no later than
    /// another.
    pub async fn thread_subscription_changes(
        &self,
        user: UserNid,
        after: StreamPosition,
        until: StreamPosition,
        limit: Option<u64>,
    ) -> Result<SubscriptionsPage, Error> {
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let limit = limit.unwrap_or(DEFAULT_CHANGES).clamp(1, MAX_CHANGES);
        let one_more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let mut conn = self.0.store.conn().await?;
        let mut changed =
            thread_subscriptions::changes(&mut conn, user, after, until, one_more).await?;
        let has_more = changed.len() > limit;
        changed.truncate(limit);
        let next = changed.last().filter(|_| has_more);
        let next = next.map(|last| StreamPosition(last.at.0 - 1));
        Ok(SubscriptionsPage { changed, next })
    }

    /// The room of a thread that somebody may see.
    async fn thread_of(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        thread: &EventId,
    ) -> Result<(Arc<LiveRoom>, Viewer), Error> {
        let room = self.joined_room(room_id, &actor.user_id).await;
        let room = room.map_err(|error| match error {
            Error::NotJoined => Error::UnknownEvent,
            error => error,
        })?;
        let mut viewer = self.viewer(&room, actor).await?;
        let event = self.visible_event(&room, &mut viewer, thread).await?;
        // A thread does not begin with an event that relates to another one.
        let begins = event.is_some_and(|event| event.pdu.relates_to().is_none());
        if begins {
            Ok((room, viewer))
        } else {
            Err(Error::UnknownEvent)
        }
    }

    async fn write_subscription(
        &self,
        actor: &Actor,
        room: &LiveRoom,
        thread: &EventId,
        subscription: Option<Subscription>,
    ) -> Result<(), Error> {
        let write = ThreadSubscriptionWrite {
            user: actor.user,
            room: room.nid(),
            thread: thread.to_owned(),
            subscription,
        };
        let write = Write {
            thread_subscriptions: vec![write],
            ..Write::default()
        };
        self.0.store.journal().write(write).await?;
        Ok(())
    }
}
