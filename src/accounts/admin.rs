//! What administrators see and change of accounts, over HTTP: never what is in rooms.
//!
//! Each operation asks first whether the requester is an administrator, and only then looks
//! anything up. tchap.md 10.1.

use ruma::{UserId, profile::ProfileFieldValue};
use zeroize::Zeroizing;

use super::{Accounts, Deactivation, Error, Hold, NewUser, PasswordChanged, Requester};
use crate::{
    audit::action,
    policy::EmailAddress,
    store::{
        Store, UserNid, account_holds,
        account_views::{self, Details},
        devices::{self, Device},
        profiles::{self, Profile},
        threepids::{self, Threepid},
    },
};

/// The most addresses that are given to an account at once.
const MAX_ADDRESSES: usize = 20;

/// An account as administrators see it.
#[derive(Clone)]
pub struct AccountView {
    /// Roles, and when it was made and closed.
    pub details: Details,
    /// What it shows of itself.
    pub profile: Profile,
    /// Its addresses.
    pub threepids: Vec<Threepid>,
    /// What holds it back.
    pub holds: account_holds::Holds,
    /// When one of its devices was last seen.
    pub last_seen_ms: Option<i64>,
}

/// What an administrator changes of an account; `None` leaves things as they are.
#[derive(Default)]
pub struct AccountChange {
    /// The name that people see; empty for none.
    pub display_name: Option<String>,
    /// The picture, as an `mxc:` URI; empty for none.
    pub avatar_url: Option<String>,
    /// The password.
    pub password: Option<Zeroizing<String>>,
    /// Whether a new password ends all sessions.
    pub logout_devices: bool,
    /// All e-mail addresses, taken as validated.
    pub addresses: Option<Vec<String>>,
    /// Whether it may administer the server.
    pub is_admin: Option<bool>,
    /// Whether it is locked.
    pub is_locked: Option<bool>,
    /// Whether it is closed.
    pub is_deactivated: Option<bool>,
}

impl Accounts {
    pub(super) fn require_admin(requester: &Requester) -> Result<(), Error> {
        if requester.is_admin() {
            Ok(())
        } else {
            Err(Error::Forbidden("only administrators may do this"))
        }
    }

    /// An account, open or closed.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NotFound`].
    pub async fn view_account(
        &self,
        requester: &Requester,
        user_id: &UserId,
    ) -> Result<AccountView, Error> {
        Self::require_admin(requester)?;
        let mut conn = self.0.store.conn().await?;
        let details = account_views::find_details(&mut conn, user_id)
            .await?
            .ok_or(Error::NotFound("no such user on this server"))?;
        let user = details.user;
        let seen = devices::list(&mut conn, user).await?;
        Ok(AccountView {
            profile: profiles::find(&mut conn, user).await?,
            threepids: threepids::list(&mut conn, user).await?,
            holds: account_holds::find(&mut conn, user).await?,
            last_seen_ms: seen.iter().filter_map(|device| device.last_seen_ms).max(),
            details,
        })
    }

    /// The devices of the requester, or, for an administrator, of anybody.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NotFound`].
    pub async fn whois(
        &self,
        requester: &Requester,
        user_id: &UserId,
    ) -> Result<Vec<Device>, Error> {
        if requester.user_id() == user_id {
            return self.devices(requester).await;
        }
        self.view_devices(requester, user_id).await
    }

    /// The devices of an account. Errors are those of [`view_account`](Self::view_account).
    pub async fn view_devices(
        &self,
        requester: &Requester,
        user_id: &UserId,
    ) -> Result<Vec<Device>, Error> {
        Self::require_admin(requester)?;
        let mut conn = self.0.store.conn().await?;
        let details = account_views::find_details(&mut conn, user_id)
            .await?
            .ok_or(Error::NotFound("no such user on this server"))?;
        Ok(devices::list(&mut conn, details.user).await?)
    }

