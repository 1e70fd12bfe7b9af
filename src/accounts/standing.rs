//! What accounts may do that are expired, locked, suspended, or have not agreed to the terms.
//!
//! All of it is known of a session that is remembered, so a request costs no query; whoever
//! changes it tells all processes to load the user's sessions again. Specification v1.19,
//! client-server API, "Account locking" and "Account suspension"; tchap.md AV-04, AV-20.

use std::{
    collections::HashMap,
    sync::{Arc, MutexGuard, PoisonError},
};

use ruma::{OwnedUserId, UserId};
use tokio::sync::{Notify, futures::Notified};

use super::{Accounts, Error, Masquerade, Requester};
use crate::{
    audit::{Actor, action},
    store::{
        Store, UserNid, access_tokens, account_holds, account_views, accounts::Account, devices,
    },
};

/// What a request asks for, as far as accounts that are held back are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To end sessions, which everybody may.
    Logout,
    /// To keep the account from expiring, which an expired one may.
    Renewal,
    /// To read, and to change what nobody else sees, which a suspended account may.
    Private,
    /// Everything else.
    Public,
}

/// What an administrator holds an account back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It can do nothing but log out.
    Lock,
    /// It can read, and not write.
    Suspension,
}

impl Accounts {
    /// Whether the account of a session may do this now.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Expired`], [`Error::ConsentNotGiven`], [`Error::Suspended`].
    pub fn may_proceed(&self, requester: &Requester, reach: Reach) -> Result<(), Error> {
        if reach == Reach::Logout {
            return Ok(());
        }
        if requester.is_locked() {
            return Err(Error::Locked);
        }
        if reach == Reach::Renewal {
            return Ok(());
        }
        if self.ms_to_expiry(requester).is_some_and(|left| left <= 0) {
            return Err(Error::Expired);
        }
        if let Some(page) = requester.consent_page() {
            return Err(Error::ConsentNotGiven(Box::new(page.clone())));
        }
        if requester.is_suspended() && reach == Reach::Public {
            return Err(Error::Suspended);
        }
        Ok(())
    }

    /// Waits until something about a user's sessions may have changed, such as that one has ended
    /// or that the account is locked.
    pub fn watch_sessions(&self, requester: &Requester) -> SessionWatch {
        let user = requester.user();
        let mut watched = self.watched();
        let changed = Arc::clone(watched.entry(user).or_default());
        drop(watched);
        SessionWatch {
            accounts: self.clone(),
            user,
            changed,
        }
    }

    /// Whether a request that takes long may go on: its session is there, and its account may
    /// still do this. Errors are those of [`authenticate`](Self::authenticate) and
    /// [`may_proceed`](Self::may_proceed).
    pub async fn may_go_on(&self, requester: &Requester, reach: Reach) -> Result<(), Error> {
        let newest = match requester.service() {
            Some(service) => {
                let whom = Masquerade {
                    user_id: Some(requester.user_id().to_string()),
                    device_id: requester.device_id().map(ToString::to_string),
                };
                self.act_for(service, &whom).await?
            }
            None => self.authenticate_hash(requester.token_hash()).await?,
        };
        self.may_proceed(&newest, reach)
    }

