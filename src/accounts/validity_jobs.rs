//! What is done now and then for accounts that expire: dates for accounts that have none,
//! reminders, and closing what nobody renewed (AV-02, AV-03, AV-15).
//!
//! One process at a time does it, in batches, and another goes on where it stopped.

use std::time::Duration;

use super::{Accounts, Error, ValiditySettings, sessions::later};
use crate::{
    audit::Actor,
    store::{Store, UserNid, account_validity, accounts::ClosedBy, job_leases, user_directory},
};

/// For how long a job is taken; each batch takes it anew.
const LEASE: Duration = Duration::from_mins(5);
/// How many accounts get a date, or are closed, at once.
const BATCH: i64 = 1000;
/// How many mails are sent at once.
const MAIL_BATCH: i64 = 100;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ValidityWork {
    /// How many accounts got their first date.
    pub dated: usize,
    /// How many mails were sent.
    pub mailed: usize,
    /// How many accounts were closed.
    pub closed: usize,
}

impl Accounts {
    /// Does all that is due. To be called every half hour by every process: one of them works.
    pub async fn keep_validity(&self) -> Result<ValidityWork, Error> {
        const JOB: &str = "account validity";
        let mut work = ValidityWork::default();
        if !self.take_job(JOB).await? {
            return Ok(work);
        }
        let done = match self.validity() {
            Some(settings) => self.do_validity(JOB, settings, &mut work).await,
            None => Ok(()),
        };
        let done = match done {
            Ok(()) => self.follow_in_directory(JOB).await,
            Err(error) => Err(error),
        };
        let mut conn = self.0.store.conn().await?;
        job_leases::release(&mut conn, JOB, &self.0.process).await?;
        if work != ValidityWork::default() {
            let ValidityWork {
                dated,
                mailed,
                closed,
            } = work;
            tracing::info!(dated, mailed, closed, "account validity was kept");
        }
        done.map(|()| work)
    }

    async fn do_validity(
        &self,
        job: &str,
        settings: &ValiditySettings,
        work: &mut ValidityWork,
    ) -> Result<(), Error> {
        loop {
            let count = self.date_batch(settings).await?;
            work.dated += count;
            if is_last(count, BATCH) || !self.take_job(job).await? {
                break;
            }
        }
        loop {
            let (tried, sent) = self.mail_batch(settings).await?;
            work.mailed += sent;
            if is_last(tried, MAIL_BATCH) || !self.take_job(job).await? {
                break;
            }
        }
        let Some(after) = settings.deactivate_after else {
            return Ok(());
        };
        loop {
            let (found, closed) = self.close_batch(settings, after).await?;
            work.closed += closed;
            // What cannot be closed would be found again.
            if is_last(found, BATCH) || closed < found || !self.take_job(job).await? {
                return Ok(());
            }
        }
    }

    /// AV-17: who has expired is not found by name, and is again when that has changed.
    async fn follow_in_directory(&self, job: &str) -> Result<(), Error> {
        let nobody = Vec::new();
        let settings = self.validity();
        let exclude = settings.map_or(&nobody, |settings| &settings.exclude);
        loop {
            let now = settings.map(|_| self.0.clock.now_i64());
            let mut tx = self.0.store.begin().await?;
            let hidden = account_validity::list_to_hide(&mut tx, exclude, now, BATCH).await?;
            user_directory::set_expired(&mut tx, &hidden, true).await?;
            let shown = account_validity::list_to_show(&mut tx, exclude, now, BATCH).await?;
            user_directory::set_expired(&mut tx, &shown, false).await?;
            Store::commit(tx).await?;
            let is_done = is_last(hidden.len(), BATCH) && is_last(shown.len(), BATCH);
            if is_done || !self.take_job(job).await? {
                return Ok(());
            }
        }
    }

    async fn take_job(&self, job: &str) -> Result<bool, Error> {
        let now = self.0.clock.now_i64();
        let mut conn = self.0.store.conn().await?;
        Ok(job_leases::take(&mut conn, job, &self.0.process, now, later(now, LEASE)).await?)
    }

