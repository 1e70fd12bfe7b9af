//! Keeps the memory of this process in step with the stream.
//!
//! What this process commits is applied by its journal. What others commit is announced by
//! `NOTIFY`, which is only a hint: a follower reads the log from its own last position, on each
//! hint, after each reconnection and on a slow timer, so that a lost hint costs time and no data.
//! Whoever applies holds the lock: positions become visible in order.

use std::{sync::Arc, time::Duration};

use sqlx::postgres::PgListener;
use tokio::sync::{MutexGuard, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    RoomNid, RoomPosition, Store, StoreError, StreamPosition, UserNid, activities, erased, events,
    live::{Entry, LiveRoom, RoomHead, TimelineEvent},
    media_admin, memberships, rooms, stream,
};

/// How many entries are read at once.
const PAGE: i64 = 1_000;
/// Further behind than this, the memory is thrown away instead of caught up.
const MAX_BEHIND: i64 = 100_000;
/// How often the log is looked at without a hint.
const SLOW_TIMER: Duration = Duration::from_secs(10);
/// How long to wait before connecting again.
const RECONNECT: Duration = Duration::from_millis(200);
/// What is listened to: positions of the stream, users whose sessions ended, users whose view of
/// their rooms changed outside the stream, rooms whose old messages were deleted, typing, who is
/// there, that somebody wants to be forgotten, media whose bytes have come, and that media were
/// withdrawn or deleted.
const CHANNELS: [&str; 9] = [
    "chappe_stream",
    "chappe_sessions",
    "chappe_views",
    "chappe_purged",
    "chappe_typing",
    "chappe_presence",
    erased::CHANNEL,
    "chappe_media",
    media_admin::CHANGED_CHANNEL,
];

/// What other processes say, beside the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Anything may have been said that was not heard: the connection was lost.
    Unheard,
    /// Sessions of a user have ended.
    Sessions(UserNid),
    /// Somebody types; the text is the typing module's.
    Typing(String),
    /// Who is there; the text is the presence module's.
    Presence(String),
    /// The bytes of media have come that others may wait for.
    Media(String),
    /// Media were withdrawn, given back or deleted.
    MediaChanged,
}

