//! Events that are sent later: asking for them, and what can be done with them until then (MSC4140).
//!
//! They stand in the database, and whichever process sees that one is due sends it
//! ([`delayed_sending`](super::delayed_sending)). Whether somebody may send the event is decided
//! then and not before.

use std::time::Duration;

use ruma::{
    CanonicalJsonObject, OwnedEventId, RoomId, TransactionId,
    events::{StateEventType, TimelineEventType},
};
use serde_json::value::RawValue;

use super::{Actor, Error, How, Rooms, state_rules};
use crate::{
    event::build,
    store::{
        delayed_events::{self, DelayedEvent, NewDelayedEvent, Standing},
        transactions,
    },
};

/// Sets the transaction ids of delayed events apart from those of events that are sent at once.
const TRANSACTIONS: &str = "delayed";
/// The longest content, in bytes: no event can be longer.
const MAX_CONTENT: usize = 65_535;
/// The longest type and the longest state key, in bytes.
const MAX_NAME: usize = 255;

/// How much later events may be sent; by default none.
#[derive(Clone, Copy, Debug, Default)]
pub struct DelayedLimits {
    /// The longest delay.
    pub max_delay: Duration,
    /// How many events one user may have scheduled; 0: the server delays no events.
    pub max_scheduled: u32,
}

/// An event that somebody wants sent later.
#[derive(Clone, Copy, Debug)]
pub struct Delayed<'a> {
    /// The room.
    pub room_id: &'a RoomId,
    /// Its type.
    pub event_type: &'a TimelineEventType,
    /// Its state key, if it is state.
    pub state_key: Option<&'a str>,
    /// Its content.
    pub content: &'a RawValue,
    /// How long to wait.
    pub delay: Duration,
    /// The client's transaction id.
    pub transaction_id: Option<&'a TransactionId>,
}

/// What is done with an event that is to be sent later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DelayedAction {
    /// It waits anew.
    Restart,
    /// It is sent now.
    Send,
    /// It is never sent.
    Cancel,
}

impl Rooms {
    /// How much later events may be sent.
    pub fn delayed_limits(&self) -> DelayedLimits {
        self.0.settings.delayed
    }

    /// Schedules an event, and gives the secret that names it. A transaction id that was used
    /// before gives what it made.
    ///
    /// # Errors
    /// [`Error::NotJoined`]; [`Error::DelayTooLong`]; [`Error::TooManyDelayed`]; and what is wrong
    /// with the event.
    pub async fn delay_event(&self, actor: &Actor, event: &Delayed<'_>) -> Result<String, Error> {
        let limits = self.delayed_limits();
        if limits.max_scheduled == 0 {
            let message = "this server sends no events later";
            return Err(Error::Forbidden(message.to_owned()));
        }
        let room = self.joined_room(event.room_id, &actor.user_id).await?;
        let event_type = event.event_type.to_string();
        let transaction = event.transaction_id.zip(actor.device);
        let transaction = transaction.map(|(id, device)| {
            let id = format!("{TRANSACTIONS} {id}");
            (device, transactions::key(event.room_id, &event_type, &id))
        });
        if let Some((device, key)) = &transaction {
            let mut conn = self.0.store.conn().await?;
            let known = delayed_events::find_by_transaction(&mut conn, *device, key).await?;
            if let Some(known) = known {
                return Ok(known);
            }
        }
        check(event, &event_type)?;
        if event.delay.is_zero() {
            return Err(Error::Invalid("the delay is nothing".to_owned()));
        }
        if event.delay > limits.max_delay {
            return Err(Error::DelayTooLong(limits.max_delay));
        }
        let delay_id = self.0.random.secret("chd_");
        let now_ms = self.0.clock.now_i64();
        let delay_ms = milliseconds(event.delay);
        let new = NewDelayedEvent {
            delay_id: &delay_id,
            user: actor.user,
            device: actor.device,
            transaction_key: transaction.map(|(_, key)| key),
            room: room.nid(),
            event_type: &event_type,
            state_key: event.state_key,
            content: event.content.get(),
            delay_ms,
            now_ms,
            most: limits.max_scheduled.into(),
        };
        let mut conn = self.0.store.conn().await?;
        if delayed_events::insert(&mut conn, &new).await? {
            drop(conn);
            self.expect_delayed(now_ms.saturating_add(delay_ms));
            return Ok(delay_id);
        }
        // The same request may have come twice at once.
        if let Some((device, key)) = &transaction
            && let Some(known) =
                delayed_events::find_by_transaction(&mut conn, *device, key).await?
        {
            return Ok(known);
        }
        let first = delayed_events::first_due_of(&mut conn, actor.user).await?;
        let wait = first.map_or(0, |due| due.saturating_sub(now_ms));
        Err(Error::TooManyDelayed {
            retry_after: Duration::from_millis(u64::try_from(wait).unwrap_or(0)),
        })
    }

