//! Opening a closed account again.
//!
//! Whoever proves the address of an account that its owner closed, or that expired, gets that
//! account back by registering (MREG-05). What an administrator closed, or was erased, comes back
//! only by an administrator; registering makes another account then (UID-13). Rooms, devices and
//! what the profile said are gone either way.

use ruma::{OwnedUserId, UserId};
use zeroize::Zeroizing;

use super::{Accounts, Error, register::Draft};
use crate::{
    audit::{Actor, action},
    policy::EmailAddress,
    store::{
        Conn, Store, UserNid, account_holds,
        account_work::{self, WorkKind},
        accounts::{self, ClosedBy},
        erased, former_addresses, profiles, user_directory,
    },
};

impl Accounts {
    /// Opens the account again that had this address and may come back by itself, if there is one.
    /// The caller gives it the address.
    pub(super) async fn reopen_former(
        &self,
        conn: &mut Conn,
        address: &EmailAddress,
        draft: &Draft<'_>,
    ) -> Result<Option<(UserNid, OwnedUserId)>, Error> {
        let by = [ClosedBy::User, ClosedBy::Expiry];
        let Some(account) = former_addresses::find_closed(conn, address.as_str(), &by).await?
        else {
            return Ok(None);
        };
        // What an administrator had held back stays closed.
        let holds = account_holds::find(conn, account.user).await?;
        if holds != account_holds::Holds::default() {
            return Ok(None);
        }
        self.reopen(conn, account.user, &account.user_id, draft)
            .await?;
        Ok(Some((account.user, account.user_id)))
    }

    async fn reopen(
        &self,
        conn: &mut Conn,
        user: UserNid,
        user_id: &UserId,
        draft: &Draft<'_>,
    ) -> Result<(), Error> {
        if !accounts::reactivate(conn, user, draft.password_hash, draft.is_external).await? {
            return Err(Error::InvalidParam("the account is not closed"));
        }
        erased::notify_changed(conn).await?;
        // Rooms that are joined from now on are not left.
        account_work::delete(conn, user, WorkKind::LeaveRooms).await?;
        former_addresses::delete(conn, user).await?;
        let name = draft.display_name.unwrap_or_else(|| user_id.localpart());
        profiles::update_display_name(conn, user, Some(name)).await?;
        user_directory::set_expired(conn, &[user], false).await?;
        self.begin_validity(conn, user, user_id).await
    }

    /// Opens a closed account again, with this address and, if there is one, this password. Without
    /// one its owner sets one by mail. Whoever closed it, it comes back.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::InvalidParam`] for an open account and a malformed address;
    /// [`Error::ThreepidInUse`] for another's address; and what is wrong with the password.
    pub async fn reactivate_user(
        &self,
        user_id: &UserId,
        address: &str,
        password: Option<&Zeroizing<String>>,
    ) -> Result<(), Error> {
        self.reactivate_user_as(Actor::Operator, user_id, address, password)
            .await
    }

    pub(super) async fn reactivate_user_as(
        &self,
        by: Actor,
        user_id: &UserId,
        address: &str,
        password: Option<&Zeroizing<String>>,
    ) -> Result<(), Error> {
        let policy = self.0.policy.load_full();
        let address = EmailAddress::parse(address)
            .map_err(|_| Error::InvalidParam("the e-mail address is malformed"))?;
        let hash = match password {
            Some(password) => Some(self.hash_new_password(password).await?),
            None => None,
        };
        let display_name = policy.display_name_for_address(&address);
        let draft = Draft {
            password_hash: hash.as_ref().map(|hash| hash.as_str()),
            is_admin: false,
            is_external: policy.is_external_address(&address),
            is_guest: false,
            user_type: None,
            display_name: policy
                .username_is_derived()
                .then_some(display_name.as_str()),
        };
        let mut tx = self.0.store.begin().await?;
        let account = accounts::find(&mut tx, user_id)
            .await?
            .ok_or(Error::NotFound("no such user on this server"))?;
        self.reopen(&mut tx, account.user, user_id, &draft).await?;
        self.add_address(&mut tx, account.user, &address).await?;
        Store::commit(tx).await?;
        self.forget_sessions(account.user);
        self.note(action::ACCOUNT_REACTIVATED, by, user_id);
        tracing::info!(user.id = %user_id, "an account was opened again");
        Ok(())
    }
}