impl Store {
    /// Follows the stream until `stop`; hands the other hints on.
    pub async fn follow(self, hints: mpsc::Sender<Hint>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                ended = self.listen(&hints) => {
                    if let Err(error) = ended {
                        tracing::warn!(%error, "the connection that listens was lost");
                    }
                }
            }
            // Whatever ended meanwhile went unheard.
            let _ = hints.try_send(Hint::Unheard);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RECONNECT) => {}
            }
        }
    }

    async fn listen(&self, hints: &mpsc::Sender<Hint>) -> Result<(), StoreError> {
        let mut listener = PgListener::connect_with(&self.0.pool).await?;
        listener.ignore_pool_close_event(true);
        listener.listen_all(CHANNELS).await?;
        let _ = hints.send(Hint::Unheard).await;
        self.live().forget_users();
        self.read_erased().await?;
        self.catch_up().await?;
        loop {
            let heard = tokio::time::timeout(SLOW_TIMER, listener.try_recv()).await;
            let notification = match heard {
                Err(_) => None,
                Ok(heard) => match heard? {
                    Some(notification) => Some(notification),
                    None => return Err(StoreError::Unavailable),
                },
            };
            let Some(notification) = notification else {
                self.catch_up().await?;
                continue;
            };
            match notification.channel() {
                "chappe_stream" => {
                    let position = notification.payload().parse().unwrap_or(i64::MAX);
                    self.catch_up_to(StreamPosition(position)).await?;
                }
                "chappe_sessions" => {
                    let user = notification.payload().parse().map(UserNid);
                    let _ = hints.send(user.map_or(Hint::Unheard, Hint::Sessions)).await;
                }
                "chappe_views" => {
                    if let Ok(user) = notification.payload().parse() {
                        self.live().forget_user(UserNid(user));
                    }
                }
                "chappe_purged" => {
                    if let Some((room, position)) = parse_purged(notification.payload()) {
                        self.live().purge(room, position);
                    }
                }
                erased::CHANNEL => self.read_erased().await?,
                "chappe_media" => {
                    // Who waits looks by themselves now and then.
                    let _ = hints.try_send(Hint::Media(notification.payload().to_owned()));
                }
                media_admin::CHANGED_CHANNEL => {
                    let _ = hints.send(Hint::MediaChanged).await;
                }
                "chappe_presence" => {
                    // The next news of the same people puts right what is lost.
                    let _ = hints.try_send(Hint::Presence(notification.payload().to_owned()));
                }
                _ => {
                    // Typing is worth nothing once it is late.
                    let _ = hints.try_send(Hint::Typing(notification.payload().to_owned()));
                }
            }
        }
    }

    /// Tells the other processes something on the typing channel.
    pub async fn announce_typing(&self, text: &str) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            SELECT pg_notify('chappe_typing', $1)::TEXT AS notified
            "#,
            text,
        )
        .fetch_one(&mut *self.conn().await?)
        .await?;
        Ok(())
    }

    /// Tells the other processes something on the channel of presence.
    pub async fn announce_presence(&self, text: &str) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            SELECT pg_notify('chappe_presence', $1)::TEXT AS notified
            "#,
            text,
        )
        .fetch_one(&mut *self.conn().await?)
        .await?;
        Ok(())
    }

    /// Reads what others committed, up to now.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        let _turn = self.0.applying.lock().await;
        self.read_log(None).await
    }

    /// The same, if what is announced is not here yet. An own commit is: whoever commits holds the
    /// lock until it is applied.
    async fn catch_up_to(&self, position: StreamPosition) -> Result<(), StoreError> {
        if position <= self.live().position() {
            return Ok(());
        }
        let _turn = self.0.applying.lock().await;
        if position <= self.live().position() {
            return Ok(());
        }
        self.read_log(None).await
    }

    /// The right to commit and apply, which the journal takes for each of its commits.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.0.applying.lock().await
    }

    /// Takes in what this process's journal has committed; the last entry is at `last`.
    pub(super) async fn apply_own(
        &self,
        _turn: MutexGuard<'_, ()>,
        entries: Vec<Entry>,
        heads: Vec<(RoomNid, Arc<RoomHead>)>,
        redacted: &[Arc<TimelineEvent>],
        last: StreamPosition,
    ) {
        let count = i64::try_from(entries.len()).unwrap_or(i64::MAX);
        let first = StreamPosition(last.0 - count);
        if self.live().position() < first
            && let Err(error) = self.read_log(Some(first)).await
        {
            // The entries are committed: the follower will read them with what came before.
            tracing::warn!(%error, "the stream could not be read up to an own commit");
            return;
        }
        self.live().apply(entries, heads, redacted);
    }

    /// Reads the log up to `until`, or to its end. The caller holds the lock.
    async fn read_log(&self, until: Option<StreamPosition>) -> Result<(), StoreError> {
        let mut conn = self.conn().await?;
        let newest = stream::position(&mut conn).await?;
        let behind = newest.0 - self.live().position().0;
        if behind > MAX_BEHIND {
            tracing::info!(behind, "far behind the stream, starting again at its end");
            self.live().restart(newest);
            return Ok(());
        }
        loop {
            let from = self.live().position();
            if from >= until.unwrap_or(newest) {
                return Ok(());
            }
            let page = stream::after(&mut conn, from, PAGE).await?;
            if page.entries.is_empty() {
                return Ok(());
            }
            self.live().apply(page.entries, Vec::new(), &page.redacted);
        }
    }

    /// The entries after a position, at most about `limit`: from memory where it has them.
    pub async fn entries_after(
        &self,
        position: StreamPosition,
        limit: usize,
    ) -> Result<Vec<Arc<Entry>>, StoreError> {
        if let Some(entries) = self.live().entries_after(position, limit) {
            return Ok(entries);
        }
        let mut conn = self.conn().await?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let page = stream::after(&mut conn, position, limit).await?;
        // Redacted events among them are read as they are now.
        Ok(page.entries.into_iter().map(Arc::new).collect())
    }

    /// Rooms, read into memory where they are not there yet. Rooms that do not exist are left out.
    pub async fn load_rooms(&self, wanted: &[RoomNid]) -> Result<Vec<Arc<LiveRoom>>, StoreError> {
        let mut found = Vec::with_capacity(wanted.len());
        let mut missing = Vec::new();
        for room in wanted {
            match self.live().room(*room) {
                Some(room) => found.push(room),
                None => missing.push(*room),
            }
        }
        if !missing.is_empty() {
            let mut conn = self.conn().await?;
            let loaded = rooms::load(&mut conn, &missing).await?;
            // A head must not be ahead of the window: what it holds is before this position.
            let position = stream::position(&mut conn).await?;
            drop(conn);
            if self.live().position() < position {
                self.catch_up().await?;
            }
            for (room, head) in loaded {
                let room = Arc::new(LiveRoom::new(room, head));
                found.push(self.live().insert_room(room));
            }
        }
        Ok(found)
    }

    /// One room, read into memory if it is not there yet.
    pub async fn load_room(&self, room: RoomNid) -> Result<Option<Arc<LiveRoom>>, StoreError> {
        if let Some(room) = self.live().room(room) {
            return Ok(Some(room));
        }
        Ok(self.load_rooms(&[room]).await?.into_iter().next())
    }

    /// Reads the activity of rooms into memory.
    pub async fn load_activities(&self, rooms: &[RoomNid]) -> Result<(), StoreError> {
        let mut conn = self.conn().await?;
        let read = activities::list(&mut conn, rooms).await?;
        // It must not be ahead of the window.
        let position = stream::position(&mut conn).await?;
        drop(conn);
        if self.live().position() < position {
            self.catch_up().await?;
        }
        self.live().insert_activities(&read);
        Ok(())
    }

    /// Makes sure that a user's view of their rooms is in memory.
    pub async fn load_user(&self, user: UserNid) -> Result<(), StoreError> {
        while !self.live().knows_user(user) {
            let (position, rooms) = memberships::load_user(&mut *self.conn().await?, user).await?;
            if self.live().position() < position {
                self.catch_up().await?;
            }
            if self.live().insert_user(user, rooms, position) {
                break;
            }
        }
        Ok(())
    }

    /// Marks a room that the user has left as forgotten. `false` if the user has not left it.
    pub async fn forget_room(&self, user: UserNid, room: RoomNid) -> Result<bool, StoreError> {
        let done = memberships::forget(&mut *self.conn().await?, user, room).await?;
        // The view is read anew at the next sync; the other processes are told.
        self.live().forget_user(user);
        Ok(done)
    }

    /// The newest `limit` events of a room at or before a position, oldest first: from memory if
    /// they are there.
    pub async fn timeline(
        &self,
        room: RoomNid,
        last: events::Range,
        limit: u32,
    ) -> Result<Vec<Arc<TimelineEvent>>, StoreError> {
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut recent = self.live().recent_events(room);
        recent.retain(|event| event.position <= last.last && event.position >= last.first);
        if recent.len() >= wanted {
            return Ok(recent.split_off(recent.len() - wanted));
        }
        let mut conn = self.conn().await?;
        events::list(&mut conn, &[last], events::Direction::Backward, limit).await
    }
}

/// The room whose messages were deleted, and up to where.
fn parse_purged(text: &str) -> Option<(RoomNid, RoomPosition)> {
    let (room, position) = text.split_once(' ')?;
    let room = room.parse().ok().map(RoomNid)?;
    Some((room, position.parse().ok().map(RoomPosition)?))
}
