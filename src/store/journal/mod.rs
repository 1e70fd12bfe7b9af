//! The journal: every write that a sync can show, in one order, many in one commit.
//!
//! Services hand a [`Write`] over with [`Journal::submit`] and wait. The task takes all that is
//! waiting, writes it in one transaction ([`commit`]), gives the stream positions last, under the
//! lock of one row, applies it to the memory of this process (`Live`), and answers. While one
//! commit waits for the disk, the next batch gathers.
//!
//! A batch that fails is tried again write by write, so that a bad one alone is refused. When the
//! connection breaks nobody knows whether the commit held: all its writers get an error, and a
//! client that tries again with the same transaction id finds the event if there is one.

mod batch;
mod beside;
mod commit;
mod devices;
mod relating;
mod sends;
mod subscriptions;
mod third_party;
mod unread;
mod write;

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::batch::Batch;
pub use self::write::{
    AccountDataWrite, Committed, DeviceListWrite, NewRoom, ReceiptWrite, Redaction, RelationWrite,
    RoomSummary, RoomWrite, SendTransaction, SendWrite, ThreadSubscriptionWrite, ToDeviceRecipient,
    TransactionWrite, Write,
};
use super::{PooledConn, Store, StoreError};

/// The most writes in one commit.
const MAX_BATCH: usize = 512;
/// About the most bytes in one commit.
const MAX_BATCH_WEIGHT: usize = 8 << 20;
/// The most writes that wait.
const MAX_WAITING: usize = 10_000;
/// About the most bytes that wait.
const MAX_WAITING_WEIGHT: usize = 64 << 20;
/// How long a write waits for a place before it is shed.
const SHED_AFTER: Duration = Duration::from_secs(5);

/// Where services hand their writes in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal {
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
}

/// A write that has its place in the order of writes; wait for it with [`Pending::committed`].
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Result<Committed, StoreError>>);

#[derive(Debug)]
struct Queued {
    write: Write,
    weight: usize,
    answer: oneshot::Sender<Result<Committed, StoreError>>,
    place: OwnedSemaphorePermit,
}

/// What the journal reports of its work.
pub trait JournalObserver: Send + Sync {
    /// A commit of so many writes took so long; so many more were waiting when it began.
    fn committed(&self, writes: usize, took: Duration, waiting: usize);
}

/// The task that writes; there is one in each process.
pub struct JournalTask {
    store: Store,
    queue: mpsc::Receiver<Queued>,
    observer: Option<Arc<dyn JournalObserver>>,
    /// The journal's own connection: giving one back to the pool costs a round trip.
    conn: Option<PooledConn>,
}

impl Journal {
    /// A queue that nobody empties yet, and its other end.
    pub(super) fn new() -> (Self, JournalQueue) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let journal = Self {
            queue: sender,
            room: Arc::new(Semaphore::new(MAX_WAITING_WEIGHT)),
        };
        (journal, JournalQueue(receiver))
    }

    /// Gives a write its place. Writes commit in the order of these calls.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] when there is no place within five seconds, and
    /// [`StoreError::Stopped`] at the end of the process.
    pub async fn submit(&self, write: Write) -> Result<Pending, StoreError> {
        let weight = write.weight().min(MAX_WAITING_WEIGHT);
        let permits = u32::try_from(weight).unwrap_or(u32::MAX);
        let place = Arc::clone(&self.room).acquire_many_owned(permits);
        let place = tokio::time::timeout(SHED_AFTER, place)
            .await
            .map_err(|_| StoreError::Overloaded)?
            .map_err(|_| StoreError::Stopped)?;
        let (answer, answered) = oneshot::channel();
        let queued = Queued {
            write,
            weight,
            answer,
            place,
        };
        match self.queue.send_timeout(queued, SHED_AFTER).await {
            Ok(()) => Ok(Pending(answered)),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(StoreError::Overloaded),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(StoreError::Stopped),
        }
    }

    /// Submits, and waits for the commit.
    pub async fn write(&self, write: Write) -> Result<Committed, StoreError> {
        self.submit(write).await?.committed().await
    }
}

