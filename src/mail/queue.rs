//! Sends the mails that wait in the database.
//!
//! Every process does this, and takes mails by lease (`store::mails`). A mail that could not be
//! sent is tried again, later each time. Where no mail can be sent at all, one is tried now and
//! then, so that the others leave as soon as the mail server is back.

use std::time::Duration;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Mailer,
    error::{DeliveryError, Unavailable},
};
use crate::store::{
    StoreError,
    mails::{self, TakenMail},
};

/// How often the queue is looked at when nothing is heard of it: for the mails of processes that
/// died.
const LOOK: Duration = Duration::from_secs(15);

/// The pause before a mail that is due and was not got: another process is taking it.
const AT_ONCE: Duration = Duration::from_millis(20);

/// The pause after the database failed.
const DATABASE_PAUSE: Duration = Duration::from_secs(5);

/// How long a mail is tried for, at least once.
const PATIENCE: Duration = Duration::from_hours(72);

/// How much longer a process may have a mail than sending may take.
const LEASE_SLACK: Duration = Duration::from_mins(1);

/// The pauses after a mail server refused a mail for now: from the first to the longest. Servers
/// that make unknown senders wait do so for some minutes.
const REFUSED_FOR_NOW: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(4));

/// The pauses after a mail server was not there.
const AWAY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(5));

/// The pauses of this process while no mail can be sent.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// How it went with a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The mail server can be reached: it took the mail, or refused it.
    Reached,
    /// No mail can be sent now.
    Away,
}

/// What this process thinks of the mail server.
#[derive(Debug, Default)]
struct Health {
    /// How often in a row it was not there.
    faults: u32,
    /// Until when it is left alone.
    rest_until: Option<Instant>,
}

impl Health {
    fn learn(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Reached => *self = Self::default(),
            Outcome::Away => {
                self.faults = self.faults.saturating_add(1);
                self.rest_until = Some(Instant::now() + doubled(REST, self.faults));
            }
        }
    }

    /// How long the mail server is left alone from now on.
    fn rest(&self) -> Option<Duration> {
        let rest = self.rest_until?.saturating_duration_since(Instant::now());
        (!rest.is_zero()).then_some(rest)
    }

    /// How many mails may be under way at once.
    fn places(&self, usual: usize) -> usize {
        if self.faults == 0 { usual } else { 1 }
    }
}

impl Mailer {
    /// Sends mails until a shutdown is asked for, and then finishes those under way.
    pub async fn deliver(self, soft: CancellationToken) {
        let mut under_way = FuturesUnordered::new();
        let mut health = Health::default();
        loop {
            let rest = health.rest();
            let places = health.places(self.0.carrier.places());
            let free = places.saturating_sub(under_way.len());
            let mut pause = rest.unwrap_or(LOOK);
            if rest.is_none() && free > 0 && !soft.is_cancelled() {
                let (taken, until_next) = self.take(free).await;
                pause = until_next;
                under_way.extend(taken.into_iter().map(|mail| self.send_taken(mail)));
            }
            let is_full = under_way.len() >= places;
            tokio::select! {
                Some(outcome) = under_way.next() => health.learn(outcome),
                () = soft.cancelled(), if under_way.is_empty() => return,
                () = sleep(pause), if !soft.is_cancelled() && !is_full => (),
                () = self.0.wake.notified(), if !is_full && rest.is_none() => (),
            }
        }
    }

