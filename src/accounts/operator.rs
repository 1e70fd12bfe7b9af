//! What an operator does from the command line.

use ruma::{OwnedUserId, UserId};
use zeroize::Zeroizing;

use super::{Accounts, Deactivation, Error, PasswordChanged, passwords::Logout, register::Draft};
use crate::{
    audit::{Actor, action},
    policy::EmailAddress,
    store::{
        Store, access_tokens,
        accounts::{self, ClosedBy},
    },
};

/// An account that an operator makes.
#[derive(Default)]
pub struct NewUser {
    /// The local part; made from the address if there is none.
    pub localpart: Option<String>,
    /// The e-mail address, taken as validated.
    pub address: Option<String>,
    /// The name that people see; made from the address, or else the local part, if there is none.
    pub display_name: Option<String>,
    /// The password.
    pub password: Option<Zeroizing<String>>,
    /// Whether the account may administer the server.
    pub is_admin: bool,
}

impl Accounts {
    /// Whether there is any account yet.
    pub async fn any(&self) -> Result<bool, Error> {
        let mut conn = self.0.store.conn().await?;
        Ok(accounts::any(&mut conn).await?)
    }

    /// Makes an account without asking whether the address may have one. The policy's rules for
    /// passwords apply; without a password nobody can log in until one is set.
    ///
    /// # Errors
    /// [`Error::UserInUse`] and [`Error::ThreepidInUse`], and what is wrong with the arguments.
    pub async fn create_user(&self, new: NewUser) -> Result<OwnedUserId, Error> {
        self.create_user_as(Actor::Operator, new).await
    }

    pub(super) async fn create_user_as(
        &self,
        by: Actor,
        new: NewUser,
    ) -> Result<OwnedUserId, Error> {
        let policy = self.0.policy.load_full();
        let address = match &new.address {
            Some(address) => Some(
                EmailAddress::parse(address)
                    .map_err(|_| Error::InvalidParam("the e-mail address is malformed"))?,
            ),
            None => None,
        };
        let hash = match &new.password {
            Some(password) => Some(self.hash_new_password(password).await?),
            None => None,
        };
        let derived = address
            .as_ref()
            .map(|address| policy.display_name_for_address(address));
        let draft = Draft {
            password_hash: hash.as_ref().map(|hash| hash.as_str()),
            is_admin: new.is_admin,
            is_external: address
                .as_ref()
                .is_some_and(|address| policy.is_external_address(address)),
            is_guest: false,
            user_type: None,
            display_name: new.display_name.as_deref().or(derived.as_deref()),
        };
        let mut tx = self.0.store.begin().await?;
        let (user, user_id) = match (&new.localpart, &address) {
            (Some(localpart), _) => self
                .insert_account(&mut tx, localpart, &draft)
                .await?
                .ok_or(Error::UserInUse)?,
            (None, Some(address)) => {
                let candidates = policy.localparts_for_address(address)?;
                self.insert_first_free(&mut tx, candidates, &draft).await?
            }
            (None, None) => {
                return Err(Error::MissingParam("a user name or an e-mail address"));
            }
        };
        if let Some(address) = &address {
            self.add_address(&mut tx, user, address).await?;
        }
        Store::commit(tx).await?;
        self.note(action::ACCOUNT_CREATED, by.clone(), &user_id);
        if new.is_admin {
            self.note(action::ADMIN_GRANTED, by, &user_id);
        }
        Ok(user_id)
    }

    /// Makes the account in whose name the server itself writes: an administrator without a password,
    /// which never expires. The operator chose the name, and may choose one that nobody else can have,
    /// with an underscore before it.
    ///
    /// # Errors
    /// [`Error::UserInUse`], [`Error::Exclusive`] and [`Error::InvalidUsername`].
    pub async fn create_own_user(
        &self,
        localpart: &str,
        display_name: &str,
    ) -> Result<OwnedUserId, Error> {
        let user_id = self.local_user_id(localpart);
        let user_id = user_id.ok_or(Error::InvalidUsername)?;
        self.check_not_exclusive(&user_id)?;
        let draft = Draft {
            password_hash: None,
            is_admin: true,
            is_external: false,
            is_guest: false,
            user_type: None,
            display_name: Some(display_name),
        };
        let mut tx = self.0.store.begin().await?;
        let made = self.insert_unchecked(&mut tx, &user_id, &draft).await?;
        made.ok_or(Error::UserInUse)?;
        Store::commit(tx).await?;
        self.note(action::ACCOUNT_CREATED, Actor::Operator, &user_id);
        self.note(action::ADMIN_GRANTED, Actor::Operator, &user_id);
        Ok(user_id)
    }

    /// Sets a user's password, and logs all their devices out if asked to.
    pub async fn reset_password(
        &self,
        user_id: &UserId,
        password: &Zeroizing<String>,
        logout_devices: bool,
    ) -> Result<PasswordChanged, Error> {
        self.reset_password_as(Actor::Operator, user_id, password, logout_devices)
            .await
    }

    pub(super) async fn reset_password_as(
        &self,
        by: Actor,
        user_id: &UserId,
        password: &Zeroizing<String>,
        logout_devices: bool,
    ) -> Result<PasswordChanged, Error> {
        let account = self.open_account(user_id).await?;
        let hash = self.hash_new_password(password).await?;
        let mut tx = self.0.store.begin().await?;
        let logout = if logout_devices {
            Logout::AllBut(None)
        } else {
            Logout::Nobody
        };
        let removed = self
            .set_password(&mut tx, account.user, &hash, logout)
            .await?;
        Store::commit(tx).await?;
        self.forget_sessions(account.user);
        self.tell_of_devices(account.user).await;
        self.note(action::PASSWORD_CHANGED, by, user_id);
        Ok(PasswordChanged {
            user: account.user,
            user_id: account.user_id,
            removed,
        })
    }

    /// Makes a user an administrator, or an ordinary user.
    pub async fn set_admin(&self, user_id: &UserId, is_admin: bool) -> Result<(), Error> {
        self.set_admin_as(Actor::Operator, user_id, is_admin).await
    }

    pub(super) async fn set_admin_as(
        &self,
        by: Actor,
        user_id: &UserId,
        is_admin: bool,
    ) -> Result<(), Error> {
        let account = self.open_account(user_id).await?;
        let mut tx = self.0.store.begin().await?;
        accounts::update_admin(&mut tx, account.user, is_admin).await?;
        access_tokens::notify_changed(&mut tx, account.user).await?;
        Store::commit(tx).await?;
        self.forget_sessions(account.user);
        let action = if is_admin {
            action::ADMIN_GRANTED
        } else {
            action::ADMIN_REVOKED
        };
        self.note(action, by, user_id);
        Ok(())
    }

    /// Closes a user's account, which then comes back by nobody's but an administrator's wish. Doing
    /// it again does no harm, and may add the erasure.
    pub async fn deactivate_user(
        &self,
        user_id: &UserId,
        erase: bool,
    ) -> Result<Deactivation, Error> {
        self.deactivate_user_as(Actor::Operator, user_id, erase)
            .await
    }

    pub(super) async fn deactivate_user_as(
        &self,
        by: Actor,
        user_id: &UserId,
        erase: bool,
    ) -> Result<Deactivation, Error> {
        let account = {
            let mut conn = self.0.store.conn().await?;
            accounts::find(&mut conn, user_id).await?
        };
        let account = account.ok_or(Error::NotFound("no such user on this server"))?;
        let whom = (account.user, account.user_id);
        self.close(whom, erase, (ClosedBy::Admin, by), None).await
    }
}