/// The writes that wait.
#[derive(Debug)]
pub struct JournalQueue(mpsc::Receiver<Queued>);

impl Pending {
    /// Waits for the commit.
    ///
    /// # Errors
    /// What the database said; [`StoreError::Conflict`] when the room had moved on.
    pub async fn committed(self) -> Result<Committed, StoreError> {
        self.0.await.unwrap_or(Err(StoreError::Stopped))
    }
}

impl JournalTask {
    /// A task that empties `queue`.
    pub fn new(
        store: Store,
        queue: JournalQueue,
        observer: Option<Arc<dyn JournalObserver>>,
    ) -> Self {
        Self {
            store,
            queue: queue.0,
            observer,
            conn: None,
        }
    }

    /// Writes until `stop` is asked for; what waits then is still written.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                first = self.queue.recv() => first,
                () = stop.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    continue;
                }
            };
            let Some(first) = first else { return };
            let mut weight = first.weight;
            let mut batch = vec![first];
            while batch.len() < MAX_BATCH && weight < MAX_BATCH_WEIGHT {
                let Ok(next) = self.queue.try_recv() else {
                    break;
                };
                weight += next.weight;
                batch.push(next);
            }
            self.write(batch).await;
        }
    }

    async fn write(&mut self, queued: Vec<Queued>) {
        let started = Instant::now();
        let waiting = self.queue.len();
        let count = queued.len();
        let (writes, answers): (Vec<_>, Vec<_>) = queued
            .into_iter()
            .map(|queued| (queued.write, (queued.answer, queued.place)))
            .unzip();
        let answers = answers.into_iter().map(|(answer, _)| answer);
        match self.commit(&writes).await {
            Ok(outcomes) => {
                for (answer, outcome) in answers.zip(outcomes) {
                    // A writer that has gone away does not need its answer.
                    let _ = answer.send(outcome);
                }
            }
            Err(error) if count == 1 || error.is_connection_lost() => {
                if error.unique().is_none() {
                    tracing::warn!(%error, writes = count, "a commit failed");
                }
                let mut error = Some(error);
                for answer in answers {
                    // The first gets the cause; the others, that there was one.
                    let _ = answer.send(Err(error.take().unwrap_or(StoreError::Unavailable)));
                }
            }
            Err(error) => {
                tracing::debug!(%error, writes = count, "a batch failed, trying its writes alone");
                for (answer, write) in answers.zip(writes) {
                    let outcome = self.commit(std::slice::from_ref(&write)).await;
                    let outcome = outcome.and_then(|outcomes| {
                        let alone = outcomes.into_iter().next();
                        alone.unwrap_or(Err(StoreError::Unavailable))
                    });
                    let _ = answer.send(outcome);
                }
            }
        }
        if let Some(observer) = &self.observer {
            observer.committed(count, started.elapsed(), waiting);
        }
    }

    /// One transaction, then what it wrote becomes visible here.
    async fn commit(
        &mut self,
        writes: &[Write],
    ) -> Result<Vec<Result<Committed, StoreError>>, StoreError> {
        let mut batch = Batch::new(writes);
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.store.conn().await?,
        };
        // Held until the commit is visible here, so that nobody reads it back from the log.
        let store = self.store.clone();
        let turn = store.turn().await;
        let last = match commit::commit(&mut conn, &mut batch, store.live().position()).await {
            Ok(last) => last,
            Err(error) => {
                if error.is_connection_lost() {
                    // It must not come back from the pool.
                    drop(conn.detach());
                } else {
                    self.conn = Some(conn);
                }
                return Err(error);
            }
        };
        self.conn = Some(conn);
        let entries = batch.entries(last);
        let outcomes = batch.outcomes(last);
        let (heads, redacted) = (batch.heads(), batch.redacted());
        store.apply_own(turn, entries, heads, &redacted, last).await;
        Ok(outcomes)
    }
}
