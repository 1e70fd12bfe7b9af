//! Places where two devices leave each other notes while one of them signs in by a QR code.
//!
//! MSC4108, "Insecure rendezvous session", as clients of 2024 use it. Who knows the address of a place
//! may read and write there; what the two devices say is encrypted, and nobody here reads it. The
//! notes are small, few and short-lived, and are in the database, so that each process has them.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::SharedClock,
    random::Random,
    store::{
        Store, StoreError,
        rendezvous::{self, RendezvousSession},
    },
};

/// The length of ids and tags: nobody guesses one.
const ID_LENGTH: usize = 32;

/// What the service is told by the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether there are such places.
    pub is_on: bool,
    /// The most bytes of a note.
    pub max_bytes: usize,
    /// How long a place is open.
    pub lifetime: Duration,
    /// How many may be open at once.
    pub max_sessions: u32,
}

/// Why something could not be left or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such place, or it is closed.
    #[error("there is no such rendezvous")]
    NotFound,
    /// Somebody else has left something in between; it is what is there now.
    #[error("the payload was changed by somebody else")]
    Changed(Box<RendezvousSession>),
    /// The note is too large.
    #[error("the payload is larger than {0} bytes")]
    TooLarge(usize),
    /// As many places as are allowed are open.
    #[error("too many devices are signing in")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Rendezvous(Arc<Inner>);

struct Inner {
    settings: Settings,
    store: Store,
    clock: SharedClock,
    random: Random,
}

impl Rendezvous {
    /// The service.
    pub fn new(settings: Settings, store: Store, clock: SharedClock, random: Random) -> Self {
        Self(Arc::new(Inner {
            settings,
            store,
            clock,
            random,
        }))
    }

    /// Whether there are such places.
    pub fn is_on(&self) -> bool {
        self.0.settings.is_on
    }

    /// The most bytes of a note.
    pub fn max_bytes(&self) -> usize {
        self.0.settings.max_bytes
    }

    /// Opens a place with a first note. Gives its id.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::TooMany`].
    pub async fn create(&self, payload: Vec<u8>) -> Result<(String, RendezvousSession), Error> {
        let session = self.session(payload)?;
        let session_id = self.0.random.alphanumeric(ID_LENGTH);
        let most = i64::from(self.0.settings.max_sessions);
        let mut conn = self.0.store.conn().await?;
        if rendezvous::insert(&mut conn, &session_id, &session, most).await? {
            Ok((session_id, session))
        } else {
            Err(Error::TooMany)
        }
    }

    /// What was left at a place.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn read(&self, session_id: &str) -> Result<RendezvousSession, Error> {
        check(session_id)?;
        let mut conn = self.0.store.conn().await?;
        let found = rendezvous::find(&mut conn, session_id, self.0.clock.now_i64()).await?;
        found.ok_or(Error::NotFound)
    }

    /// Leaves something in the place of what `known` names.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Changed`], [`Error::TooLarge`].
    pub async fn write(
        &self,
        session_id: &str,
        known: &str,
        payload: Vec<u8>,
    ) -> Result<RendezvousSession, Error> {
        check(session_id)?;
        let new = self.session(payload)?;
        let mut conn = self.0.store.conn().await?;
        // PostgreSQL's texts hold no NUL.
        let may_match = !known.contains('\0');
        let is_written =
            may_match && rendezvous::update(&mut conn, session_id, known, &new).await?;
        let now = rendezvous::find(&mut conn, session_id, new.changed_ms).await?;
        let now = now.ok_or(Error::NotFound)?;
        if is_written {
            // The other device may have answered already: this is what was written.
            let expires_ms = now.expires_ms;
            Ok(RendezvousSession { expires_ms, ..new })
        } else {
            Err(Error::Changed(Box::new(now)))
        }
    }

    /// Closes a place.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete(&self, session_id: &str) -> Result<(), Error> {
        check(session_id)?;
        let mut conn = self.0.store.conn().await?;
        let now = self.0.clock.now_i64();
        if rendezvous::delete(&mut conn, session_id, now).await? {
            Ok(())
        } else {
            Err(Error::NotFound)
        }
    }

    fn session(&self, payload: Vec<u8>) -> Result<RendezvousSession, Error> {
        let settings = &self.0.settings;
        if payload.len() > settings.max_bytes {
            return Err(Error::TooLarge(settings.max_bytes));
        }
        let now = self.0.clock.now_i64();
        let lifetime = i64::try_from(settings.lifetime.as_millis()).unwrap_or(i64::MAX);
        Ok(RendezvousSession {
            payload,
            // Another one also where the same is written again.
            etag: self.0.random.alphanumeric(ID_LENGTH),
            changed_ms: now,
            expires_ms: now.saturating_add(lifetime),
        })
    }
}

/// What is no id was never given out.
fn check(session_id: &str) -> Result<(), Error> {
    let is_id =
        session_id.len() == ID_LENGTH && session_id.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_id { Ok(()) } else { Err(Error::NotFound) }
}