    /// Changes an account, or makes it. Gives whether it was made, and what has to be done in
    /// rooms: [`begin_work`](Self::begin_work) for this user.
    ///
    /// # Errors
    /// [`Error::Forbidden`]; [`Error::InvalidParam`] for a user of another server and for values
    /// that cannot be used; [`Error::MissingParam`] to open a closed account without an address;
    /// [`Error::ThreepidInUse`]. What was changed before the error stays so.
    pub async fn change_account(
        &self,
        requester: &Requester,
        user_id: &UserId,
        change: AccountChange,
    ) -> Result<(bool, UserNid), Error> {
        Self::require_admin(requester)?;
        if user_id.server_name() != self.0.settings.server_name {
            return Err(Error::InvalidParam(
                "the user does not belong to this server",
            ));
        }
        if change
            .addresses
            .as_ref()
            .is_some_and(|all| all.len() > MAX_ADDRESSES)
        {
            return Err(Error::InvalidParam("too many addresses"));
        }
        let found = self.find_details(user_id).await?;
        let is_new = found.is_none();
        let is_closed = found.is_some_and(|details| details.deactivated_ms.is_some());
        let mut password = change.password;
        if is_new {
            let new = NewUser {
                localpart: Some(user_id.localpart().to_owned()),
                address: None,
                display_name: change.display_name.clone().filter(|name| !name.is_empty()),
                password: password.take(),
                is_admin: change.is_admin == Some(true),
            };
            self.create_user_as(requester.actor(), new).await?;
        } else if is_closed && change.is_deactivated == Some(false) {
            let first = change.addresses.as_ref().and_then(|all| all.first());
            let address = first.ok_or(Error::MissingParam("threepids"))?;
            let password = password.take();
            self.reactivate_user_as(requester.actor(), user_id, address, password.as_ref())
                .await?;
        }
        let user = self
            .find_details(user_id)
            .await?
            .ok_or(Error::NotFound("no such user on this server"))?
            .user;
        if change.is_deactivated == Some(true) {
            self.deactivate_user_as(requester.actor(), user_id, false)
                .await?;
            return Ok((is_new, user));
        }
        if let Some(addresses) = &change.addresses {
            self.replace_addresses(user, addresses).await?;
            self.note(action::ADDRESSES_CHANGED, requester.actor(), user_id);
        }
        if let Some(password) = &password {
            let by = requester.actor();
            self.reset_password_as(by, user_id, password, change.logout_devices)
                .await?;
        }
        if let Some(name) = change.display_name.filter(|_| !is_new) {
            let value = ProfileFieldValue::DisplayName(name);
            self.set_profile_field(requester, user_id, &value).await?;
        }
        if let Some(url) = change.avatar_url {
            let value = ProfileFieldValue::AvatarUrl(url.into());
            self.set_profile_field(requester, user_id, &value).await?;
        }
        if let Some(is_admin) = change.is_admin.filter(|_| !is_new) {
            self.set_admin_as(requester.actor(), user_id, is_admin)
                .await?;
        }
        if let Some(is_locked) = change.is_locked {
            self.set_hold(requester, user_id, Hold::Lock, is_locked)
                .await?;
        }
        Ok((is_new, user))
    }

    async fn find_details(&self, user_id: &UserId) -> Result<Option<Details>, Error> {
        let mut conn = self.0.store.conn().await?;
        Ok(account_views::find_details(&mut conn, user_id).await?)
    }

    /// Each address must be one that may register here, and nobody else's.
    async fn replace_addresses(&self, user: UserNid, wanted: &[String]) -> Result<(), Error> {
        let mut addresses = Vec::with_capacity(wanted.len());
        for text in wanted {
            let address = EmailAddress::parse(text).map_err(|error| Error::Denied(error.into()))?;
            addresses.push(address);
        }
        let kept: Vec<String> = addresses
            .iter()
            .map(|one| one.as_str().to_owned())
            .collect();
        let had = {
            let mut conn = self.0.store.conn().await?;
            threepids::list(&mut conn, user).await?
        };
        addresses.retain(|address| had.iter().all(|had| had.address != address.as_str()));
        addresses.dedup();
        for address in &addresses {
            self.check_may_register(address).await?;
        }
        let mut tx = self.0.store.begin().await?;
        threepids::delete_all_but(&mut tx, user, &kept).await?;
        for address in &addresses {
            self.add_address(&mut tx, user, address).await?;
        }
        Store::commit(tx).await?;
        Ok(())
    }

    /// Closes an account; see [`deactivate_user`](Self::deactivate_user).
    pub async fn deactivate_by(
        &self,
        requester: &Requester,
        user_id: &UserId,
        erase: bool,
    ) -> Result<Deactivation, Error> {
        Self::require_admin(requester)?;
        self.deactivate_user_as(requester.actor(), user_id, erase)
            .await
    }

    /// Sets a password; see [`reset_password`](Self::reset_password).
    pub async fn reset_password_by(
        &self,
        requester: &Requester,
        user_id: &UserId,
        password: &Zeroizing<String>,
        logout_devices: bool,
    ) -> Result<PasswordChanged, Error> {
        Self::require_admin(requester)?;
        self.reset_password_as(requester.actor(), user_id, password, logout_devices)
            .await
    }

    /// Ends all sessions of a user; see [`end_sessions`](Self::end_sessions).
    pub async fn end_sessions_by(
        &self,
        requester: &Requester,
        user_id: &UserId,
    ) -> Result<usize, Error> {
        Self::require_admin(requester)?;
        self.end_sessions_as(requester.actor(), user_id).await
    }
}