    pub(super) fn tell_watchers(&self, user: UserNid) {
        if let Some(changed) = self.watched().get(&user) {
            changed.notify_waiters();
        }
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<UserNid, Arc<Notify>>> {
        // Each entry is whole on its own.
        let watched = self.0.sessions.watched.lock();
        watched.unwrap_or_else(PoisonError::into_inner)
    }

    /// What holds an account back, as an administrator asks.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for who is no administrator, and about another administrator;
    /// [`Error::InvalidParam`] for a user of another server; [`Error::NotFound`] for one who has
    /// no open account here.
    pub async fn holds(
        &self,
        requester: &Requester,
        user_id: &UserId,
    ) -> Result<account_holds::Holds, Error> {
        let account = self.held_account(requester, user_id).await?;
        let mut conn = self.0.store.conn().await?;
        Ok(account_holds::find(&mut conn, account.user).await?)
    }

    /// Holds an account back, or lets it go, as an administrator asks. Errors are those of
    /// [`holds`](Self::holds); nobody can hold themselves back either.
    pub async fn set_hold(
        &self,
        requester: &Requester,
        user_id: &UserId,
        hold: Hold,
        is_held: bool,
    ) -> Result<(), Error> {
        let account = self.held_account(requester, user_id).await?;
        self.hold(requester.actor(), &account, hold, is_held, false)
            .await
    }

    async fn held_account(
        &self,
        requester: &Requester,
        user_id: &UserId,
    ) -> Result<Account, Error> {
        // Before anything is looked up, so that nobody learns who has an account.
        if !requester.is_admin() {
            return Err(Error::Forbidden("only administrators may do this"));
        }
        if user_id.server_name() != self.0.settings.server_name {
            return Err(Error::InvalidParam(
                "the user does not belong to this server",
            ));
        }
        let account = self.open_account(user_id).await?;
        if account.is_admin {
            return Err(Error::Forbidden("administrators cannot be held back"));
        }
        Ok(account)
    }

    /// The same as an operator's command. `ends_sessions`: with its sessions and devices.
    pub async fn hold_user(
        &self,
        user_id: &UserId,
        hold: Hold,
        is_held: bool,
        ends_sessions: bool,
    ) -> Result<(), Error> {
        let account = self.open_account(user_id).await?;
        self.hold(Actor::Operator, &account, hold, is_held, ends_sessions)
            .await
    }

    /// Locks an account and ends all its sessions, in one step, as an administrator asks.
    /// Errors are those of [`set_hold`](Self::set_hold).
    pub async fn block(&self, requester: &Requester, user_id: &UserId) -> Result<(), Error> {
        let account = self.held_account(requester, user_id).await?;
        self.hold(requester.actor(), &account, Hold::Lock, true, true)
            .await
    }

    async fn hold(
        &self,
        by: Actor,
        account: &Account,
        hold: Hold,
        is_held: bool,
        ends_sessions: bool,
    ) -> Result<(), Error> {
        let user = account.user;
        let now = self.0.clock.now_i64();
        let mut tx = self.0.store.begin().await?;
        match hold {
            Hold::Lock => account_holds::update_locked(&mut tx, user, is_held, now).await?,
            Hold::Suspension => {
                account_holds::update_suspended(&mut tx, user, is_held, now).await?;
            }
        }
        if ends_sessions {
            devices::delete_all_but(&mut tx, user, None).await?;
        }
        access_tokens::notify_changed(&mut tx, user).await?;
        Store::commit(tx).await?;
        self.forget_sessions(user);
        self.tell_of_devices(user).await;
        let action = match (hold, is_held) {
            (Hold::Lock, true) => action::ACCOUNT_LOCKED,
            (Hold::Lock, false) => action::ACCOUNT_UNLOCKED,
            (Hold::Suspension, true) => action::ACCOUNT_SUSPENDED,
            (Hold::Suspension, false) => action::ACCOUNT_UNSUSPENDED,
        };
        if ends_sessions {
            self.note(action::SESSIONS_ENDED, by.clone(), &account.user_id);
        }
        self.note(action, by, &account.user_id);
        tracing::info!(user.id = %account.user_id, ?hold, is_held, ends_sessions, "an account is held back or let go");
        Ok(())
    }

    /// Ends all sessions of a user, and removes all devices. Gives how many there were.
    ///
    /// # Errors
    /// [`Error::NotFound`]: there is no open account.
    pub async fn end_sessions(&self, user_id: &UserId) -> Result<usize, Error> {
        self.end_sessions_as(Actor::Operator, user_id).await
    }

    pub(super) async fn end_sessions_as(
        &self,
        by: Actor,
        user_id: &UserId,
    ) -> Result<usize, Error> {
        let account = self.open_account(user_id).await?;
        let mut tx = self.0.store.begin().await?;
        let removed = devices::delete_all_but(&mut tx, account.user, None).await?;
        access_tokens::notify_changed(&mut tx, account.user).await?;
        Store::commit(tx).await?;
        self.forget_sessions(account.user);
        self.tell_of_devices(account.user).await;
        self.note(action::SESSIONS_ENDED, by, user_id);
        Ok(removed.len())
    }

    /// What others may know of accounts of this server (tchap.md 6.3). Others are left out.
    pub async fn users_info(&self, user_ids: &[OwnedUserId]) -> Result<Vec<UserInfo>, Error> {
        let mut conn = self.0.store.conn().await?;
        let found = account_views::list_info(&mut conn, user_ids).await?;
        let now = self.0.clock.now_i64();
        let policy = self.0.policy.load();
        let info = found.into_iter().map(|info| UserInfo {
            is_expired: !info.is_deactivated
                && self
                    .expiry_of(&info.user_id, info.expires_ms)
                    .is_some_and(|end| end <= now),
            is_deactivated: info.is_deactivated,
            is_external: policy.is_external(&info.user_id, info.is_external),
            user_id: info.user_id,
        });
        Ok(info.collect())
    }
}

/// What others may know of an account.
#[derive(Clone, Debug)]
pub struct UserInfo {
    /// Whose account it is.
    pub user_id: OwnedUserId,
    /// Whether it has expired.
    pub is_expired: bool,
    /// Whether it is closed.
    pub is_deactivated: bool,
    /// Whether the person is an external guest.
    pub is_external: bool,
}

/// Waits for changes of a user's sessions.
pub struct SessionWatch {
    accounts: Accounts,
    user: UserNid,
    changed: Arc<Notify>,
}

impl SessionWatch {
    /// The next change after this call, whether it is waited for already or not.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}

impl Drop for SessionWatch {
    fn drop(&mut self) {
        let mut watched = self.accounts.watched();
        // The map's and this one: nobody else waits.
        if Arc::strong_count(&self.changed) <= 2 {
            watched.remove(&self.user);
        }
    }
}
