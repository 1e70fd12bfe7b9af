//! The one way in which local events get into a room.

use std::{sync::Arc, time::Duration};

use ruma::{OwnedUserId, RoomId, events::room::guest_access::GuestAccess};

use super::{Actor, Error, Rooms, Transaction, persist};
use crate::{
    event::{Draft, Room},
    store::{
        RoomNid, StoreError,
        invitations::NewInvitation,
        journal::{Pending, RoomWrite, TransactionWrite, Write},
        live::{RoomHead, RoomWriter, TimelineEvent},
        relations::UNIQUE_ANNOTATION,
        transactions,
    },
};

/// How often an event is built again on a new head before giving up.
const MAX_ATTEMPTS: u32 = 12;
/// The longest pause between two attempts.
const MAX_PAUSE_MS: u64 = 100;

/// An event that an operation wants to send.
pub struct Planned {
    /// The event.
    pub draft: Draft,
    /// Who sends it.
    pub sender: OwnedUserId,
    /// For a redaction, the event that loses its content.
    pub redacts: Option<Arc<TimelineEvent>>,
    /// For an invitation by e-mail, what is remembered of it.
    pub invitation: Option<Arc<NewInvitation>>,
    /// Whether the policy has decided on it already, as part of something larger, or has nothing
    /// to say, since the server itself chose what it holds.
    pub is_decided: bool,
}

/// What was handed to the journal.
struct Submitted {
    events: Vec<Arc<TimelineEvent>>,
    pending: Pending,
    /// Whether guests may not be in the room any more.
    ends_guest_access: bool,
}

impl Planned {
    /// An event of the acting user.
    pub fn by(actor: &Actor, draft: Draft) -> Self {
        Self {
            draft,
            sender: actor.user_id.clone(),
            redacts: None,
            invitation: None,
            is_decided: false,
        }
    }

    /// The same, without asking the policy again.
    #[must_use]
    pub fn decided(self) -> Self {
        Self {
            is_decided: true,
            ..self
        }
    }
}

impl Rooms {
    /// Sends what `plan` says, in one piece. The plan is asked with the room as it is at the
    /// moment of sending, maybe several times; it answers with no event where there is nothing to
    /// do, and with an error where the operation is not allowed.
    ///
    /// Gives the events, oldest first; or, for a transaction id that was used before, none, and the
    /// id of the event that it made then.
    pub(super) async fn update<P>(
        &self,
        room_id: &RoomId,
        actor: &Actor,
        transaction: Option<&Transaction>,
        plan: P,
    ) -> Result<Vec<Arc<TimelineEvent>>, Error>
    where
        P: Fn(&Room) -> Result<Vec<Planned>, Error> + Send + Sync,
    {
        let nid = self.0.store.room_number(room_id).await?;
        let nid = nid.ok_or(Error::UnknownRoom)?;
        for attempt in 0..MAX_ATTEMPTS {
            let room = self.0.store.load_room(nid).await?;
            let room = room.ok_or(Error::UnknownRoom)?;
            let writer = room.writer().await;
            let generation = writer.generation();
            let seen = writer.head().position();
            let outcome = self.submit(nid, writer, actor, transaction, &plan).await;
            if attempt == 0 && outcome.is_err() {
                // Another process may have allowed it a moment ago, as with a join.
                self.0.store.catch_up().await?;
                if room.head().position() != seen {
                    continue;
                }
            }
            let Some(Submitted {
                events,
                pending,
                ends_guest_access,
            }) = outcome?
            else {
                return Ok(Vec::new());
            };
            match pending.committed().await {
                Ok(_) => {
                    if ends_guest_access {
                        self.tell_guests_unwanted();
                    }
                    return Ok(events);
                }
                Err(StoreError::Conflict) => {
                    room.discard(generation);
                    self.0.store.catch_up().await?;
                    self.pause(attempt).await;
                }
                Err(error) => {
                    room.discard(generation);
                    if error.unique() == Some(UNIQUE_ANNOTATION) {
                        return Err(Error::DuplicateAnnotation);
                    }
                    return Err(error.into());
                }
            }
        }
        Err(Error::Busy)
    }

    /// Builds the planned events on the writer's head and hands them to the journal.
    async fn submit<P>(
        &self,
        nid: RoomNid,
        writer: RoomWriter<'_>,
        actor: &Actor,
        transaction: Option<&Transaction>,
        plan: &P,
    ) -> Result<Option<Submitted>, Error>
    where
        P: Fn(&Room) -> Result<Vec<Planned>, Error> + Send + Sync,
    {
        let head = Arc::clone(writer.head());
        let planned = plan(head.room())?;
        if planned.is_empty() {
            return Ok(None);
        }
        let built = self.build(nid, &head, planned, actor, transaction).await?;
        let write = Write {
            room: Some(RoomWrite {
                room: nid,
                created: None,
                expected: head.position(),
                summary: changed_summary(&head, &built),
                events: built.events.clone(),
                redactions: built.redactions,
                relations: built.relations,
                head: Arc::clone(&built.head),
                transaction: self.transaction_write(transaction, &built.events),
                invitations: built.invitations,
            }),
            ..Write::default()
        };
        let pending = self.0.store.journal().submit(write).await?;
        let lets_guests_in = |head: &RoomHead| *head.room().guest_access() == GuestAccess::CanJoin;
        let ends_guest_access = lets_guests_in(&head) && !lets_guests_in(&built.head);
        writer.submitted(built.head);
        Ok(Some(Submitted {
            events: built.events,
            pending,
            ends_guest_access,
        }))
    }

    fn transaction_write(
        &self,
        transaction: Option<&Transaction>,
        events: &[Arc<TimelineEvent>],
    ) -> Option<TransactionWrite> {
        let transaction = transaction?;
        Some(TransactionWrite {
            device: transaction.device,
            key: transaction.key,
            event_id: events.first()?.pdu.owned_event_id().clone(),
            at: self.0.clock.now_i64(),
        })
    }

    /// A growing pause with some chance in it, so that two writers do not meet again and again.
    async fn pause(&self, attempt: u32) {
        if attempt == 0 {
            return;
        }
        let most = (1_u64 << attempt.min(10)).min(MAX_PAUSE_MS);
        let pause = Duration::from_millis(self.0.random.range(0..most));
        tokio::time::sleep(pause).await;
    }

    /// The event that a transaction id made, if it was used before.
    pub(super) async fn used_transaction(
        &self,
        transaction: &Transaction,
    ) -> Result<Option<ruma::OwnedEventId>, Error> {
        let mut conn = self.0.store.conn().await?;
        Ok(transactions::find(&mut conn, transaction.device, &transaction.key).await?)
    }
}

/// The directory's view of the room, if these events change it.
fn changed_summary(
    before: &RoomHead,
    built: &persist::Built,
) -> Option<Box<crate::store::journal::RoomSummary>> {
    let touched = built
        .events
        .iter()
        .any(|event| persist::touches_summary(&event.pdu));
    if !touched && built.redactions.is_empty() {
        return None;
    }
    let after = persist::summary(built.head.room());
    (after != persist::summary(before.room())).then(|| Box::new(after))
}
