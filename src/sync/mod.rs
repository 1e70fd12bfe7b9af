//! `/sync`: what a client missed.
//!
//! A sync registers with the user's waiter, looks at what the user missed ([`missed`]), from memory
//! where the token lies in the window and from the database where it is older, and works out the
//! sections of the answer ([`section`]). If there is nothing it waits: for a commit that touches
//! one of the user's rooms, for typing, for somebody who comes or goes, for the end of its time or of the process.
//!
//! Client-server API v1.19, "Syncing".

mod answer;
mod devices;
mod entries;
mod filter;
mod missed;
mod older;
mod presence;
mod receipts;
mod section;
pub mod sliding;
mod state;
mod token;
mod unread;
mod write;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use moka::sync::Cache;
use ruma::{
    OwnedUserId,
    api::client::{filter::FilterDefinition, sync::sync_events::v3::Filter as RequestFilter},
};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

pub use self::{
    filter::{Events, Filter},
    older::{Listening, MAX_EVENTS},
    presence::{
        Changed, Presence, Shown, StatusTooLong, Syncing, content as presence_content,
        event as presence_event,
    },
    token::{InvalidToken, SyncToken},
};
use crate::{
    clock::SharedClock,
    keys::{self, Keys},
    random::Random,
    rooms::{self, Actor, Rooms, filter::RelationFilters},
    store::{DeviceNid, RoomNid, Store, StoreError, UserNid, filters},
};

/// The longest that a sync waits.
const MAX_TIMEOUT: Duration = Duration::from_mins(2);

/// How many syncs are worked out at once; others wait for their turn, in which they need no more
/// memory than one that waits for news. More than there are connections to the database, so that
/// those which need none go on when all of them are taken.
const AT_ONCE: usize = 64;