    /// The events that a user has still to send, in the order in which they are due.
    pub async fn delayed_events(&self, actor: &Actor) -> Result<Vec<DelayedEvent>, Error> {
        let mut conn = self.0.store.conn().await?;
        Ok(delayed_events::list_scheduled(&mut conn, actor.user).await?)
    }

    /// One event of a user, which may be done for some days.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for those of others.
    pub async fn delayed_event(
        &self,
        actor: &Actor,
        delay_id: &str,
    ) -> Result<DelayedEvent, Error> {
        check_delay_id(delay_id)?;
        let mut conn = self.0.store.conn().await?;
        let found = delayed_events::find(&mut conn, actor.user, delay_id).await?;
        found.ok_or(Error::NotFound(WHAT))
    }

    /// Does something with an event that is to be sent later. Whoever knows its id may. What was
    /// done already is done.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::DelayedDone`] if the opposite was done, or is being done just
    /// now; and why it could not be sent, after which it waits on.
    pub async fn manage_delayed(&self, delay_id: &str, action: DelayedAction) -> Result<(), Error> {
        check_delay_id(delay_id)?;
        let now_ms = self.0.clock.now_i64();
        let done = match action {
            DelayedAction::Restart => {
                let mut conn = self.0.store.conn().await?;
                let due = delayed_events::restart(&mut conn, delay_id, now_ms).await?;
                if let Some(due) = due {
                    drop(conn);
                    self.expect_delayed(due);
                }
                due.is_some()
            }
            DelayedAction::Cancel => {
                let mut conn = self.0.store.conn().await?;
                delayed_events::cancel(&mut conn, delay_id, now_ms).await?
            }
            DelayedAction::Send => self.send_delayed_now(delay_id).await?.is_some(),
        };
        if done {
            return Ok(());
        }
        let mut conn = self.0.store.conn().await?;
        let standing = delayed_events::standing(&mut conn, delay_id, now_ms).await?;
        match (standing.ok_or(Error::NotFound(WHAT))?, action) {
            (Standing::Sent | Standing::UnderWay, DelayedAction::Send)
            | (Standing::Canceled, DelayedAction::Cancel) => Ok(()),
            _ => Err(Error::DelayedDone),
        }
    }

    /// Sends an event whose time has come. `transaction_id` makes sure that it is sent once,
    /// whoever tries again.
    pub(super) async fn send_late(
        &self,
        actor: &Actor,
        event: &Delayed<'_>,
        transaction_id: &TransactionId,
    ) -> Result<OwnedEventId, Error> {
        let event_type = event.event_type.clone();
        match event.state_key {
            None => {
                let room_id = event.room_id;
                self.send_message(actor, room_id, event_type, event.content, transaction_id)
                    .await
            }
            Some(state_key) => {
                let event_type = StateEventType::from(event_type.to_string());
                let how = How {
                    transaction_id: Some(transaction_id),
                    ..How::default()
                };
                let (room_id, content) = (event.room_id, event.content);
                self.send_state_as(actor, room_id, &event_type, state_key, content, how)
                    .await
            }
        }
    }
}

/// What is not found.
const WHAT: &str = "delayed event";

/// What can be said of an event before its time.
fn check(event: &Delayed<'_>, event_type: &str) -> Result<(), Error> {
    let content: CanonicalJsonObject = build::content_from_json(event.content)?;
    if event.content.get().len() > MAX_CONTENT {
        return Err(Error::TooLarge("the event"));
    }
    let names = [Some(event_type), event.state_key];
    for name in names.into_iter().flatten() {
        if name.len() > MAX_NAME || name.contains('\0') {
            let message = "the type or the state key cannot be used";
            return Err(Error::Invalid(message.to_owned()));
        }
    }
    if event.content.get().contains("\\u0000") {
        return Err(Error::Invalid("the content has a NUL".to_owned()));
    }
    if let Some(state_key) = event.state_key {
        let event_type = StateEventType::from(event_type);
        state_rules::check_content(&event_type, state_key, &content)?;
    }
    Ok(())
}

/// The database keeps no NUL.
fn check_delay_id(delay_id: &str) -> Result<(), Error> {
    if delay_id.len() > MAX_NAME || delay_id.contains('\0') {
        return Err(Error::NotFound(WHAT));
    }
    Ok(())
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
