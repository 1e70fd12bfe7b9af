//! Sends the events whose time has come.
//!
//! Every process does this, and takes events by lease ([`store::delayed_sending`]): those that it
//! was asked for itself in time, those of others now and then, in case they died.
//!
//! [`store::delayed_sending`]: crate::store::delayed_sending

use std::{
    collections::HashMap,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use ruma::{OwnedEventId, OwnedRoomId, OwnedTransactionId, events::TimelineEventType};
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Actor, Delayed, Error, Rooms};
use crate::store::{
    Store, StoreError, delayed_events,
    delayed_sending::{self, Outcome, TakenEvent},
    live::DELAYED,
};

/// How often it is looked at what is due without knowing of anything.
const LOOK: Duration = Duration::from_secs(10);
/// The pause before looking again at what is due and could not be taken: another process sends
/// something else of the same sender for the same room.
const HELD_UP_MS: i64 = 250;
/// How many events are taken at once.
const BATCH: i64 = 100;
/// How many rooms are sent to at once.
const ROOMS_AT_ONCE: usize = 8;
/// For how long a process has what it took: longer than sending a batch takes.
const LEASE_MS: i64 = 60_000;
/// The pause after a failure that may pass; each one after waits twice as long.
const RETRY_MS: i64 = 2_000;
/// How often an event is tried that cannot be sent for now.
const MAX_ATTEMPTS: i32 = 12;
/// For how long it is remembered what became of an event.
const REMEMBERED_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// How many are forgotten with one statement.
const FORGOTTEN_AT_ONCE: i64 = 1_000;

/// When this process looks next at what is due.
#[derive(Debug)]
pub(super) struct DelayedClock {
    next_ms: AtomicI64,
    earlier: Notify,
}

impl DelayedClock {
    pub(super) fn new() -> Self {
        Self {
            next_ms: AtomicI64::new(i64::MAX),
            earlier: Notify::new(),
        }
    }
}

impl Rooms {
    /// Sees to it that this process looks when an event is due.
    pub(super) fn expect_delayed(&self, due_ms: i64) {
        let clock = &self.0.delayed;
        if clock.next_ms.fetch_min(due_ms, Ordering::SeqCst) > due_ms {
            clock.earlier.notify_one();
        }
    }

