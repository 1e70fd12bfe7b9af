//! The invites that invitations by e-mail become, once somebody has the address (tchap.md 5.1,
//! steps 7 to 10, without leaving this server), and the other work that waits in the database.
//!
//! Registration marks the invitations in its own transaction. What is marked is due, and is taken
//! by whoever comes first: the end of the registration itself, or the next round of work of any
//! process. A failure never reaches the person who registers.

use std::time::Duration;

use super::{Error, Identity};
use crate::{
    rooms::{self, Actor},
    store::{
        UserNid, identity,
        invitation_work::{self, Due},
        invitations::{self, State},
    },
};

/// How long whoever sends an invite has it alone.
const LEASE: Duration = Duration::from_mins(1);

/// How long somebody waits for the invites at the end of a registration.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest time between two attempts.
const MAX_PAUSE: Duration = Duration::from_hours(1);

/// How many invites are taken at once.
const BATCH: i64 = 16;

/// For how long ended invitations are kept, so that their keys can be asked for.
const KEPT: Duration = Duration::from_hours(24 * 90);

/// How many ended invitations are forgotten at once.
const FORGOTTEN_AT_ONCE: i64 = 1_000;

impl Identity {
    /// Sends the invites that are due to a user, as far as that goes quickly. What fails, or takes
    /// longer, is left to [`Self::work`].
    pub async fn deliver_soon(&self, user: UserNid) {
        match tokio::time::timeout(PATIENCE, self.deliver(Some(user))).await {
            Ok(Ok(())) => (),
            Ok(Err(error)) => tracing::warn!(%error, "invites were not sent; they will be"),
            Err(_) => tracing::warn!("sending invites takes long; the rest is sent later"),
        }
    }

    /// Does what is due: mails, and invites. To be called every few seconds, by any process.
    pub async fn work(&self) -> Result<(), Error> {
        let overlooked = async {
            let mut conn = self.0.store.conn().await?;
            let now = self.0.clock.now_i64();
            Ok::<_, Error>(invitations::bind_overlooked(&mut conn, now).await?)
        };
        let bound = overlooked.await;
        let mailed = self.send_mails(None).await;
        let delivered = self.deliver(None).await;
        bound.and(mailed).and(delivered)
    }

    /// Forgets what is over, and takes the next step towards a new pepper. To be called every few
    /// minutes, by any process.
    pub async fn clean_up(&self) -> Result<(), Error> {
        let now = self.0.clock.now_i64();
        let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        {
            let mut conn = self.0.store.conn().await?;
            identity::delete_expired(&mut conn, now).await?;
            let before = now.saturating_sub(kept);
            invitations::delete_old(&mut conn, before, FORGOTTEN_AT_ONCE).await?;
        }
        self.rotate_pepper().await
    }

    async fn deliver(&self, user: Option<UserNid>) -> Result<(), Error> {
        loop {
            let (now, lease) = (self.0.clock.now_i64(), self.later(LEASE));
            let due = {
                let mut conn = self.0.store.conn().await?;
                invitation_work::claim_due(&mut conn, user, now, lease, BATCH).await?
            };
            let is_last = i64::try_from(due.len()).is_ok_and(|count| count < BATCH);
            for due in &due {
                self.deliver_one(due).await?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    async fn deliver_one(&self, due: &Due) -> Result<(), Error> {
        let inviter = Actor {
            user_id: due.inviter_id.clone(),
            user: due.inviter,
            device: None,
        };
        let signed = self.signed_invite(due)?;
        let (room_id, user_id) = (&due.room_id, &due.user_id);
        let sent = self
            .0
            .rooms
            .exchange_invite(&inviter, room_id, user_id, &due.token, &signed)
            .await;
        let mut conn = self.0.store.conn().await?;
        match sent {
            Ok(()) => invitation_work::settle(&mut conn, &due.token, State::Delivered).await?,
            Err(error @ (rooms::Error::Store(_) | rooms::Error::Busy)) => {
                tracing::warn!(room.id = %room_id, %error, "an invite was not sent; it will be");
                let pause = pause(due.attempts);
                invitation_work::postpone(&mut conn, &due.token, self.later(pause)).await?;
            }
            // Tchap's own service stops at a refusal too (tchap.md 5.5).
            Err(error) => {
                tracing::info!(room.id = %room_id, %error, "an invitation by e-mail is void");
                invitation_work::settle(&mut conn, &due.token, State::Void).await?;
            }
        }
        Ok(())
    }
}

/// `2^n` seconds after the `n`-th attempt.
fn pause(attempts: i32) -> Duration {
    let exponent = u32::try_from(attempts).unwrap_or(0).min(12);
    Duration::from_secs(1 << exponent).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_follow_each_other_ever_more_slowly() {
        assert_eq!(pause(1), Duration::from_secs(2));
        assert_eq!(pause(5), Duration::from_secs(32));
        assert_eq!(pause(12), MAX_PAUSE);
        assert_eq!(pause(i32::MAX), MAX_PAUSE);
        assert_eq!(pause(-1), Duration::from_secs(1));
    }
}
