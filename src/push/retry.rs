//! Tries gateways that failed again, later each time.

use std::{sync::Arc, time::Duration};

use super::{
    Error, Push,
    badge::Badge,
    decide::Deciders,
    dispatch::is_unread,
    gateway::{News, Told},
};
use crate::{
    rooms::threads_of,
    store::{
        Membership, RoomNid, StreamPosition, events,
        push_work::{self, Stall},
        pushers::{self, Pusher},
        stream,
    },
};

/// The pause after the first failure, in milliseconds.
const FIRST_PAUSE_MS: i64 = 1_000;
/// The longest pause.
const LONGEST_PAUSE_MS: i64 = 3_600_000;
/// How long a gateway is tried with what happened meanwhile; then only the newest is told.
const PATIENCE_MS: i64 = 24 * 3_600_000;
/// For how long a process has a gateway.
const LEASE_MS: i64 = 120_000;
/// How many are taken at once.
const BATCH: i64 = 16;
/// The most events that a gateway is told after it failed, the newest of them.
const MAX_EVENTS: i64 = 50;
/// How often gateways that failed are looked for.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// When a gateway that has failed so often is tried again.
pub(super) fn next_attempt(now_ms: i64, attempts: i32) -> i64 {
    let doublings = u32::try_from(attempts.clamp(0, 20)).unwrap_or(0);
    let pause = FIRST_PAUSE_MS.saturating_mul(1 << doublings);
    now_ms.saturating_add(pause.min(LONGEST_PAUSE_MS))
}

impl Push {
    /// How often [`Push::retry`] is wanted.
    pub const RETRY: Duration = LOOK;

    /// Tries gateways that are to be tried again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn retry(&self) -> Result<(), Error> {
        let now = self.0.clock.now_i64();
        let mut conn = self.0.store.conn().await?;
        let lease = now.saturating_add(LEASE_MS);
        let due = push_work::take_stalled(&mut conn, now, lease, BATCH).await?;
        drop(conn);
        let tries = due.into_iter().map(|pusher| self.retry_one(pusher));
        for done in futures_util::future::join_all(tries).await {
            done?;
        }
        Ok(())
    }

    async fn retry_one(&self, pusher: Pusher) -> Result<(), Error> {
        let now = self.0.clock.now_i64();
        let until = self.0.store.live().position();
        let since = pusher.stalled_at.unwrap_or(until);
        let is_old = pusher
            .stalled_ms
            .is_some_and(|since| now.saturating_sub(since) > PATIENCE_MS);
        let user = pusher.user;
        let badge = self.badges(&[user]).await?.remove(&user);
        let badge = badge.unwrap_or_default();
        let mut missed = if self.is_told(&pusher).await? {
            self.missed(&pusher, &badge, since).await?
        } else {
            Vec::new()
        };
        if is_old {
            let newest = missed.len().saturating_sub(1);
            missed.drain(..newest);
        }
        let mut told = Told::Well;
        let mut at = until;
        for (position, news) in &missed {
            told = self.tell(&pusher, Some(news), badge.unread).await;
            if told != Told::Well {
                at = StreamPosition(position.0 - 1);
                break;
            }
        }
        if missed.is_empty() {
            told = self.tell(&pusher, None, badge.unread).await;
            at = if told == Told::Failed { since } else { until };
        }
        let mut conn = self.0.store.conn().await?;
        match told {
            Told::Well => {
                let now = self.0.clock.now_i64();
                push_work::recover(&mut conn, pusher.id, at, now).await?;
            }
            Told::Rejected => pushers::delete_rejected(&mut conn, &[pusher.id]).await?,
            Told::Failed => {
                let stall = Stall {
                    id: pusher.id,
                    at,
                    next_attempt_ms: next_attempt(now, pusher.attempts),
                };
                push_work::stall(&mut conn, &[stall], now).await?;
            }
        }
        Ok(())
    }

    /// Whether the account may be told anything now.
    async fn is_told(&self, pusher: &Pusher) -> Result<bool, Error> {
        let now = self.0.clock.now_i64();
        let expires = self.0.settings.expiry.as_deref();
        let mut conn = self.0.store.conn().await?;
        let open = pushers::recipients(&mut conn, &[], &[pusher.user], expires, now).await?;
        Ok(open.others.contains(&pusher.user))
    }

    /// What a pusher's user has not read of what happened since, oldest first.
    async fn missed(
        &self,
        pusher: &Pusher,
        badge: &Badge,
        since: StreamPosition,
    ) -> Result<Vec<(StreamPosition, News)>, Error> {
        let store = &self.0.store;
        let rooms: Vec<RoomNid> = badge.view.with(Membership::Join).collect();
        let mut deciders = Deciders::new(self.0.settings.rules);
        let mut conn = store.conn().await?;
        deciders.load(&mut conn, &[pusher.user]).await?;
        let end = StreamPosition(i64::MAX);
        let mut placed = stream::events_before(&mut conn, &rooms, end, MAX_EVENTS).await?;
        placed.retain(|placed| placed.at > since);
        let wanted: Vec<_> = placed.iter().map(|at| (at.room, at.position)).collect();
        let found = events::at(&mut conn, &wanted).await?;
        drop(conn);
        let mut rooms = std::collections::HashMap::new();
        for room in store.load_rooms(&rooms_of(&wanted)).await? {
            rooms.insert(room.nid(), room.head());
        }
        let threads = threads_of(&found);
        let subscribed = self.0.rooms.subscribed(&[pusher.user], &threads).await?;
        let mut missed = Vec::new();
        for placed in placed.iter().rev() {
            let is_it = |event: &&Arc<crate::store::live::TimelineEvent>| {
                event.room == placed.room && event.position == placed.position
            };
            let (Some(event), Some(head)) = (found.iter().find(is_it), rooms.get(&placed.room))
            else {
                continue;
            };
            let users = std::iter::once(pusher.user);
            for (_, actions) in deciders.decide(event, head.room(), users, &subscribed) {
                let news = News {
                    event: Arc::clone(event),
                    room: head.room().clone(),
                    actions,
                };
                if is_unread(badge, &news) {
                    missed.push((placed.at, news));
                }
            }
        }
        Ok(missed)
    }
}

fn rooms_of(places: &[(RoomNid, crate::store::RoomPosition)]) -> Vec<RoomNid> {
    let mut rooms: Vec<RoomNid> = places.iter().map(|(room, _)| *room).collect();
    rooms.sort_unstable();
    rooms.dedup();
    rooms
}