    /// Sends events when they are due, until `stop`. One task of each process.
    pub async fn send_delayed(self, stop: CancellationToken) {
        loop {
            let clock = &self.0.delayed;
            // What is asked for from here on wakes this, if it is due before the next look.
            clock.next_ms.store(i64::MAX, Ordering::SeqCst);
            let next = match self.send_delayed_due().await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(%error, "events that are due cannot be read");
                    None
                }
            };
            if let Some(next) = next {
                clock.next_ms.fetch_min(next, Ordering::SeqCst);
            }
            let now = self.0.clock.now_i64();
            let left = clock.next_ms.load(Ordering::SeqCst).saturating_sub(now);
            let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
            tokio::select! {
                () = stop.cancelled() => return,
                () = clock.earlier.notified() => {}
                () = tokio::time::sleep(left.min(LOOK)) => {}
            }
        }
    }

    /// Sends what is due now: what somebody has for a room, in the order in which it is. Gives when
    /// to look again.
    pub async fn send_delayed_due(&self) -> Result<Option<i64>, Error> {
        loop {
            let now = self.0.clock.now_i64();
            let mut tx = self.0.store.begin().await?;
            let lease = now.saturating_add(LEASE_MS);
            let taken = delayed_sending::take_due(&mut tx, now, lease, BATCH).await?;
            Store::commit(tx).await?;
            if taken.is_empty() {
                let mut conn = self.0.store.conn().await?;
                let next = delayed_sending::next_attempt(&mut conn).await?;
                let held_up = now.saturating_add(HELD_UP_MS);
                return Ok(next.map(|next| if next > now { next } else { held_up }));
            }
            // One room after the other in order; rooms beside each other.
            let mut rooms: HashMap<OwnedRoomId, Vec<TakenEvent>> = HashMap::new();
            for event in taken {
                rooms.entry(event.room_id.clone()).or_default().push(event);
            }
            let rooms = rooms.into_values().map(|events| async move {
                for event in events {
                    self.send_taken(&event).await;
                }
            });
            stream::iter(rooms)
                .buffer_unordered(ROOMS_AT_ONCE)
                .collect::<Vec<()>>()
                .await;
        }
    }

    /// Sends an event that may not be due yet. `None`: it cannot be taken. After an error it waits
    /// on as before.
    pub(super) async fn send_delayed_now(
        &self,
        delay_id: &str,
    ) -> Result<Option<OwnedEventId>, Error> {
        let now = self.0.clock.now_i64();
        let taken = {
            let mut conn = self.0.store.conn().await?;
            let lease = now.saturating_add(LEASE_MS);
            delayed_sending::take(&mut conn, delay_id, now, lease).await?
        };
        let Some(taken) = taken else {
            return Ok(None);
        };
        let sent = self.try_taken(&taken).await;
        let mut conn = self.0.store.conn().await?;
        match sent {
            Ok(event_id) => {
                let outcome = Outcome::Sent(event_id.as_str());
                delayed_sending::finish(&mut conn, &taken, now, outcome).await?;
                Ok(Some(event_id))
            }
            Err(error) => {
                let next = taken.due_ms.max(now.saturating_add(RETRY_MS));
                delayed_sending::release(&mut conn, &taken, next).await?;
                drop(conn);
                self.expect_delayed(next);
                Err(error)
            }
        }
    }

    async fn send_taken(&self, taken: &TakenEvent) {
        let sent = self.try_taken(taken).await;
        let now = self.0.clock.now_i64();
        if let Err(error) = self.note_outcome(taken, sent, now).await {
            // The lease ends, and it is tried again: the transaction id keeps it from being sent
            // twice.
            tracing::warn!(%error, "what became of a delayed event could not be noted");
        }
    }

    async fn note_outcome(
        &self,
        taken: &TakenEvent,
        sent: Result<OwnedEventId, Error>,
        now: i64,
    ) -> Result<(), StoreError> {
        let mut conn = self.0.store.conn().await?;
        let error = match sent {
            Ok(event_id) => {
                let outcome = Outcome::Sent(event_id.as_str());
                return delayed_sending::finish(&mut conn, taken, now, outcome).await;
            }
            Err(error) => error,
        };
        let may_pass = matches!(error, Error::Busy | Error::Store(_));
        if may_pass && taken.attempts < MAX_ATTEMPTS {
            let doublings = u32::try_from(taken.attempts).unwrap_or(0).min(10);
            let next = now.saturating_add(RETRY_MS << doublings);
            return delayed_sending::release(&mut conn, taken, next).await;
        }
        tracing::info!(room.id = %taken.room_id, user.id = %taken.user_id, %error, "a delayed event cannot be sent");
        let (errcode, message) = describe(&error);
        let outcome = Outcome::Failed(errcode, &message);
        delayed_sending::finish(&mut conn, taken, now, outcome).await
    }

    async fn try_taken(&self, taken: &TakenEvent) -> Result<OwnedEventId, Error> {
        if taken.is_deactivated || taken.is_held {
            return Err(Error::HeldBack);
        }
        let content = RawValue::from_string(taken.content.clone());
        let content = content.map_err(|error| Error::Invalid(error.to_string()))?;
        let actor = Actor {
            user_id: taken.user_id.clone(),
            user: taken.user,
            device: taken.device,
        };
        let transaction_id: OwnedTransactionId = format!("{DELAYED}{}", taken.delay_id).into();
        let event = Delayed {
            room_id: &taken.room_id,
            event_type: &TimelineEventType::from(taken.event_type.as_str()),
            state_key: taken.state_key.as_deref(),
            content: &content,
            delay: Duration::ZERO,
            transaction_id: None,
        };
        self.send_late(&actor, &event, &transaction_id).await
    }

    /// Forgets what became of events long ago. To be called now and then.
    pub async fn forget_delayed(&self) -> Result<(), Error> {
        let before = self.0.clock.now_i64().saturating_sub(REMEMBERED_MS);
        let mut conn = self.0.store.conn().await?;
        let most = FORGOTTEN_AT_ONCE;
        while delayed_events::delete_old(&mut conn, before, most).await? >= most.unsigned_abs() {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// Why an event could not be sent, for its sender.
fn describe(error: &Error) -> (&'static str, String) {
    let errcode = match error {
        Error::Denied(violation) => violation.kind.errcode(),
        Error::HeldBack => "M_USER_SUSPENDED",
        Error::NotJoined | Error::Forbidden(_) => "M_FORBIDDEN",
        Error::UnknownEvent | Error::UnknownState | Error::UnknownRoom => "M_NOT_FOUND",
        Error::TooLarge(_) => "M_TOO_LARGE",
        Error::BadContent(_) | Error::BadJson(_) => "M_BAD_JSON",
        _ => "M_UNKNOWN",
    };
    let message = match error {
        // Of no use to people, and not theirs to know.
        Error::Store(_) => "the server could not do it".to_owned(),
        error => error.to_string(),
    };
    (errcode, message)
}