/// Why a sync failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is neither JSON nor the id of a stored filter.
    #[error("unknown filter")]
    UnknownFilter,
    /// The position is not one that the device was given, or it is too old.
    #[error("unknown position")]
    UnknownPosition,
    /// Something that a client asks of sliding sync makes no sense, or is too much.
    #[error("{0}")]
    Invalid(&'static str),
    /// The token is not one of ours.
    #[error(transparent)]
    InvalidToken(#[from] InvalidToken),
    /// A room could not be read.
    #[error(transparent)]
    Rooms(#[from] rooms::Error),
    /// Keys or messages of devices could not be read.
    #[error(transparent)]
    Keys(#[from] keys::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a client asks.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks.
    pub actor: Actor,
    /// The token of the last answer; `None` for a first sync.
    pub since: Option<SyncToken>,
    /// What the client wants to see.
    pub filter: Arc<Filter>,
    /// Whether to answer with the whole state of all rooms.
    pub full_state: bool,
    /// Whether the state is that after the timeline, instead of that before.
    pub state_after: bool,
    /// How long to wait when there is nothing.
    pub timeout: Duration,
}

/// The sync service. Cheap to clone.
#[derive(Clone)]
pub struct Sync(Arc<Inner>);

struct Inner {
    store: Store,
    rooms: Rooms,
    keys: Keys,
    presence: Presence,
    filters: Cache<(UserNid, i64), Arc<Filter>>,
    /// The members that each connection has been told of, for lazy loading.
    told: Cache<ToldKey, Arc<Mutex<Told>>>,
    /// What clients of sliding sync know.
    snapshots: Cache<i64, Arc<sliding::Snapshot>>,
    clock: SharedClock,
    random: Random,
    /// The turns of syncs that are worked out, [`AT_ONCE`].
    turns: Semaphore,
    stop: CancellationToken,
    observer: Option<Arc<dyn SyncObserver>>,
}

/// A connection: a device, and the name that it gives to a connection of sliding sync. Without a
/// device there is none.
type ToldKey = (Option<DeviceNid>, Option<Box<str>>);

/// Which members a device knows, and the token that its last answer was for: a device that asks
/// again with the same token has not seen the answer.
#[derive(Debug, Default)]
struct Told {
    since: Option<SyncToken>,
    members: HashSet<(RoomNid, OwnedUserId)>,
}

/// The most members that are remembered of a device; with more, members are told again.
const MAX_TOLD: usize = 5_000;

/// Hears how many syncs wait.
pub trait SyncObserver: Send + std::marker::Sync {
    /// One more sync waits, or one less.
    fn waiting(&self, change: i64);
}

/// Counts a waiting sync for as long as it lives.
struct Waiting<'a>(&'a Inner);

impl<'a> Waiting<'a> {
    fn new(inner: &'a Inner) -> Self {
        if let Some(observer) = &inner.observer {
            observer.waiting(1);
        }
        Self(inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(observer) = &self.0.observer {
            observer.waiting(-1);
        }
    }
}

impl Sync {
    /// The service. When `stop` is asked for, waiting syncs are answered.
    #[expect(clippy::too_many_arguments, reason = "what it asks, each once")]
    pub fn new(
        store: Store,
        rooms: Rooms,
        keys: Keys,
        presence: Presence,
        stop: CancellationToken,
        observer: Option<Arc<dyn SyncObserver>>,
        clock: SharedClock,
        random: Random,
    ) -> Self {
        Self(Arc::new(Inner {
            clock,
            random,
            snapshots: sliding::memory(),
            store,
            rooms,
            keys,
            presence,
            filters: Cache::new(10_000),
            told: Cache::builder()
                .max_capacity(20_000)
                .time_to_idle(Duration::from_hours(1))
                .build(),
            turns: Semaphore::new(AT_ONCE),
            stop,
            observer,
        }))
    }

    /// Who is there.
    pub fn presence(&self) -> &Presence {
        &self.0.presence
    }

    /// The filter of a request: given in full, with what it says of relations, or by the id of a
    /// stored one.
    ///
    /// # Errors
    /// [`Error::UnknownFilter`].
    pub async fn filter(
        &self,
        user: UserNid,
        filter: Option<RequestFilter>,
        relations: RelationFilters,
    ) -> Result<Arc<Filter>, Error> {
        let id = match filter {
            None => return Ok(Arc::default()),
            Some(RequestFilter::FilterDefinition(definition)) => {
                return Ok(Arc::new(Filter::new(definition, relations)));
            }
            Some(RequestFilter::FilterId(id)) => id.parse().map_err(|_| Error::UnknownFilter)?,
            Some(_) => return Err(Error::UnknownFilter),
        };
        if let Some(filter) = self.0.filters.get(&(user, id)) {
            return Ok(filter);
        }
        let mut conn = self.0.store.conn().await?;
        let json = filters::find(&mut conn, user, id).await?;
        let json = json.ok_or(Error::UnknownFilter)?;
        let definition: FilterDefinition =
            serde_json::from_str(&json).map_err(|_| Error::UnknownFilter)?;
        let relations = serde_json::from_str(&json).map_err(|_| Error::UnknownFilter)?;
        let filter = Arc::new(Filter::new(definition, relations));
        self.0.filters.insert((user, id), Arc::clone(&filter));
        Ok(filter)
    }

    /// Answers a sync, as JSON.
    pub async fn sync(&self, request: Request) -> Result<String, Error> {
        let store = &self.0.store;
        let user = request.actor.user;
        if let Some(since) = request.since
            && since.position > store.live().position()
        {
            // The token is of another process, which is ahead.
            Box::pin(store.catch_up()).await?;
        }
        let may_wait = request.since.is_some() && !request.full_state;
        let deadline = may_wait.then(|| Instant::now() + request.timeout.min(MAX_TIMEOUT));
        let _looking = may_wait.then(|| self.0.presence.look(user, &request.filter));
        self.when_there_is_news(user, deadline, || self.look(&request))
            .await
    }

    /// Looks until there is something to tell, or the time is over; without a deadline, once.
    async fn when_there_is_news<F>(
        &self,
        user: UserNid,
        deadline: Option<Instant>,
        look: impl Fn() -> F + Send,
    ) -> Result<String, Error>
    where
        F: Future<Output = Result<Answer, Error>> + Send,
    {
        let store = &self.0.store;
        loop {
            // Never closed; if it were, syncs would go on without turns.
            let turn = self.0.turns.acquire().await.ok();
            // These two on the heap, so that they take no room while this waits.
            Box::pin(store.load_user(user)).await?;
            let Some(waiter) = store.live().waiter(user) else {
                // The view was dropped again: memory is short.
                continue;
            };
            // Registered before looking: what is committed after the look wakes this.
            let woken = waiter.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let answer = Box::pin(look()).await?;
            drop(turn);
            let deadline = deadline.filter(|deadline| {
                answer.is_empty && Instant::now() < *deadline && !self.0.stop.is_cancelled()
            });
            let Some(deadline) = deadline else {
                return Ok(answer.text);
            };
            let _waiting = Waiting::new(&self.0);
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep_until(deadline) => {}
                () = self.0.stop.cancelled() => {}
            }
        }
    }

    /// The members that a client knows, forgotten if it has not seen its last answer.
    fn told(&self, key: &ToldKey, since: Option<SyncToken>) -> Option<Arc<Mutex<Told>>> {
        key.0?;
        let told = self.0.told.get_with_by_ref(key, Arc::default);
        {
            let mut told = told
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if since.is_none() || told.since == since {
                told.members.clear();
            }
            if told.members.len() > MAX_TOLD {
                told.members.clear();
            }
        }
        Some(told)
    }
}

impl Request {
    fn told_key(&self) -> ToldKey {
        (self.actor.device, None)
    }
}

/// An answer, and whether a client could do without it.
struct Answer {
    text: String,
    is_empty: bool,
}
