//! Mails to people: one method per kind of mail.
//!
//! A [`Writer`] renders a mail from the templates in `config/templates/mail`, or those that an
//! operator put in their place, and makes a message with a text and an HTML part of it. The
//! [`Mailer`] puts it into the queue in the database, and each process sends what waits there
//! through its [`Carrier`]: to the mail server, or into a folder where there is none ([`Outbox`]).

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use url::Url;

use crate::{
    clock::SharedClock,
    language::Language,
    random::Random,
    store::{
        Store,
        mails::{self, Backlog, NewMail},
    },
};

mod carrier;
mod error;
mod letter;
mod message;
mod outbox;
mod queue;
mod settings;
mod smtp;
mod templates;
#[cfg(test)]
mod tests;
mod words;
mod writer;

pub use self::{
    carrier::Carrier,
    error::{DeliveryError, InvalidMail, MailError, SetupError, Unavailable},
    letter::{Invitation, Kind, Letter, Renewal, Unread},
    outbox::{Outbox, OutboxMail},
    settings::{Encryption, MailSettings},
    templates::Content,
    writer::{Mail, Sample, Writer},
};

/// Puts mails into the queue, and sends what is there. Clones share everything.
#[derive(Clone)]
pub struct Mailer(Arc<Inner>);

struct Inner {
    writer: Writer,
    carrier: Carrier,
    store: Store,
    /// How long sending one mail may take.
    timeout: Duration,
    clock: SharedClock,
    random: Random,
    /// Tells the task that sends that there is something to do.
    wake: Notify,
    counts: Counts,
}

/// What became of the mails that this process sent, and what it last saw of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// How many the mail server took.
    pub sent: u64,
    /// How many were given up: refused for good, or tried for days.
    pub failed: u64,
    /// How many were dropped because their link was no longer good.
    pub expired: u64,
    /// How often a mail was put off.
    pub postponed: u64,
    /// How many mails were in the queue, of all processes.
    pub waiting: i64,
    /// When the oldest of them was written, in milliseconds since the epoch.
    pub oldest_ms: Option<i64>,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    failed: AtomicU64,
    expired: AtomicU64,
    postponed: AtomicU64,
    waiting: AtomicI64,
    /// 0: there is none.
    oldest_ms: AtomicI64,
}

impl Counts {
    fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    fn expired(&self) {
        self.expired.fetch_add(1, Ordering::Relaxed);
    }

    fn postponed(&self) {
        self.postponed.fetch_add(1, Ordering::Relaxed);
    }

    fn measure(&self, backlog: Backlog) {
        self.waiting.store(backlog.count, Ordering::Relaxed);
        let oldest = backlog.oldest_ms.unwrap_or(0);
        self.oldest_ms.store(oldest, Ordering::Relaxed);
    }

    fn read(&self) -> Outcomes {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Outcomes {
            sent: read(&self.sent),
            failed: read(&self.failed),
            expired: read(&self.expired),
            postponed: read(&self.postponed),
            waiting: self.waiting.load(Ordering::Relaxed),
            oldest_ms: Some(self.oldest_ms.load(Ordering::Relaxed)).filter(|ms| *ms > 0),
        }
    }
}

impl Mailer {
    /// A mailer on the queue of `store`. `timeout` is how long sending one mail may take.
    pub fn new(
        writer: Writer,
        carrier: Carrier,
        timeout: Duration,
        store: Store,
        clock: SharedClock,
        random: Random,
    ) -> Self {
        Self(Arc::new(Inner {
            writer,
            carrier,
            store,
            timeout,
            clock,
            random,
            wake: Notify::new(),
            counts: Counts::default(),
        }))
    }

    /// What became of the mails.
    pub fn outcomes(&self) -> Outcomes {
        self.0.counts.read()
    }

    /// For how long the oldest mail had been waiting when the queue was last looked at.
    pub fn oldest_age(&self) -> Duration {
        let oldest = self.outcomes().oldest_ms;
        oldest.map_or(Duration::ZERO, |oldest| {
            let age = self.0.clock.now_i64().saturating_sub(oldest);
            Duration::from_millis(u64::try_from(age).unwrap_or(0))
        })
    }

    /// The folder of mails, where there is no mail server.
    pub fn outbox(&self) -> Option<&Outbox> {
        self.0.carrier.outbox()
    }

    /// Asks the holder of an address to open `link`, to show that the address is theirs
    /// (`/register/email/requestToken` and `/account/3pid/email/requestToken`, v1.19).
    ///
    /// `to` comes from a parsed address; what has not exactly one `@` is refused here all the
    /// same. `language` is `None` where the person's is not known.
    ///
    /// # Errors
    ///
    /// As for all of these: the mail cannot be written or not be queued. It is safe in the queue
    /// once this returns; whether it can be sent shows later.
    pub async fn send_address_verification(
        &self,
        to: &str,
        link: &Url,
        language: Option<Language>,
        valid_for: Duration,
    ) -> Result<(), MailError> {
        let letter = Letter::AddressVerification { link, valid_for };
        self.send(to, &letter, language).await
    }

    /// Asks the holder of an account to open `link`, to allow a new password
    /// (`/account/password/email/requestToken`, v1.19). The arguments are those of
    /// [`send_address_verification`](Self::send_address_verification).
    pub async fn send_password_reset(
        &self,
        to: &str,
        link: &Url,
        language: Option<Language>,
        valid_for: Duration,
    ) -> Result<(), MailError> {
        let letter = Letter::PasswordReset { link, valid_for };
        self.send(to, &letter, language).await
    }

    /// Invites somebody who has no account (tchap.md, section 5.4).
    pub async fn send_invitation(
        &self,
        to: &str,
        invitation: &Invitation<'_>,
        language: Option<Language>,
    ) -> Result<(), MailError> {
        let letter = Letter::Invitation(*invitation);
        self.send(to, &letter, language).await
    }

    /// Asks the holder of an account to keep it open (tchap.md, section 2.8).
    pub async fn send_renewal(
        &self,
        to: &str,
        renewal: &Renewal<'_>,
        language: Option<Language>,
    ) -> Result<(), MailError> {
        self.send(to, &Letter::Renewal(*renewal), language).await
    }

    /// Tells somebody who wants to make an account that there is one; `link` is where to log in.
    pub async fn send_already_registered(
        &self,
        to: &str,
        link: &Url,
        language: Option<Language>,
    ) -> Result<(), MailError> {
        let letter = Letter::AlreadyRegistered { link };
        self.send(to, &letter, language).await
    }

    /// Tells somebody of messages that wait. What they say is no business of mails.
    pub async fn send_unread(
        &self,
        to: &str,
        unread: &Unread<'_>,
        language: Option<Language>,
    ) -> Result<(), MailError> {
        self.send(to, &Letter::Unread(*unread), language).await
    }

    async fn send(
        &self,
        to: &str,
        letter: &Letter<'_>,
        language: Option<Language>,
    ) -> Result<(), MailError> {
        let mail = self.0.writer.write(to, letter, language)?;
        let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let mut conn = self.0.store.conn().await?;
        let new = NewMail {
            kind: mail.kind.as_str(),
            recipient: &mail.recipient,
            message: &mail.message,
            created_ms: ms(mail.written_ms),
            valid_until_ms: mail.valid_until_ms.map(ms),
        };
        mails::insert(&mut conn, new).await?;
        self.0.wake.notify_one();
        Ok(())
    }
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let outbox: Option<&Path> = self.outbox().map(Outbox::folder);
        f.debug_struct("Mailer")
            .field("outbox", &outbox)
            .finish_non_exhaustive()
    }
}