    /// AV-02: somewhere in the last tenth of the period, so that not all mails go out at once.
    async fn date_batch(&self, settings: &ValiditySettings) -> Result<usize, Error> {
        let mut tx = self.0.store.begin().await?;
        let users = account_validity::list_missing(&mut tx, &settings.exclude, BATCH).await?;
        let now = self.0.clock.now_i64();
        let period = u64::try_from(settings.period.as_millis()).unwrap_or(u64::MAX);
        let dates: Vec<i64> = users
            .iter()
            .map(|_| {
                let left = period - self.0.random.range(0..(period / 10).saturating_add(1));
                later(now, Duration::from_millis(left))
            })
            .collect();
        account_validity::insert(&mut tx, &users, &dates).await?;
        Store::commit(tx).await?;
        Ok(users.len())
    }

    /// Mails are counted as sent once the queue has them: after a crash between the two a few
    /// people get the same mail twice, and nobody gets none.
    async fn mail_batch(&self, settings: &ValiditySettings) -> Result<(usize, usize), Error> {
        let delays: Vec<i64> = settings
            .reminders
            .iter()
            .map(|delay| i64::try_from(delay.as_millis()).unwrap_or(i64::MAX))
            .collect();
        if delays.is_empty() {
            return Ok((0, 0));
        }
        let now = self.0.clock.now_i64();
        let mut conn = self.0.store.conn().await?;
        let due = account_validity::list_due_mails(
            &mut conn,
            &delays,
            &settings.exclude,
            now,
            MAIL_BATCH,
        )
        .await?;
        let users: Vec<UserNid> = due.iter().map(|mail| mail.user).collect();
        let tokens: Vec<_> = users.iter().map(|user| self.renewal_token(*user)).collect();
        let hashes: Vec<_> = tokens.iter().map(|token| token.hash).collect();
        account_validity::update_tokens(&mut conn, &users, &hashes).await?;
        drop(conn);
        let mut sent = Vec::with_capacity(due.len());
        let mut failure = None;
        for (mail, token) in due.iter().zip(&tokens) {
            match self.mail_renewal(mail, token).await {
                Ok(()) => sent.push(mail.user),
                // One address that takes no mail does not keep the others from theirs.
                Err(error) if is_refusal(&error) => {
                    tracing::warn!(user.id = %mail.user_id, %error, "a reminder cannot be sent");
                    sent.push(mail.user);
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        let mut conn = self.0.store.conn().await?;
        account_validity::update_mailed(&mut conn, &sent, now).await?;
        match failure {
            Some(error) => Err(error),
            None => Ok((due.len(), sent.len())),
        }
    }

    /// AV-15. Nothing is erased. One account that fails does not keep the others.
    async fn close_batch(
        &self,
        settings: &ValiditySettings,
        after: Duration,
    ) -> Result<(usize, usize), Error> {
        let now = self.0.clock.now_i64();
        let after = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        let before = now.saturating_sub(after);
        let found = {
            let mut conn = self.0.store.conn().await?;
            let exclude = &settings.exclude;
            account_validity::list_long_expired(&mut conn, exclude, before, BATCH).await?
        };
        let mut closed = 0;
        let count = found.len();
        for (user, user_id) in found {
            match self
                .close(
                    (user, user_id),
                    false,
                    (ClosedBy::Expiry, Actor::Server),
                    None,
                )
                .await
            {
                Ok(_) => closed += 1,
                Err(error) => tracing::warn!(%error, "an expired account cannot be closed"),
            }
        }
        Ok((count, closed))
    }
}

fn is_last(count: usize, batch: i64) -> bool {
    i64::try_from(count).is_ok_and(|count| count < batch)
}

/// Whether a mail will never be taken.
fn is_refusal(error: &Error) -> bool {
    use crate::mail::MailError;

    matches!(error, Error::Mail(MailError::Invalid(_)))
}