    /// Sends what is due now, each mail once, and waits for it: for commands and tests.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn deliver_due(&self) -> Result<(), StoreError> {
        loop {
            let mails = self.take_due(self.0.carrier.places()).await?;
            if mails.is_empty() {
                self.look().await?;
                return Ok(());
            }
            let mut under_way: FuturesUnordered<_> = mails
                .into_iter()
                .map(|mail| self.send_taken(mail))
                .collect();
            while under_way.next().await.is_some() {}
        }
    }

    /// Takes mails for the places that are free, and says how long to wait for more.
    async fn take(&self, free: usize) -> (Vec<TakenMail>, Duration) {
        let taken = match self.take_due(free).await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::warn!(%error, "the queue of mails cannot be read");
                return (Vec::new(), DATABASE_PAUSE);
            }
        };
        if taken.len() >= free {
            return (taken, Duration::ZERO);
        }
        match self.look().await {
            Ok(until_next) => (taken, until_next.min(LOOK)),
            Err(error) => {
                tracing::warn!(%error, "the queue of mails cannot be read");
                (taken, DATABASE_PAUSE)
            }
        }
    }

    async fn take_due(&self, limit: usize) -> Result<Vec<TakenMail>, StoreError> {
        let now = self.0.clock.now_i64();
        let lease_ends = later(now, self.0.timeout.saturating_add(LEASE_SLACK));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut conn = self.0.store.conn().await?;
        let mut mails = mails::take_due(&mut conn, now, lease_ends, limit).await?;
        mails.sort_unstable_by_key(|mail| mail.id);
        Ok(mails)
    }

    /// Measures the queue, and says how long it is until a mail is due.
    async fn look(&self) -> Result<Duration, StoreError> {
        let mut conn = self.0.store.conn().await?;
        let backlog = mails::backlog(&mut conn).await?;
        self.0.counts.measure(backlog);
        let now = self.0.clock.now_i64();
        Ok(backlog.next_attempt_ms.map_or(LOOK, |due| {
            let pause = Duration::from_millis(u64::try_from(due.saturating_sub(now)).unwrap_or(0));
            pause.max(AT_ONCE)
        }))
    }

    async fn send_taken(&self, mail: TakenMail) -> Outcome {
        let now = self.0.clock.now_i64();
        if mail.valid_until_ms.is_some_and(|until| until <= now) {
            self.0.counts.expired();
            self.give_up(&mail, "its link is no longer good").await;
            return Outcome::Reached;
        }
        let written_ms = u64::try_from(mail.created_ms).unwrap_or(0);
        let carrier = &self.0.carrier;
        match carrier
            .carry(&mail.recipient, &mail.message, written_ms)
            .await
        {
            Ok(()) => {
                self.0.counts.sent();
                tracing::debug!(id = mail.id, kind = mail.kind, "a mail was sent");
                self.forget(mail.id).await;
                Outcome::Reached
            }
            Err(error @ DeliveryError::Refused { .. }) => {
                self.0.counts.failed();
                self.give_up(&mail, &error.to_string()).await;
                Outcome::Reached
            }
            Err(DeliveryError::Unavailable(reason)) => {
                self.try_later(&mail, &reason).await;
                if reason.concerns_all() {
                    Outcome::Away
                } else {
                    Outcome::Reached
                }
            }
        }
    }

    async fn try_later(&self, mail: &TakenMail, reason: &Unavailable) {
        let pause = self.pause(reason, mail.attempts);
        let next = later(self.0.clock.now_i64(), pause);
        if next > later(mail.created_ms, PATIENCE) {
            self.0.counts.failed();
            self.give_up(mail, &reason.to_string()).await;
            return;
        }
        self.0.counts.postponed();
        let cause = std::error::Error::source(reason).map(ToString::to_string);
        tracing::warn!(
            id = mail.id,
            kind = mail.kind,
            attempts = mail.attempts,
            error = %reason,
            cause,
            pause = pause.as_secs(),
            "a mail waits"
        );
        let postponed = async {
            let mut conn = self.0.store.conn().await?;
            mails::postpone(&mut conn, mail.id, mail.attempts, next).await
        };
        if let Err(error) = postponed.await {
            // It is due again when the lease ends.
            tracing::warn!(id = mail.id, %error, "a mail cannot be postponed");
        }
    }

    async fn give_up(&self, mail: &TakenMail, reason: &str) {
        tracing::warn!(
            id = mail.id,
            kind = mail.kind,
            attempts = mail.attempts,
            reason,
            "a mail was given up"
        );
        self.forget(mail.id).await;
    }

    /// How long a mail waits after a failure. Mails that failed together come back apart.
    fn pause(&self, reason: &Unavailable, attempts: i32) -> Duration {
        let range = match reason {
            Unavailable::Temporary { .. } => REFUSED_FOR_NOW,
            _ => AWAY,
        };
        let pause = doubled(range, u32::try_from(attempts).unwrap_or(1));
        let spread = u64::try_from(pause.as_millis() / 8).unwrap_or(0);
        pause + Duration::from_millis(self.0.random.range(0..spread))
    }

    async fn forget(&self, id: i64) {
        let deleted = async {
            let mut conn = self.0.store.conn().await?;
            mails::delete(&mut conn, id).await
        };
        if let Err(error) = deleted.await {
            tracing::warn!(id, %error, "a mail that is done stays in the queue: it may come twice");
        }
    }
}

/// The first pause, doubled with each time after the first, up to the longest.
fn doubled((first, longest): (Duration, Duration), times: u32) -> Duration {
    let factor = 1_u32
        .checked_shl(times.saturating_sub(1))
        .unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}

fn later(ms: i64, by: Duration) -> i64 {
    ms.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let seconds = |times| doubled(AWAY, times).as_secs();
        let pauses: Vec<u64> = [0, 1, 2, 3, 6, 7, 8, 40].into_iter().map(seconds).collect();
        assert_eq!(pauses, [5, 5, 10, 20, 160, 300, 300, 300]);
    }

    #[test]
    fn while_the_mail_server_is_away_one_mail_asks_for_all() {
        let mut health = Health::default();
        assert_eq!((health.places(4), health.rest()), (4, None));
        health.learn(Outcome::Away);
        assert_eq!(health.places(4), 1);
        assert!(health.rest().is_some());
        health.learn(Outcome::Reached);
        assert_eq!((health.places(4), health.rest()), (4, None));
    }
}
